"""What becomes of every batch, through the deaths of workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.options import OptionError
from sim.sweep.pools import WorkersLost
from sim.sweep.work import Line, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sim.sweep.batches import Batches
    from sim.sweep.cells import Cell
    from sim.sweep.pools import Pool


def outcomes_of(batches: Batches, pool: Pool) -> Iterator[Outcome]:
    """Yield what becomes of every batch, through the deaths of workers.

    Raises
    ------
    WorkersLost
        When the workers are lost for good.
    """
    while len(batches):
        try:
            for outcome in pool.run(batches):
                batches.back(outcome)
                yield outcome
        except OptionError:
            raise
        except Exception as error:
            if not (pool.apart and batches.out):
                raise
            yield from _one_by_one(batches, pool, error)


def _one_by_one(batches: Batches, pool: Pool, error: Exception) -> Iterator[Outcome]:
    """Run the cells that were out when a worker died each on its own, to see which it was.

    Memory may have been short for several at once, so that none is to blame; nor is a cell that
    came to a worker just as that went down with another: it takes two deaths.
    """
    suspects = [cell for batch in batches.out.values() for cell in batch.cells]
    batches.out.clear()
    for cell in suspects:
        outcome = _alone(cell, batches, pool, error) or _alone(cell, batches, pool, error)
        if outcome is None:
            batch = batches.alone((cell,))
            line = Line(cell.key, error=f"the worker died while it ran: {_told(error)}")
            outcome = Outcome(batch.number, (line,), "", 0.0, 0.0)
        batches.back(outcome)
        yield outcome


def _alone(cell: Cell, batches: Batches, pool: Pool, error: Exception) -> Outcome | None:
    """Return what becomes of a cell that runs on its own; None if its worker dies."""
    batch = batches.alone((cell,))
    try:
        [outcome] = pool.run([batch])
    except OptionError:
        raise
    except Exception as death:
        if not _answers(batches, pool):
            raise WorkersLost(f"the workers are lost ({_told(error)})") from death
        batches.out.pop(batch.number)
        return None
    return outcome


def _answers(batches: Batches, pool: Pool) -> bool:
    """Whether there are workers that can do nothing, at least."""
    nothing = batches.alone(())
    try:
        [outcome] = pool.run([nothing])
    except Exception:
        return False
    batches.back(outcome)
    return True


def _told(error: Exception) -> str:
    text = " ".join(str(error).split()).partition(". ")[0]
    return f"{type(error).__name__}: {text}"[:160]
