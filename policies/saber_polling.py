"""SABER as the study's code runs it: one request drawn every so often."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from policies.protocol import NOTHING, Choice
from policies.saber_terms import demotion_ps, required_speed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from policies.protocol import Pending, View
    from policies.saber_terms import LowPriority


@dataclass(frozen=True)
class PollingRules:
    """How a poll goes.

    Attributes
    ----------
    interval_ps : int
        Polls come at whole multiples of this [ps].
    window : int
        A poll draws from this many requests at the head of the high-priority queue.
    lpq : {"one", "all", "idle"}
        What the low-priority queue may release at a poll that finds the other one empty.
    count_low_priority : bool
        Whether the load counts best-effort requests.
    load_factor : int
        The speed is predicted at ``load_factor * load + 1``.
    demote_every : int
        Hopeless requests are demoted at every so-many-th poll.
    """

    interval_ps: int
    window: int
    lpq: LowPriority
    count_low_priority: bool
    load_factor: int
    demote_every: int


class PollingSaber:
    """SABER evaluated at fixed intervals; what happens in between only updates its books."""

    __slots__ = (
        "_expiry",
        "_hpq",
        "_limit",
        "_lpq",
        "_promised",
        "_rng",
        "_rules",
        "_speeds",
        "_top",
    )

    def __init__(
        self,
        speeds: Sequence[float],
        limit: float,
        rules: PollingRules,
        rng: np.random.Generator,
    ) -> None:
        self._speeds = speeds
        self._top = len(speeds) - 1
        self._limit = limit
        self._rules = rules
        self._rng = rng
        self._hpq: deque[Pending] = deque()
        # Ids in the order of demotion; any of them may leave.
        self._lpq: OrderedDict[int, None] = OrderedDict()
        # Demotion instants of the high-priority queue.  Entries go stale: their requests were
        # released or given up, and the id may even be back as a retry that expires later.
        self._expiry: list[tuple[int, int]] = []
        # Speeds promised at release to unfinished high-priority requests.
        self._promised: dict[int, float] = {}

    def decide(self, view: View) -> Choice:
        """Keep the books; at a poll, demote, draw one request and try it."""
        for request in view.finished:
            self._promised.pop(request, None)
        if view.cancelled:
            self._forget(view.cancelled)
        if view.arrived is not None:
            self._hpq.append(view.arrived)
            heappush(self._expiry, (demotion_ps(view.arrived, self._limit), view.arrived.id))
        released: list[int] = []
        demoted: list[int] = []
        interval_ps = self._rules.interval_ps
        # What comes from outside is before the timers of an instant, and completions are after
        # them: a poll is none of these.
        outside = view.arrived is not None or bool(view.cancelled)
        if not outside and not view.finished:
            if view.now_ps // interval_ps % self._rules.demote_every == 0:
                demoted = self._demote_due(view.now_ps)
            if self._hpq:
                released = self._draw(view)
            elif self._lpq:
                released = self._best_effort(view.in_engine)
        if not self._hpq and not self._lpq:
            return Choice(released, demoted) if released or demoted else NOTHING
        # What comes from outside at the very instant of a poll is in time for it.
        due_ps = view.now_ps if outside else view.now_ps + 1
        return Choice(released, demoted, (), -(-due_ps // interval_ps) * interval_ps)

    def _forget(self, cancelled: Sequence[int]) -> None:
        """Drop requests whose clients gave up, wherever they are."""
        self._hpq = deque(r for r in self._hpq if r.id not in cancelled)
        for request in cancelled:
            self._lpq.pop(request, None)
            self._promised.pop(request, None)

    def _demote_due(self, now_ps: int) -> list[int]:
        """Move requests that can no longer meet their SLA to the low-priority queue."""
        hopeless = set()
        while self._expiry and self._expiry[0][0] <= now_ps:
            hopeless.add(heappop(self._expiry)[1])
        if not hopeless:
            return []
        due = {
            r.id: None
            for r in self._hpq
            if r.id in hopeless and demotion_ps(r, self._limit) <= now_ps
        }
        self._hpq = deque(r for r in self._hpq if r.id not in due)
        self._lpq.update(due)
        return list(due)

    def _draw(self, view: View) -> list[int]:
        """Draw one request; release it if everyone is predicted to keep up, else put it last."""
        candidates = min(self._rules.window, len(self._hpq))
        drawn = 0 if candidates == 1 else int(self._rng.random() * candidates)
        request = self._hpq[drawn]
        del self._hpq[drawn]
        load = view.in_engine if self._rules.count_low_priority else len(self._promised)
        predicted = self._speeds[min(self._rules.load_factor * load + 1, self._top)]
        required = required_speed(request, view.now_ps)
        if predicted >= required and predicted >= max(self._promised.values(), default=0.0):
            self._promised[request.id] = required
            return [request.id]
        self._hpq.append(request)
        return []

    def _best_effort(self, load: int) -> list[int]:
        """Release from the low-priority queue as its rule allows."""
        if self._rules.lpq == "all":
            released = list(self._lpq)
            self._lpq.clear()
            return released
        if self._rules.lpq == "one" or not load:
            return [self._lpq.popitem(last=False)[0]]
        return []
