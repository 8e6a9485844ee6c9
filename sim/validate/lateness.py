"""The driver's own hindrance: how late its event loop is, and a run without garbage collection."""

from __future__ import annotations

import asyncio
import gc
from array import array
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TICK_S = 0.01
LATE_S = 0.005
"""Above this at p99 the driver is part of what is measured, and a report says so."""


@dataclass(frozen=True)
class Lateness:
    """How late something was [s]: median, 99th percentile, most; None where it never came."""

    p50_s: float | None = None
    p99_s: float | None = None
    max_s: float | None = None

    @property
    def is_late(self) -> bool:
        """Whether it is more than may be passed over."""
        return self.p99_s is not None and self.p99_s > LATE_S


def lateness_of(late_s: object) -> Lateness:
    """Return what a sequence of delays [s] comes to."""
    values = np.asarray(late_s, dtype=np.float64)
    if not len(values):
        return Lateness()
    p50, p99 = np.percentile(values, (50, 99))
    return Lateness(float(p50), float(p99), float(values.max()))


class LoopWatch:
    """Ticks beside everything else and notes how late each tick is.

    The ticks are fixed instants: a loop that is held up for long is late for all of those in it.

    Parameters
    ----------
    clock : callable
        Seconds of the event loop's time.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._late_s = array("d")

    async def watch(self) -> None:
        """Tick until cancelled."""
        clock, late_s = self._clock, self._late_s
        due_s = clock() + TICK_S
        while True:
            await asyncio.sleep(due_s - clock())
            now_s = clock()
            while due_s <= now_s:
                late_s.append(now_s - due_s)
                due_s += TICK_S

    @property
    def lateness(self) -> Lateness:
        """What was seen so far."""
        return lateness_of(self._late_s)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep the garbage collector out of the way inside."""
    enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if enabled:
            gc.enable()


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait until it is over."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
