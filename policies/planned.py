"""A plan carried out: given requests in a given order, by one who knows what comes.

It is no policy to compare with: whoever wrote the plan may have known every arrival and length.
`sim.oracle` writes such plans.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import islice
from typing import TYPE_CHECKING

from policies.parameters import check_whole
from policies.protocol import NEVER_PS, Choice, PolicyError

if TYPE_CHECKING:
    import numpy as np

    from calibrate.profile import Profile
    from policies.protocol import View


@dataclass(frozen=True)
class Planned:
    """Release the requests of a plan in its order, as soon as they are here and a seat is free.

    All others are best effort: first come first served once every planned request is over.  A plan
    is for one replica, and every request in it must come there.

    Attributes
    ----------
    order : tuple of int
        Ids of the planned requests, first to go first.
    max_num_seqs : int
        Seats: so many requests are in the engine at most, planned or not.
    strict : bool
        Whether a planned request that has not arrived, or whose instant has not come, holds up
        those planned after it.
    not_before_ps : tuple of int
        The instant before which each request of `order` is held back [ps]; empty holds back none.
    """

    order: tuple[int, ...]
    max_num_seqs: int
    strict: bool = False
    not_before_ps: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_whole("planned", "max_num_seqs", self.max_num_seqs, 1)
        for request in self.order:
            check_whole("planned", "request in order", request, 0)
        if len(set(self.order)) < len(self.order):
            raise PolicyError("planned: order names a request twice: expected each once")
        if len(self.not_before_ps) not in (0, len(self.order)):
            raise PolicyError(
                f"planned: not_before_ps has {len(self.not_before_ps)} instants: expected none or "
                f"{len(self.order)}, one for each request of order"
            )

    @property
    def label(self) -> str:
        """What the plan amounts to; the ids are left out, so that it fits a table."""
        order = ", strict=True" if self.strict else ""
        return f"planned({len(self.order)} requests, max_num_seqs={self.max_num_seqs}{order})"

    def start(self, rng: np.random.Generator, profile: Profile) -> PlannedDecider:
        """Return a decider that carries the plan out."""
        return PlannedDecider(self)


class PlannedDecider:
    """Holds what has arrived by its place in the plan, and the rest by arrival."""

    __slots__ = (
        "_early",
        "_left",
        "_next",
        "_order",
        "_place",
        "_rest",
        "_seats",
        "_strict",
        "_times_ps",
        "_waiting",
    )

    def __init__(self, plan: Planned) -> None:
        self._order = plan.order
        self._place = {request: place for place, request in enumerate(plan.order)}
        self._seats = plan.max_num_seqs
        self._strict = plan.strict
        self._next = 0  # the first place whose request may still come
        self._times_ps = plan.not_before_ps or (0,) * len(plan.order)
        self._early: list[tuple[int, int]] = []  # instant and place of who waits for it, a heap
        self._waiting: list[int] = []  # places of the planned that wait for a seat, a heap
        self._rest: dict[int, None] = {}  # the others that wait, oldest first
        self._left = set(plan.order)  # planned and not over

    def decide(self, view: View) -> Choice:
        """Release planned requests while seats are free; the rest when none is left."""
        arrived = view.arrived
        if arrived is not None:
            if arrived.id in self._left:
                place = self._place[arrived.id]
                heappush(self._early, (self._times_ps[place], place))
            else:
                self._rest[arrived.id] = None
            # Others may arrive at this instant that go before it.
            return Choice(wake_ps=view.now_ps)
        self._left.difference_update(view.finished, view.cancelled)
        for request in view.cancelled:
            self._rest.pop(request, None)
        early = self._early
        while early and early[0][0] <= view.now_ps:
            heappush(self._waiting, heappop(early)[1])
        released = self._planned(self._seats - view.in_engine)
        if not self._left:
            free = self._seats - view.in_engine - len(released)
            oldest = list(islice(self._rest, max(free, 0)))
            for request in oldest:
                del self._rest[request]
            released += oldest
        return Choice(tuple(released), wake_ps=early[0][0] if early else NEVER_PS)

    def _planned(self, seats: int) -> list[int]:
        """Take the planned requests that go now, at most `seats`, in the order of the plan."""
        order, waiting, left = self._order, self._waiting, self._left
        released: list[int] = []
        while waiting and len(released) < seats:
            place = waiting[0]
            if order[place] not in left:  # its client gave it up
                heappop(waiting)
                continue
            if self._strict:
                while order[self._next] not in left:
                    self._next += 1
                if place > self._next:
                    break
                self._next = place + 1
            released.append(order[heappop(waiting)])
        return released
