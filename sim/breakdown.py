"""The numbers of a run by task, tenant or replica."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from policies.protocol import PS_PER_S
from sim.ledger import FINISHED
from sim.options import OptionError, to_ps

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sim.result import Result

LABELS = ("task", "tenant", "replica")


def breakdown(result: Result, label: str) -> dict[str, dict[str, Any]]:
    """Return the numbers of each group of requests; groups without requests are left out.

    Parameters
    ----------
    result : Result
        A run; what arrived before its warm-up is left out, as in its summary.
    label : {"task", "tenant", "replica"}
        What to group by; requests without a label are "".  Those sent nowhere have replica -1.

    Returns
    -------
    dict
        By name: `requests`, `finished`, `met`, `goodput_pct`, and p50 and p99 of `ttft_s` and
        `e2e_s`; None where a number is not defined.
    """
    columns = result.columns.where(result.columns.arrival_ps >= to_ps(result.options.warmup_s))
    codes, names = _groups(result, label, columns.id)
    found = {}
    for code in np.unique(codes):
        group = columns.where(codes == code)
        finished = group.where(group.status == FINISHED)
        goals, met = int(group.has_objective.sum()), int(group.met.sum())
        found[names[int(code)]] = {
            "requests": len(group.id),
            "finished": len(finished.id),
            "met": met,
            "goodput_pct": 100 * met / goals if goals else None,
            "ttft_s": _spread(finished.ttft_ps),
            "e2e_s": _spread(finished.e2e_ps),
        }
    return found


def jain(groups: dict[str, dict[str, Any]]) -> float | None:
    """Return Jain's index of how evenly groups were served, by goodput: 1 is evenly.

    R. Jain, D. Chiu, W. Hawe, DEC-TR-301 (1984).  None with fewer than two groups with a goodput.
    """
    shares = [group["goodput_pct"] for group in groups.values()]
    known = np.array([share for share in shares if share is not None])
    if len(known) < 2:
        return None
    squares = float((known**2).sum())
    return float(known.sum()) ** 2 / (len(known) * squares) if squares else 1.0


def _groups(
    result: Result, label: str, ids: NDArray[np.int64]
) -> tuple[NDArray[np.integer[Any]], dict[int, str]]:
    """Return the group of each request by number, and the names of the numbers."""
    trace = result.trace
    if label == "replica":
        replicas = np.frombuffer(result.ledger.replica, dtype=np.int16)[ids]
        return replicas, {i: str(i) for i in range(-1, result.replicas)}
    if label == "task":
        codes, names = trace.task_code, trace.tasks
    elif label == "tenant":
        codes, names = trace.tenant_code, trace.tenants
    else:
        raise OptionError(f"cannot group by {label!r}: expected one of {', '.join(LABELS)}")
    return codes[ids], {-1: "", **dict(enumerate(names))}


def _spread(latency_ps: NDArray[np.int64]) -> dict[str, float | None]:
    if not len(latency_ps):
        return {"p50": None, "p99": None}
    p50, p99 = np.percentile(latency_ps, (50, 99)) / PS_PER_S
    return {"p50": float(p50), "p99": float(p99)}
