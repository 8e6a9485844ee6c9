"""Requests counted by task and replica, so that a page can add up any selection of them.

A page never holds a row per request: it holds, for every cell of a task and a replica that has
requests, how many of them fall in each bin.  Counts add up, quantiles do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    Codes = NDArray[np.int64]

MOST_TASKS = 12
MOST_REPLICAS = 16


@dataclass(frozen=True, eq=False)
class Groups:
    """The tasks or replicas that a page tells apart.

    Attributes
    ----------
    values : tuple
        Those kept, in the order shown.
    labels : tuple of str
        What they are called; one more than `values` where there are others, summed up.
    others : int
        How many are summed up.
    """

    values: tuple[str | int, ...]
    labels: tuple[str, ...]
    others: int

    def codes(self, column: NDArray[Any]) -> Codes:
        """Return the position in `labels` of each value."""
        place = {value: code for code, value in enumerate(self.values)}
        distinct, which = np.unique(column, return_inverse=True)
        codes = [place.get(value, len(self.values)) for value in distinct.tolist()]
        return np.array(codes, dtype=np.int64)[which]


def task_groups(frames: Sequence[pd.DataFrame]) -> Groups:
    """Return the tasks of some runs, the one with most requests first."""
    kept, others = _kept([tasks_of(frame) for frame in frames], MOST_TASKS)
    labels = [str(task) or "(no task)" for task in kept]
    return Groups(tuple(kept), tuple(labels + _others(others, "task")), others)


def replica_groups(frames: Sequence[pd.DataFrame]) -> Groups:
    """Return the replicas of some runs by number; -1 are requests that were sent nowhere."""
    kept, others = _kept([frame["replica"].to_numpy() for frame in frames], MOST_REPLICAS)
    kept = sorted(kept, key=lambda replica: (replica == -1, replica))
    labels = ["sent nowhere" if replica == -1 else f"replica {replica}" for replica in kept]
    return Groups(tuple(kept), tuple(labels + _others(others, "replica")), others)


def tasks_of(frame: pd.DataFrame) -> NDArray[np.str_]:
    """Return the task of each request, "" for none."""
    return np.asarray(frame["task"].astype(object).fillna("").astype(str), dtype=np.str_)


def _kept(columns: Sequence[NDArray[Any]], most: int) -> tuple[list[str | int], int]:
    """Return the values with most rows, and how many values were left out."""
    values, counts = np.unique(np.concatenate(columns), return_counts=True)
    ranked = values[np.lexsort((values, -counts))].tolist()
    if len(ranked) <= most:
        return ranked, 0
    return ranked[: most - 1], len(ranked) - most + 1


def _others(count: int, noun: str) -> list[str]:
    return [f"{count:,} other {noun}s"] if count else []


@dataclass(frozen=True, eq=False)
class Cells:
    """Which cell each request of a run is in.

    Attributes
    ----------
    task, replica : ndarray of int, shape (cells,)
        Positions in the labels of the groups.
    of : ndarray of int, shape (requests,)
        The cell of each request.
    """

    task: Codes
    replica: Codes
    of: Codes

    def totals(self, weights: NDArray[np.bool_]) -> list[int]:
        """Return how many requests of each cell `weights` selects."""
        totals: list[int] = np.bincount(self.of[weights], minlength=len(self.task)).tolist()
        return totals

    def histogram(self, bins: Codes, count: int) -> list[list[int]]:
        """Return for each cell how many requests fall in each of `count` bins, `sparse`.

        `bins` has the bin of each request, -1 for none.
        """
        inside = bins >= 0
        flat = np.bincount(self.of[inside] * count + bins[inside], minlength=len(self.task) * count)
        return [sparse(row) for row in flat.reshape(len(self.task), count)]


def cells_of(frame: pd.DataFrame, tasks: Groups, replicas: Groups) -> Cells:
    """Return the cells of a run's requests."""
    width = len(replicas.labels)
    flat = tasks.codes(tasks_of(frame)) * width + replicas.codes(frame["replica"].to_numpy())
    present, of = np.unique(flat, return_inverse=True)
    return Cells(present // width, present % width, of)


def sparse(counts: NDArray[np.integer[Any]]) -> list[int]:
    """Return the counts that are not 0 as pairs: how many places further, and the count."""
    places = np.flatnonzero(counts)
    pairs = np.column_stack((np.diff(places, prepend=-1), counts[places]))
    flat: list[int] = pairs.ravel().tolist()
    return flat
