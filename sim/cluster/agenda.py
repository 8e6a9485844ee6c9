"""What is going to happen to a cluster from outside, and in which order at one instant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

CHANGE, DEPARTURE, ARRIVAL, SERVER = range(4)
"""Kinds of events in their order at one instant: a replica fails, returns or is looked at; a
client goes; a request comes.  Timers and step boundaries of the replicas come last."""

WHO_BITS = 40


def priority(kind: int, who: int) -> int:
    """Return the place of an event among those of its instant; `who` orders those of a kind."""
    return (kind << WHO_BITS) + who


class Agenda(Protocol):
    """Keeps appointments: SimPy's events, or a plain list where every step is visited."""

    def at(
        self,
        instant_ps: int,
        kind: int,
        who: int,
        call: Callable[[int], None],
        *,
        background: bool = False,
    ) -> None:
        """Call ``call(instant_ps)`` then; never, if that is after the end of the run.

        `background` appointments alone do not keep a run going.
        """
        ...

    def touched(self, index: int) -> None:
        """Note that the next event of replica `index` may have changed."""
        ...

    @property
    def foreground(self) -> int:
        """Appointments that are not background and still to come, arrivals of the trace too."""
        ...
