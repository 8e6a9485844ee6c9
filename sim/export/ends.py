"""When requests were over, and what clients see later than the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sim.runfile import Run

INSTANTS = ("arrival_s", "admitted_s", "first_token_s", "finished_s")


def ends_s(run: Run) -> NDArray[np.float64]:
    """Return when each request was over [s of the trace].

    Of those that finished, when the client has the answer; of others, when the cluster let them
    go; of those that were still there when the run stopped, that instant.
    """
    frame = run.requests
    at_s = frame["finished_s"].to_numpy(dtype=np.float64, copy=True)
    gone = frame["id"].map(run.gone_s).to_numpy(dtype=np.float64)
    at_s = np.where(np.isnan(gone), at_s, gone)
    last_s = np.fmax.reduce(frame[list(INSTANTS)].to_numpy(), axis=1)
    return np.where(np.isnan(at_s), np.maximum(last_s, _stop_s(run, last_s)), at_s)


def overheads_s(run: Run) -> NDArray[np.float64]:
    """Return what each replica's clients see later than its engine [s]."""
    given = run.configuration["options"]["client_overhead_s"]
    return np.array(
        [
            profile.client_overhead_s if given is None else given
            for profile, count, _ in run.fleet
            for _ in range(count)
        ]
    )


def _stop_s(run: Run, last_s: NDArray[np.float64]) -> float:
    """Return when a run with requests still open stopped [s]."""
    until_s = run.configuration["options"]["until_s"]
    if until_s is not None:
        return float(until_s)
    sampled_s = 0.0 if run.timeline is None else float(run.timeline.at_s[-1])
    return max(float(last_s.max(initial=0.0)), sampled_s)
