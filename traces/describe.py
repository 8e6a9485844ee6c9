"""The numbers a person wants to know of a trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from traces.errors import TraceError

if TYPE_CHECKING:
    import numpy.typing as npt

    from traces.columns import FloatColumn
    from traces.request import Trace


def describe(trace: Trace) -> dict[str, Any]:
    """Return the numbers of a trace: plain ints, floats, strings and dicts, None where undefined.

    Returns
    -------
    dict
        n : requests
        span_s : first arrival to last
        mean_rps : gaps over span, (n - 1) / span_s
        interarrival_cv : population standard deviation of the gaps over their mean
        idle_seconds_share : share of whole seconds from the first arrival on without an arrival
        peak_1s, peak_60s : most arrivals within any 1 and any 60 seconds
        prompt, output : {mean, p50, p90, p99, max} in tokens
        correlation : Pearson's, of prompt and output tokens
        tasks : {name: requests}, most first; requests without a task are not in it
        sla : {requests, mean_s, min_s, max_s}; there if any request has an SLA

    Raises
    ------
    TraceError
        The trace is empty.
    """
    if not len(trace):
        raise TraceError("a trace without requests has nothing to describe")
    gaps = np.diff(trace.arrival_s)
    mean_gap = float(gaps.mean()) if len(gaps) else 0.0
    numbers: dict[str, Any] = {
        "n": len(trace),
        "span_s": trace.span_s,
        "mean_rps": 1.0 / mean_gap if mean_gap else None,
        "interarrival_cv": float(gaps.std()) / mean_gap if mean_gap else None,
        "idle_seconds_share": _idle_share(trace.arrival_s),
        "peak_1s": _peak(trace.arrival_s, 1.0),
        "peak_60s": _peak(trace.arrival_s, 60.0),
        "prompt": _quantiles(trace.prompt_tokens),
        "output": _quantiles(trace.output_tokens),
        "correlation": _correlation(trace),
        "tasks": _tasks(trace),
    }
    sla = trace.sla_s[~np.isnan(trace.sla_s)]
    if len(sla):
        numbers["sla"] = {
            "requests": len(sla),
            "mean_s": float(sla.mean()),
            "min_s": float(sla.min()),
            "max_s": float(sla.max()),
        }
    return numbers


def _idle_share(arrival_s: FloatColumn) -> float:
    second = np.floor(arrival_s - arrival_s[0])
    busy = 1 + np.count_nonzero(np.diff(second))
    return float(1 - busy / (second[-1] + 1))


def _peak(arrival_s: FloatColumn, width_s: float) -> int:
    # The busiest window of a width can be moved to start at an arrival.
    ends = np.searchsorted(arrival_s, arrival_s + width_s, side="left")
    return int((ends - np.arange(len(arrival_s))).max())


def _quantiles(values: npt.NDArray[Any]) -> dict[str, float]:
    p50, p90, p99 = np.percentile(values, [50, 90, 99])
    return {
        "mean": float(values.mean()),
        "p50": float(p50),
        "p90": float(p90),
        "p99": float(p99),
        "max": int(values.max()),
    }


def _correlation(trace: Trace) -> float | None:
    prompt, output = trace.prompt_tokens, trace.output_tokens
    if prompt.min() == prompt.max() or output.min() == output.max():
        return None
    return float(np.corrcoef(prompt, output)[0, 1])


def _tasks(trace: Trace) -> dict[str, int]:
    codes, names = trace.labels("task")
    counts = np.bincount(codes[codes >= 0], minlength=len(names))
    order = np.argsort(-counts, kind="stable")
    return {names[i]: int(counts[i]) for i in order if counts[i]}
