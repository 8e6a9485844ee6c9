"""Two runs of the same requests, request by request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from sim.runfile import Run

SAME = ("id", "arrival_s", "prompt_tokens", "output_tokens")


@dataclass(frozen=True)
class Pairs:
    """What became of the requests of one run in another; those after both warm-ups.

    Attributes
    ----------
    same_objectives : bool
        Whether both runs promise them the same.
    requests : int
        How many are compared: those that count for goodput in both runs.
    became_met, became_missed, both_met, both_missed : int
        By what each was in the first run and is in the second.
    finished : int
        How many finished in both, whatever they were promised.
    faster, slower : int
        Of those, whose E2E is shorter or longer in the second.
    e2e_median_s, e2e_mean_s : float or None
        Of E2E in the second less in the first [s].
    """

    same_objectives: bool
    requests: int
    became_met: int
    became_missed: int
    both_met: int
    both_missed: int
    finished: int
    faster: int
    slower: int
    e2e_median_s: float | None
    e2e_mean_s: float | None


def paired(first: Run, second: Run) -> Pairs | None:
    """Return the requests paired; None unless both runs replayed the same ones.

    The same are equal ids, arrivals and lengths, in the same order.
    """
    a, b = first.requests, second.requests
    if len(a) != len(b) or any((a[name].to_numpy() != b[name].to_numpy()).any() for name in SAME):
        return None
    counted = (a["arrival_s"] >= max(first.warmup_s, second.warmup_s)).to_numpy()
    known = counted & a["met"].notna().to_numpy() & b["met"].notna().to_numpy()
    met_a = a["met"].fillna(False).to_numpy(dtype=bool)[known]
    met_b = b["met"].fillna(False).to_numpy(dtype=bool)[known]
    change_s = (b["finished_s"] - a["finished_s"]).to_numpy()[counted]
    change_s = change_s[~np.isnan(change_s)]
    return Pairs(
        same_objectives=_promises(first).equals(_promises(second)),
        requests=len(met_a),
        became_met=int((~met_a & met_b).sum()),
        became_missed=int((met_a & ~met_b).sum()),
        both_met=int((met_a & met_b).sum()),
        both_missed=int((~met_a & ~met_b).sum()),
        finished=len(change_s),
        faster=int((change_s < 0).sum()),
        slower=int((change_s > 0).sum()),
        e2e_median_s=float(np.median(change_s)) if len(change_s) else None,
        e2e_mean_s=float(change_s.mean()) if len(change_s) else None,
    )


def _promises(run: Run) -> pd.DataFrame:
    """Return a column for each limit on the requests of a run."""
    limits = run.configuration["options"]["goodput_ms"]
    return run.requests[["sla_s"]] if limits is None else run.requests[[]].assign(**limits)
