"""Traces from traces: cut, stretch, thin, repeat, merge, redraw. None changes its argument."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from traces.columns import Labels, absent, is_absent, join_hash_ids, join_labels
from traces.errors import TraceError, positive, unknown
from traces.request import Trace
from traces.workloads import counts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from traces.columns import IntColumn

_KINDS = {"task": "task_code", "session": "session_code", "tenant": "tenant_code"}


def window(trace: Trace, start_s: float = 0.0, end_s: float = math.inf) -> Trace:
    """Return the requests with start_s <= arrival_s < end_s; arrivals then count from `start_s`.

    Raises
    ------
    TraceError
        The window is empty, not a window, or starts before 0.
    """
    if not 0 <= start_s < end_s:
        raise TraceError(f"window is {start_s:g} to {end_s:g} s; expected 0 <= start < end")
    first, last = np.searchsorted(trace.arrival_s, [start_s, end_s])
    part = _filled(
        trace[int(first) : int(last)],
        f"no request arrives from {start_s:g} to {end_s:g} s; the trace has {_extent(trace)}",
    )
    return part.replace(arrival_s=part.arrival_s - start_s)


def scale_rate(trace: Trace, factor: float | None = None, *, rps: float | None = None) -> Trace:
    """Return the trace played `factor` times as fast, or at a mean rate of `rps`.

    All arrival times are divided by one number, so bursts keep their shape; lengths and SLAs stay.
    The mean rate is gaps over span, (n - 1) / span.
    """
    if (factor is None) == (rps is None):
        raise TraceError("scale_rate needs either factor or rps, and not both")
    if rps is not None:
        factor = positive("rps", rps) * _mean_gap_s(trace)
    factor = positive("factor", factor)
    with np.errstate(over="ignore"):
        arrival_s = trace.arrival_s / factor
    if len(trace) and not np.isfinite(arrival_s[-1]):
        raise TraceError(f"factor is {factor}: arrivals would leave the range of numbers")
    return trace.replace(arrival_s=arrival_s)


def thin(
    trace: Trace,
    share: float,
    rng: np.random.Generator,
    *,
    by: Literal["burst", "session", "request"] = "burst",
    gap_s: float | None = None,
) -> Trace:
    """Return about `share` of the requests, whole bursts at a time.

    Parameters
    ----------
    share : of the requests to keep, above 0 and at most 1; the kept number is within one unit
    by : what is kept or dropped whole. "burst": requests that follow each other within `gap_s`,
        so that the peaks of what stays are as high as they were. "session": the turns of a
        session, a request without session being its own. "request": each alone, which flattens
        the peaks
    gap_s : the longest pause inside a burst, by default the mean gap; with by="burst" only
    """
    if not 0 < share <= 1:
        raise TraceError(f"share is {share}; expected above 0 and at most 1")
    if gap_s is not None and by != "burst":
        raise TraceError(f"gap_s has no effect on thinning by {by}")
    if by == "burst":
        longest = _mean_gap_s(trace) if gap_s is None else positive("gap_s", gap_s)
        unit = np.cumsum(np.concatenate([[0], np.diff(trace.arrival_s) > longest]))
    elif by == "session":
        alone = np.arange(len(trace)) + len(trace.sessions)
        unit = np.where(trace.session_code < 0, alone, trace.session_code)
        unit = np.unique(unit, return_inverse=True)[1]
    elif by == "request":
        unit = np.arange(len(trace))
    else:
        raise unknown("unit of thinning", by, ["burst", "session", "request"])
    sizes = np.bincount(unit)
    order = rng.permutation(len(sizes))
    # The prefix of a random order whose size is nearest to what is asked for, at least one unit.
    reached = np.cumsum(sizes[order])
    used = 1 + int(np.abs(reached - share * len(trace)).argmin())
    keep = np.zeros(len(sizes), dtype=np.bool_)
    keep[order[:used]] = True
    return trace.take(np.flatnonzero(keep[unit]))


def repeat(trace: Trace, times: int, *, period_s: float | None = None) -> Trace:
    """Return the trace `times` times in a row.

    Parameters
    ----------
    times : at least 1
    period_s : seconds from one copy to the next, by default span + mean gap, which keeps the
        mean rate; at least the span

    Notes
    -----
    Sessions of a copy are sessions of their own ("name~2" is the second copy of "name", with more
    tildes where names have some already), and so is the content its block ids stand for: a copy
    shares no prefix with another.
    """
    if times < 1:
        raise TraceError(f"times is {times}; expected at least 1")
    if period_s is None:
        period_s = trace.span_s + (_mean_gap_s(trace) if times > 1 else 0.0)
    if not (math.isfinite(period_s) and period_s >= trace.span_s):
        raise TraceError(f"period_s is {period_s}; expected at least the span, {trace.span_s:g} s")
    n, copies = len(trace), np.arange(times)

    def tiled(column: Any, step: float = 0) -> Any:
        if is_absent(column):
            return absent(n * times, column.dtype.type)
        if not step:
            return np.tile(column, times)
        return (column + (copies * step).astype(column.dtype)[:, None]).ravel()

    columns: dict[str, Any] = {
        name: tiled(getattr(trace, name))
        for name in ("prompt_tokens", "output_tokens", "sla_s", "task_code", "tenant_code")
    }
    columns["max_tokens"] = (
        columns["output_tokens"]
        if trace.max_tokens is trace.output_tokens
        else tiled(trace.max_tokens)
    )
    columns["arrival_s"] = tiled(trace.arrival_s, period_s)
    for name, step in (("parent", n), ("session_code", len(trace.sessions))):
        column = getattr(trace, name)
        columns[name] = tiled(column, step)
        if not is_absent(column):
            columns[name][np.tile(column < 0, times)] = -1
    mark = "~"
    while any(mark in name for name in trace.sessions):
        mark += "~"
    columns["sessions"] = (
        *trace.sessions,
        *(f"{name}{mark}{copy}" for copy in range(2, times + 1) for name in trace.sessions),
    )
    if trace.hash_ids is not None:
        columns["hash_ids"] = join_hash_ids([trace.hash_ids] * times, fresh=True)
    return trace.replace(**columns)


def merge(*traces: Trace) -> Trace:
    """Return the requests of all traces in order of arrival, those of earlier arguments first.

    Equal names of tasks, sessions and tenants become one; block ids of different traces stay
    apart. Block ids are dropped, with a warning, unless all traces have them in one block size.
    """
    if not traces:
        raise TraceError("merge needs at least one trace")
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(t, name) for t in traces])
        for name in ("arrival_s", "prompt_tokens", "output_tokens", "max_tokens", "sla_s")
    }
    starts = np.cumsum([0, *map(len, traces)])
    columns["parent"] = np.concatenate(
        [np.where(t.parent < 0, -1, t.parent + s) for t, s in zip(traces, starts[:-1], strict=True)]
    )
    for kind, codes in _KINDS.items():
        joined = join_labels([t.labels(kind) for t in traces])
        columns |= {codes: joined.codes, f"{kind}s": joined.names}
    warnings = list(dict.fromkeys(w for t in traces for w in t.warnings))
    blocks = [t.hash_ids for t in traces if t.hash_ids is not None]
    if len(blocks) == len(traces) and len({b.block_tokens for b in blocks}) == 1:
        columns["hash_ids"] = join_hash_ids(blocks, fresh=True)
    elif blocks:
        warnings.append("block ids were dropped: not all merged traces have them in one size")
    sources = " + ".join(str(t.meta.get("source", "?")) for t in traces)
    merged = Trace.trusted(**columns, meta={"source": sources}, warnings=tuple(warnings))
    return merged.take(np.argsort(merged.arrival_s, kind="stable"))


def select_tasks(trace: Trace, tasks: Iterable[str]) -> Trace:
    """Return the requests of these tasks, at their own arrival times."""
    wanted = np.zeros(len(trace.tasks) + 1, dtype=np.bool_)  # the last entry: no task
    for task in [tasks] if isinstance(tasks, str) else tasks:
        wanted[_task_code(trace, task)] = True
    return _filled(trace[wanted[trace.task_code]], "no request of the trace has such a task")


def resample(
    trace: Trace, rng: np.random.Generator, *, shares: Mapping[str, float] | None = None
) -> Trace:
    """Return the same arrival times, each with a request drawn afresh from the trace.

    Parameters
    ----------
    shares : {task: weight} of the drawn requests, met by largest remainder and shuffled; without
        it rows are drawn alike whatever their task

    Notes
    -----
    Rows are drawn with replacement and keep lengths, task, SLA and tenant together. A drawn
    request belongs to no conversation: sessions, parents and block ids are absent.
    """
    n = len(trace)
    if shares is None:
        rows = rng.integers(0, n, n)
    else:
        weights = tuple(float(w) for w in shares.values())
        if not weights or min(weights) < 0 or not 0 < sum(weights) < math.inf:
            raise TraceError(f"shares are {dict(shares)}; expected weights >= 0, not all 0")
        drawn = [
            _draw(trace, task, count, rng)
            for task, count in zip(shares, counts(weights, n), strict=True)
        ]
        rows = rng.permutation(np.concatenate(drawn))
    part = trace.replace(hash_ids=None, parent=absent(n, np.int64)).take(rows)
    return part.replace(arrival_s=trace.arrival_s, session_code=absent(n, np.int32), sessions=())


def _draw(trace: Trace, task: str, count: int, rng: np.random.Generator) -> IntColumn:
    rows = np.flatnonzero(trace.task_code == _task_code(trace, task))
    if count and not len(rows):
        raise TraceError(f"no request of the trace has task {task!r} to draw from")
    return rows[rng.integers(0, len(rows), count)] if count else rows[:0]


def _task_code(trace: Trace, task: str) -> int:
    labels: Labels = trace.labels("task")
    if task not in labels.names:
        raise unknown("task", task, labels.names)
    return labels.names.index(task)


def _mean_gap_s(trace: Trace) -> float:
    if not trace.span_s:
        raise TraceError(f"the mean gap of {len(trace)} requests over 0 s is undefined")
    return trace.span_s / (len(trace) - 1)


def _extent(trace: Trace) -> str:
    if not len(trace):
        return "no requests"
    return f"arrivals from {trace.arrival_s[0]:g} to {trace.arrival_s[-1]:g} s"


def _filled(trace: Trace, message: str) -> Trace:
    if not len(trace):
        raise TraceError(message)
    return trace
