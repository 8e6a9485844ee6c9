"""A sweep from its grid to its table: what is left to do, done, and kept as it comes."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.options import OptionError
from sim.sweep.batches import Batches
from sim.sweep.cells import RESULTS_FORMAT
from sim.sweep.outcomes import outcomes_of
from sim.sweep.pools import WorkersLost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sim.sweep.cells import Cell
    from sim.sweep.inputs import Inputs
    from sim.sweep.pools import Pool
    from sim.sweep.store import Store


@dataclass(frozen=True)
class Failure:
    """A cell that could not be run.

    Attributes
    ----------
    cell : Cell
        Which.
    error : str
        Why, in one line.
    """

    cell: Cell
    error: str


@dataclass(frozen=True)
class Report:
    """What a sweep did.

    Attributes
    ----------
    path : Path
        The table of results.
    cells : int
        Of the grid.
    skipped : int
        That were there before.
    ran : int
        That were run now and kept.
    failures : tuple of Failure
        That could not be run.
    outside : int
        Rows kept that belong to no cell of this grid.
    workers : int
        How many ran at once.
    wall_s : float
        How long the running took, the start of the workers included.
    busy_s, cpu_s : float
        How long the workers ran cells, all together, and the processor time that took [s].
    """

    path: Path
    cells: int
    skipped: int
    ran: int
    failures: tuple[Failure, ...]
    outside: int
    workers: int
    wall_s: float
    busy_s: float
    cpu_s: float

    @property
    def busy(self) -> float | None:
        """Share of the workers' time in which they ran cells and did not wait for some."""
        return self.busy_s / (self.workers * self.wall_s) if self.ran and self.wall_s else None


@dataclass(frozen=True)
class Progress:
    """How far a sweep is.

    Attributes
    ----------
    done, failed, cells : int
        Of the cells that were to be run.
    elapsed_s : float
        Since the first was handed out.
    left_s : float or None
        An estimate, by how many requests are left.
    """

    done: int
    failed: int
    cells: int
    elapsed_s: float
    left_s: float | None


def run_sweep(
    cells: Sequence[Cell],
    inputs: Inputs,
    store: Store,
    pool: Pool,
    on_progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Run the cells that are not kept yet and write the table of all of them.

    Whatever ends it, an interrupt too, what is finished is kept, and the table holds it.

    Parameters
    ----------
    cells : sequence of Cell
        The grid.
    inputs : Inputs
        Those the cells were made with.
    store : Store
        Where results are kept.
    pool : Pool
        Who runs them.
    on_progress : callable, optional
        Told how far it is, after every batch.

    Returns
    -------
    Report

    Raises
    ------
    OptionError
        When the workers are lost for good; what is finished is kept.
    """
    todo = [cell for cell in cells if cell.key not in store.done]
    by_key = {cell.key: cell for cell in todo}
    batches = Batches(todo, pool.workers, pool.supply, os.getcwd())
    total = batches.left
    failures: list[Failure] = []
    done, busy_s, cpu_s, start_s = 0, 0.0, 0.0, time.perf_counter()
    try:
        for outcome in outcomes_of(batches, pool):
            for line in outcome.lines:
                if line.error:
                    failures.append(Failure(by_key[line.key], line.error))
                else:
                    store.keep(line)
                    done += 1
            busy_s += outcome.wall_s
            cpu_s += outcome.cpu_s
            if on_progress is not None:
                elapsed_s = time.perf_counter() - start_s
                left = batches.left
                left_s = elapsed_s * left / (total - left) if total > left else None
                on_progress(Progress(done, len(failures), len(todo), elapsed_s, left_s))
    except WorkersLost as error:
        raise OptionError(f"{error}; what is finished is kept: go on with --resume") from error
    finally:
        wall_s = time.perf_counter() - start_s
        failures.sort(key=lambda failure: failure.cell.position)
        store.keep_failures(
            [{"key": f.cell.key, **f.cell.setting, "error": f.error} for f in failures]
        )
        about = {"sabersim": inputs.version, "format": str(RESULTS_FORMAT)}
        outside = store.sort([cell.key for cell in cells], about)
    return Report(
        path=store.path,
        cells=len(cells),
        skipped=len(cells) - len(todo),
        ran=done,
        failures=tuple(failures),
        outside=outside,
        workers=pool.workers,
        wall_s=wall_s,
        busy_s=busy_s,
        cpu_s=cpu_s,
    )
