"""When requests were over, and when the engine was done with them: what follows from a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sim.runfile import Run

INSTANTS = ("arrival_s", "admitted_s", "first_token_s", "finished_s")


@dataclass(frozen=True, eq=False)
class Ends:
    """The ends of a run's requests.

    Attributes
    ----------
    at_s : ndarray of float, shape (requests,)
        When each was over, as its client sees it [s of the trace].
    known : ndarray of bool, shape (requests,)
        Where that is not so: the last instant at which something is known of it.
    """

    at_s: NDArray[np.float64]
    known: NDArray[np.bool_]


def ends_of(run: Run) -> Ends:
    """Return when requests were over.

    A run keeps no end of a request that did not finish.  It follows for those that were still
    there when the run stopped and, of those sent once, for those turned away at the door, those
    that timed out and, with a timeline, those lost with their replica.
    """
    frame = run.requests
    last_s = np.fmax.reduce(frame[list(INSTANTS)].to_numpy(), axis=1)
    status = frame["status"].astype(str).to_numpy()
    attempts = frame["attempts"].to_numpy() if "attempts" in frame else np.ones(len(frame))
    once = attempts == 1
    reasons = np.array([run.reasons.get(request, "") for request in frame["id"].tolist()], object)

    at_s, known = last_s.copy(), status == "finished"
    at_door = once & (
        ((status == "refused") & (reasons != "refused by the policy"))
        | ((status == "failed") & (reasons == "no replica took requests"))
    )
    known |= at_door

    options = run.configuration["options"]
    open_still = status == "unfinished"
    at_s[open_still] = np.maximum(last_s, _stop_s(run, last_s))[open_still]
    known |= open_still

    timeout_s = (options["clients"] or {}).get("timeout_s")
    if timeout_s is not None:
        hung_up = once & (status == "timed_out")
        at_s[hung_up] = np.maximum(last_s, frame["arrival_s"].to_numpy() + timeout_s)[hung_up]
        known |= hung_up

    if run.timeline is not None:
        placed = once | np.isfinite(frame["admitted_s"].to_numpy())
        replicas = frame["replica"].to_numpy()
        for replica, periods in enumerate(run.timeline.up_s):
            downs_s = np.array([end for _, end in periods] + [np.inf])
            lost = placed & (reasons == f"replica {replica} failed") & (replicas == replica)
            down_s = downs_s[np.searchsorted(downs_s, last_s)]
            lost &= np.isfinite(down_s)
            at_s[lost] = down_s[lost]
            known |= lost
    return Ends(at_s, known)


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
