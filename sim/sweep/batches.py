"""Cells in batches: large enough that sending them costs nothing, small enough near the end."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from sim.sweep.work import Batch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sim.sweep.cells import Cell
    from sim.sweep.work import Outcome, Runner, Supply

LONGEST_S = 1.0
"""What a batch should take; results are kept about as often."""

SHARE = 4
"""Near the end a batch is this part of what is left for one worker, so that all end together."""


class Batches:
    """Hands out cells in batches, the longest cells first.

    Parameters
    ----------
    cells : iterable of Cell
        What is to be run.
    workers : int
        How many share it.
    supply : Supply
        Where workers find traces and profiles.
    folder : str
        Where they find modules of the user's own.
    run : Runner, optional
        What they make of each cell.

    Attributes
    ----------
    out : dict of int to Batch
        Batches that were handed out and have not come back.
    left : int
        Requests of the cells that have not come back.
    """

    def __init__(
        self,
        cells: Iterable[Cell],
        workers: int,
        supply: Supply,
        folder: str,
        run: Runner | None = None,
    ) -> None:
        # Workers that are given the longest cells first end at about the same time.
        self._cells = deque(sorted(cells, key=lambda cell: (-cell.requests, cell.position)))
        self._workers = workers
        self._supply = supply
        self._folder = folder
        self._run = run
        self._number = 0
        self._requests = 0
        self._seconds = 0.0
        self._waiting = sum(cell.requests for cell in self._cells)
        self._lock = threading.Lock()  # joblib takes from several threads
        self.out: dict[int, Batch] = {}

    @property
    def left(self) -> int:
        """Requests of the cells that have not come back."""
        flying = sum(cell.requests for batch in self.out.values() for cell in batch.cells)
        return self._waiting + flying

    def __len__(self) -> int:
        return len(self._cells)

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> Batch:
        """Return the next batch; one cell while nothing is known of their speed."""
        with self._lock:
            if not self._cells:
                raise StopIteration
            enough = 0.0
            if self._requests:
                s_a_request = self._seconds / self._requests
                enough = min(LONGEST_S / s_a_request, self._waiting / (SHARE * self._workers))
            chosen = [self._cells.popleft()]
            total = chosen[0].requests
            while self._cells and total + self._cells[0].requests <= enough:
                chosen.append(self._cells.popleft())
                total += chosen[-1].requests
            self._waiting -= total
            return self._made(tuple(chosen))

    def alone(self, cells: tuple[Cell, ...]) -> Batch:
        """Return a batch of cells that were handed out before, or of none."""
        with self._lock:
            return self._made(cells)

    def back(self, outcome: Outcome) -> None:
        """Take note of a batch that came back."""
        with self._lock:
            batch = self.out.pop(outcome.number)
            self._requests += sum(cell.requests for cell in batch.cells)
            self._seconds += outcome.wall_s

    def _made(self, cells: tuple[Cell, ...]) -> Batch:
        batch = Batch(self._number, cells, self._supply, self._folder, self._run)
        self._number += 1
        self.out[batch.number] = batch
        return batch
