"""Turns that follow one another, in files that name them by ids of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from traces.columns import IntColumn
    from traces.layouts import Layout
    from traces.request import Trace


def rows_of(own_id: IntColumn, parent_id: IntColumn) -> IntColumn:
    """Return the row whose own id is each parent id, -1 where there is none."""
    order = np.argsort(own_id, kind="stable")
    place = np.searchsorted(own_id, parent_id, sorter=order)
    candidate = order[np.minimum(place, len(order) - 1)]
    rows: IntColumn = np.where(own_id[candidate] == parent_id, candidate, -1)
    return rows


def chained(
    trace: Trace, own_id: IntColumn, parent_id: IntColumn, layout: Layout
) -> tuple[Trace, int]:
    """Return the trace with parents that lie before their children, and how many did not.

    Where rows have ids of their own, the first turn of a chain names its session.
    """
    row = np.arange(len(trace))
    parent = np.where(trace.parent < row, trace.parent, -1)
    orphans = int(((parent < 0) & (parent_id >= 0)).sum())
    trace = trace.replace(parent=parent)
    if layout.chain is None or layout.chain[0] is None:
        return trace, orphans
    root = np.where(parent < 0, row, parent)
    while not np.array_equal(further := root[root], root):
        root = further
    # A chain that began before the file is known by the turn it follows.
    name = np.where(parent_id[root] >= 0, parent_id[root], own_id[root])
    _, first, code = np.unique(name, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int32)
    rank[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    sessions = tuple(str(int(i)) for i in name[np.sort(first)])
    return trace.replace(session_code=rank[code], sessions=sessions), orphans
