"""Which misses a page shows one by one, and what it says of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sim.report.misses import REASONS, told

if TYPE_CHECKING:
    import pandas as pd

    from sim.report.cells import Cells
    from sim.runfile import Run

MOST = 60
MOST_OF_EACH = 8
"""Of every task, replica and reason, so that a page filtered by one of them has some to show."""


def worst(found: pd.DataFrame, cells: Cells) -> pd.DataFrame:
    """Return the worst of `misses`, the worst first: `MOST`, and `MOST_OF_EACH` of each kind."""
    of = cells.of[found.index.to_numpy()]
    kept = np.arange(len(found)) < MOST
    for kind in (cells.task[of], cells.replica[of], found["reason"].to_numpy()):
        rank = found.groupby(kind, sort=False).cumcount().to_numpy()
        kept |= rank < MOST_OF_EACH
    return found[kept]


def rows_of(shown: pd.DataFrame, cells: Cells, run: Run) -> list[dict[str, Any]]:
    """Return a row for each miss, in JSON's types: codes of its groups, times in seconds."""
    rows = []
    for cell, (_, miss) in zip(cells.of[shown.index.to_numpy()], shown.iterrows(), strict=True):
        rows.append(
            {
                "id": int(miss["id"]),
                "task": int(cells.task[cell]),
                "replica": int(cells.replica[cell]),
                "reason": REASONS.index(miss["reason"]),
                "told": told(miss, run.reasons),
                "status": str(miss["status"]).replace("_", " "),
                "arrival": round(float(miss["arrival_s"]), 6),
                "prompt": int(miss["prompt_tokens"]),
                "output": int(miss["output_tokens"]),
                "sla": _s(miss["sla_s"]),
                "limit": miss["limit"],
                "late": _s(miss["late_s"]),
                "held": _s(miss["held_s"]),
                "wait": _s(miss["wait_s"]),
                "decode": _s(miss["decode_s"]),
                "gone": _s(miss["gone_s"]),
                "attempts": int(miss.get("attempts", 1)),
                "preemptions": int(miss["preemptions"]),
            }
        )
    return rows


def _s(seconds: float) -> float | None:
    return None if seconds != seconds else float(f"{seconds:.6g}")
