"""SABER evaluated whenever something happens."""

from __future__ import annotations

from collections import OrderedDict
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from policies.protocol import NEVER_PS, NOTHING, Choice
from policies.saber_terms import demotion_ps, required_speed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from policies.protocol import Pending, View
    from policies.saber_terms import LowPriority

STALE_PROMISES = 256
"""So many entries beside those that count may lie in the heap of promises."""


class EventSaber:
    """SABER evaluated at arrivals, completions and demotion instants.

    Between completions the predicted speed is constant and required speeds only rise, so nothing
    that was infeasible becomes feasible: an evaluation at an arrival need only look at the arrival,
    and one at a completion looks at the whole high-priority queue.  A client that gives up leaves
    like a completion: what it was promised binds nobody any more, and the load is one less.
    """

    __slots__ = (
        "_expiry",
        "_hpq",
        "_limit",
        "_load",
        "_lpq",
        "_lpq_rule",
        "_promised",
        "_promises",
        "_rng",
        "_speeds",
        "_top",
    )

    def __init__(
        self, speeds: Sequence[float], limit: float, lpq: LowPriority, rng: np.random.Generator
    ) -> None:
        self._speeds = speeds
        self._top = len(speeds) - 1
        self._limit = limit
        self._lpq_rule = lpq
        self._rng = rng
        self._hpq: dict[int, Pending] = {}
        # Ids in the order of demotion; any of them may leave.
        self._lpq: OrderedDict[int, None] = OrderedDict()
        # Demotion instants of the high-priority queue.  An entry is stale when its request waits
        # there no more, and that is this attempt: an id may be back as a retry.
        self._expiry: list[tuple[int, int, Pending]] = []
        # Speeds promised at release to unfinished high-priority requests, fastest first; an entry
        # is stale when its speed is not what the id is promised now.
        self._promised: dict[int, float] = {}
        self._promises: list[tuple[float, int]] = []
        self._load = 0

    def decide(self, view: View) -> Choice:
        """Demote what is hopeless, admit what is safe, then best effort if nothing else waits."""
        now_ps, load, arrived = view.now_ps, view.in_engine, view.arrived
        hpq, lpq, expiry = self._hpq, self._lpq, self._expiry
        for request in view.finished:
            self._promised.pop(request, None)
        for request in view.cancelled:
            self._forget(request)
        if arrived is None and not hpq and not lpq:
            self._load = load
            return NOTHING
        released: list[int] = []
        demoted: list[int] = []
        if arrived is not None:
            self._take_in(arrived, now_ps, load, released, demoted)
        if expiry and expiry[0][0] <= now_ps:
            self._demote_due(now_ps, demoted)
        if hpq and load != self._load:
            self._admit(now_ps, load, released)
        load += len(released)
        if lpq and not hpq:
            if self._lpq_rule == "all":
                released.extend(lpq)
                load += len(lpq)
                lpq.clear()
            elif self._lpq_rule == "one" or not load:
                released.append(lpq.popitem(last=False)[0])
                load += 1
        self._load = load
        while expiry and hpq.get(expiry[0][1]) is not expiry[0][2]:
            heappop(expiry)
        if not (released or demoted or expiry):
            return NOTHING
        return Choice(released, demoted, (), expiry[0][0] if expiry else NEVER_PS)

    def _forget(self, request: int) -> None:
        """Drop a request whose client gave up, wherever it is."""
        self._hpq.pop(request, None)
        self._lpq.pop(request, None)
        self._promised.pop(request, None)

    def _take_in(
        self, arrived: Pending, now_ps: int, load: int, released: list[int], demoted: list[int]
    ) -> None:
        """Release the arrival if it alone may have become feasible and is; else let it wait."""
        expires_ps = demotion_ps(arrived, self._limit)
        if now_ps >= expires_ps:
            self._lpq[arrived.id] = None
            demoted.append(arrived.id)
            return
        if load == self._load:
            predicted = self._speeds[min(load + 1, self._top)]
            speed = required_speed(arrived, now_ps)
            if speed <= predicted and self._fastest_promise() <= predicted:
                self._promise(arrived.id, speed)
                released.append(arrived.id)
                return
        self._hpq[arrived.id] = arrived
        if expires_ps != NEVER_PS:
            heappush(self._expiry, (expires_ps, arrived.id, arrived))

    def _demote_due(self, now_ps: int, demoted: list[int]) -> None:
        """Move requests whose demotion instant has come to the low-priority queue."""
        expiry = self._expiry
        while expiry and expiry[0][0] <= now_ps:
            _, request, attempt = heappop(expiry)
            if self._hpq.get(request) is attempt:
                del self._hpq[request]
                self._lpq[request] = None
                demoted.append(request)

    def _admit(self, now_ps: int, load: int, released: list[int]) -> None:
        """Release feasible high-priority requests, one after the other, until none is left."""
        predicted = self._speeds[min(load + 1, self._top)]
        if self._fastest_promise() > predicted:
            return
        feasible = [
            (speed, request.id)
            for request in self._hpq.values()
            if (speed := required_speed(request, now_ps)) <= predicted
        ]
        while feasible:
            drawn = 0 if len(feasible) == 1 else int(self._rng.random() * len(feasible))
            speed, request = feasible.pop(drawn)
            del self._hpq[request]
            self._promise(request, speed)
            released.append(request)
            load += 1
            predicted = self._speeds[min(load + 1, self._top)]
            if not feasible or self._fastest_promise() > predicted:
                return
            # The prediction only falls as the load rises: who fails once fails again.
            feasible = [candidate for candidate in feasible if candidate[0] <= predicted]

    def _promise(self, request: int, speed: float) -> None:
        """Remember the speed a released request needs until it finishes."""
        self._promised[request] = speed
        heappush(self._promises, (-speed, request))
        if len(self._promises) > 2 * len(self._promised) + STALE_PROMISES:
            # Under load a fast promise is always open, and no slow one would come to the top.
            self._promises = [(-each, id) for id, each in self._promised.items()]
            heapify(self._promises)

    def _fastest_promise(self) -> float:
        """Return the greatest speed promised to an unfinished request; 0 without any."""
        promises, promised = self._promises, self._promised
        while promises and promised.get(promises[0][1]) != -promises[0][0]:
            heappop(promises)
        return -promises[0][0] if promises else 0.0
