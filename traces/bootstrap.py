"""Other days like this one: a recorded trace redrawn in blocks of time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from traces.columns import is_absent
from traces.errors import TraceError, positive

if TYPE_CHECKING:
    from traces.columns import FloatColumn, IntColumn
    from traces.request import Trace

BLOCK_S = 60.0


def block_bootstrap(trace: Trace, rng: np.random.Generator, block_s: float = BLOCK_S) -> Trace:
    """Return a trace of the same span, made of blocks of this one drawn with replacement.

    The time of the trace is a circle, of its span and one mean gap.  Blocks begin anywhere on it,
    each instant alike, and are laid end to end: inside a block, gaps and bursts are those of the
    trace; what lasts longer than a block is not kept.  The number of requests varies as counts of
    blocks do; its expectation is the trace's own.

    Parameters
    ----------
    trace : Trace
        At least two requests, not all at one instant.
    rng : numpy.random.Generator
    block_s : float
        Seconds of a block, at most the span of the trace.  Long enough to hold what comes
        together, short enough for many blocks.

    Returns
    -------
    Trace
        Rows keep lengths, labels and SLAs.  A parent is kept where it is in the same block.  The
        second time a row is drawn it belongs to a second copy of its session and of its content,
        so that no copy shares a prefix with another, as in `traces.transform.repeat`.

    Raises
    ------
    TraceError
        If the trace has no span, or a block is longer than it.

    Notes
    -----
    The circular block bootstrap: D. N. Politis and J. P. Romano, "A circular block-resampling
    procedure for stationary data", 1992.
    """
    if not trace.span_s:
        raise TraceError(f"a trace of {len(trace)} requests over 0 s has no blocks of time to draw")
    if positive("block_s", block_s) > trace.span_s:
        raise TraceError(f"block_s is {block_s:g}; expected at most the span, {trace.span_s:g} s")
    period_s = trace.span_s * len(trace) / (len(trace) - 1)
    at_s = trace.arrival_s - trace.arrival_s[0]
    rows = np.zeros(0, dtype=np.int64)
    while not len(rows):  # blocks of a sparse trace may all be empty
        rows, since_s, block = _draw(at_s, period_s, block_s, rng)
    drawn = trace.replace(hash_ids=None).take(rows)
    columns: dict[str, Any] = {"arrival_s": np.sort(trace.arrival_s[0] + since_s)}
    copy = _copies(rows)
    if not is_absent(trace.parent):
        columns["parent"] = _parents(trace.parent[rows], rows, block)
    if not is_absent(trace.session_code):
        columns |= _sessions(trace, rows, copy)
    if trace.hash_ids is not None:
        blocks = trace.hash_ids.take(rows)
        distinct = int(trace.hash_ids.ids.max(initial=-1)) + 1
        moved = blocks.ids + distinct * np.repeat(copy, np.diff(blocks.offsets))
        columns["hash_ids"] = blocks._replace(ids=moved)
    return drawn.replace(**columns)


def _draw(
    at_s: FloatColumn, period_s: float, block_s: float, rng: np.random.Generator
) -> tuple[IntColumn, FloatColumn, IntColumn]:
    """Return rows drawn, seconds since the start at which each comes, and its block."""
    n = len(at_s)
    # Two rounds of the circle, so that a block may run across its end.
    round_s = np.concatenate([at_s, at_s + period_s])
    laid_s = np.arange(0.0, period_s, block_s)
    length_s = np.minimum(block_s, period_s - laid_s)
    start_s = rng.uniform(0.0, period_s, len(laid_s))
    first = np.searchsorted(round_s, start_s)
    count = np.searchsorted(round_s, start_s + length_s) - first
    block = np.repeat(np.arange(len(laid_s)), count)
    place = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + first[block]
    return place % n, laid_s[block] + (round_s[place] - start_s[block]), block


def _copies(rows: IntColumn) -> IntColumn:
    """Return for each row how often it was drawn before."""
    order = np.argsort(rows, kind="stable")
    same = rows[order]
    first = np.searchsorted(same, same)
    copies = np.empty(len(rows), dtype=np.int64)
    copies[order] = np.arange(len(rows)) - first
    return copies


def _parents(parent: IntColumn, rows: IntColumn, block: IntColumn) -> IntColumn:
    """Return parents by their new rows: in the same block, as far before as they were; else -1."""
    here = np.arange(len(rows))
    moved = here - (rows - parent)
    inside = (parent >= 0) & (moved >= 0)
    inside[inside] = block[moved[inside]] == block[inside]
    # A block across the end of the circle holds late rows before early ones.
    inside[inside] = rows[moved[inside]] == parent[inside]
    return np.where(inside, moved, -1)


def _sessions(trace: Trace, rows: IntColumn, copy: IntColumn) -> dict[str, Any]:
    mark = "~"
    while any(mark in name for name in trace.sessions):
        mark += "~"
    code = trace.session_code[rows]
    names = (
        *trace.sessions,
        *(
            f"{name}{mark}{again}"
            for again in range(2, int(copy.max()) + 2)
            for name in trace.sessions
        ),
    )
    moved = np.where(code < 0, -1, code + len(trace.sessions) * copy)
    return {"session_code": moved.astype(np.int32), "sessions": names}
