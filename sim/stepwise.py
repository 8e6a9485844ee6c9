"""The plain way to run a cluster: one event after another, one engine step after another.

This is what ``leap=False`` runs and what the leaping cluster is held against with ``==``: engines,
replicas and loop share no code with it.  What happens around the replicas (`sim.cluster.front`) is
the same for both.  The next event is found by looking at all there are.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

from policies.protocol import NEVER_PS, View
from sim.choices import is_sound, not_queued, unsound
from sim.cluster.agenda import ARRIVAL, SERVER, priority
from sim.cluster.front import Front
from sim.ledger import REFUSED
from sim.stepengine import StepEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from policies.protocol import Pending
    from sim.cluster.scenario import Scenario
    from sim.spec import Ended, ReplicaSpec

TIMERS, BOUNDARIES = SERVER, SERVER + 1
"""Kinds of events of a replica, after all that come from outside at that instant."""


def run_stepwise(requests: Iterable[Pending], scenario: Scenario) -> None:
    """Run requests through a cluster and leave the account in the ledgers of its replicas.

    Parameters
    ----------
    requests : iterable of Pending
        In trace order.
    scenario : Scenario
        The cluster and what happens to it.

    Raises
    ------
    PolicyError
        If a decider chooses what it may not choose.
    """
    last_ps = scenario.last_ps
    notes = _Notes(last_ps)
    front = Front(scenario, notes)
    stations = [_Station(spec, front.ended) for spec in scenario.specs]
    coming = front.open(list(stations), iter(requests))

    def note_next() -> None:
        request = next(coming, None)
        if request is not None:
            notes.at(request.arrival_ps, ARRIVAL, request.id, lambda now_ps: arrive(request))

    def arrive(request: Pending) -> None:
        # Noted again only afterwards, as there is a next one until the last has come.
        front.arrive(request, request.arrival_ps)
        note_next()

    note_next()
    now_ps = 0
    while True:
        events: list[tuple[int, int, int]] = [notes.next]
        for i, station in enumerate(stations):
            station.now_ps = now_ps
            events.append((station.wake_ps, priority(TIMERS, i), i))
            events.append((station.boundary_ps, priority(BOUNDARIES, i), i))
        now_ps, order, index = min(events)
        if now_ps > last_ps:
            break
        for station in stations:
            station.now_ps = now_ps
        if order < priority(TIMERS, 0):
            notes.take(now_ps)
        elif order < priority(BOUNDARIES, 0):
            stations[index].wake(now_ps)
        else:
            stations[index].boundary(now_ps)
    front.close(last_ps)
    for station in stations:
        station.look_last(last_ps)
        station.engine.stop(last_ps)


class _Notes:
    """The agenda as a heap of notes: instant, order, number, background, call."""

    def __init__(self, last_ps: int) -> None:
        self._last_ps = last_ps
        self._notes: list[tuple[int, int, int, bool, Callable[[int], None]]] = []
        self._written = count()

    @property
    def next(self) -> tuple[int, int, int]:
        """Instant, order and number of the note that comes first."""
        return self._notes[0][:3] if self._notes else (NEVER_PS, 0, 0)

    @property
    def foreground(self) -> int:
        """Notes that are not background."""
        return sum(not background for _, _, _, background, _ in self._notes)

    def at(
        self,
        instant_ps: int,
        kind: int,
        who: int,
        call: Callable[[int], None],
        *,
        background: bool = False,
    ) -> None:
        """Note a call; not if it is after the end of the run."""
        if instant_ps <= self._last_ps:
            number = next(self._written)
            heappush(self._notes, (instant_ps, priority(kind, who), number, background, call))

    def touched(self, index: int) -> None:
        """Do nothing: replicas are looked at before every event."""

    def take(self, now_ps: int) -> None:
        """Do what is noted first."""
        heappop(self._notes)[-1](now_ps)


class _Station:
    """An engine, the decider in front of it and the requests that wait for its release."""

    def __init__(self, spec: ReplicaSpec, ended: Ended) -> None:
        self.spec = spec
        self.ended = ended
        self.engine = StepEngine(spec)
        self.decider = spec.decider
        self.view = View(self.engine)
        self.view.max_num_batched_tokens = spec.limits.max_num_batched_tokens
        self.queued: dict[int, Pending] = {}
        self.released: dict[int, Pending] = {}
        self.timer_ps = NEVER_PS
        self.news: list[tuple[int, list[int]]] = []
        self.now_ps = 0

    @property
    def boundary_ps(self) -> int:
        """When the step in flight ends; an idle engine with work has a boundary now."""
        if self.engine.step is not None:
            return self.engine.step.end_ps
        return self.now_ps if self.engine.waiting else NEVER_PS

    def look(self, until_ps: int) -> None:
        """Note the state as it has been since something last happened here."""
        samples = self.spec.samples
        while samples is not None and samples.due_ps < until_ps:
            engine = self.engine
            samples.add(
                len(self.queued), len(engine.waiting), engine.seated, engine.blocks_in_step()
            )

    def look_last(self, last_ps: int) -> None:
        """Note the state at the end; once, if it stays like that."""
        samples = self.spec.samples
        if samples is not None:
            busy = self.wake_ps != NEVER_PS or self.engine.step is not None
            self.look(last_ps + 1 if busy else samples.due_ps + 1)

    @property
    def wake_ps(self) -> int:
        """When the decider is evaluated next: by its timer, or to be told who finished."""
        return min([self.timer_ps, *(told_ps for told_ps, _ in self.news)])

    @property
    def due_ps(self) -> int:
        """When something happens here next."""
        return min(self.wake_ps, self.boundary_ps)

    @property
    def empty(self) -> bool:
        """Whether no request is here."""
        return not self.queued and not self.released

    def arrive(self, request: Pending, now_ps: int) -> None:
        """Take a request in, or refuse it if it can never be served here."""
        self.look(now_ps)
        ledger = self.spec.ledger
        ledger.replica[request.id] = self.spec.index
        ledger.attempts[request.id] += 1
        if request.id in self.spec.refusals:
            self.refuse(request.id, self.spec.refusals[request.id], now_ps)
            return
        self.queued[request.id] = request
        self.decide(now_ps, arrived=request)

    def withdraw(self, request_id: int, now_ps: int) -> int:
        """Take a request out, wherever it is."""
        self.look(now_ps)
        generated = 0
        if request_id in self.queued:
            del self.queued[request_id]
        else:
            del self.released[request_id]
            generated = self.engine.generated(request_id, now_ps)
            self.engine.abort(request_id, now_ps)
        self.decide(now_ps, cancelled=(request_id,))
        return generated

    def fail(self, now_ps: int) -> tuple[list[Pending], int]:
        """Lose everything."""
        self.look(now_ps)
        lost = sorted([*self.queued.values(), *self.released.values()])
        generated = sum(self.engine.generated(i, now_ps) for i in self.released)
        self.engine.lose(now_ps)
        self.queued, self.released = {}, {}
        self.timer_ps = NEVER_PS
        self.news = []
        self.decider = self.spec.restart()
        return lost, generated

    def busy_ps(self, now_ps: int) -> int:
        """Return how long a step was under way."""
        return self.engine.busy_ps(now_ps)

    def waiting_and_running(self) -> tuple[int, int]:
        """Return who has no seat, and who has."""
        return len(self.queued) + len(self.engine.waiting_ids()), self.engine.seated

    def wake(self, now_ps: int) -> None:
        """Evaluate the decider: its timer fires, or it is told who finished a while ago."""
        self.look(now_ps)
        finished: Sequence[int] = ()
        if self.news and self.news[0][0] == now_ps:
            finished = self.news.pop(0)[1]
        self.decide(now_ps, finished=finished)

    def boundary(self, now_ps: int) -> None:
        """End a step, let the decider react to what finished, form the next step."""
        self.look(now_ps)
        finished = self.engine.complete(now_ps)
        if finished:
            for request_id in finished:
                del self.released[request_id]
            if self.spec.feedback_ps:
                self.news.append((now_ps + self.spec.feedback_ps, finished))
            else:
                self.decide(now_ps, finished=finished)
            for request_id in finished:
                self.ended(request_id, self.spec.index, now_ps)
        self.engine.form(now_ps)

    def decide(
        self,
        now_ps: int,
        arrived: Pending | None = None,
        finished: Sequence[int] = (),
        cancelled: Sequence[int] = (),
    ) -> None:
        """Show the decider the view and carry out its choice."""
        view = self.view
        view.now_ps, view.arrived = now_ps, arrived
        view.finished, view.cancelled = finished, cancelled
        view.in_engine = len(self.released) + sum(len(finished) for _, finished in self.news)
        choice = self.decider.decide(view)
        most_tokens = self.spec.limits.max_num_batched_tokens
        if not is_sound(choice, now_ps, arrived is not None or bool(cancelled), most_tokens):
            raise unsound(choice, now_ps, most_tokens)
        if choice.max_num_batched_tokens:
            self.engine.budget = choice.max_num_batched_tokens
        for request_id in choice.refuse:
            self.take(request_id, "refused")
            self.refuse(request_id, "refused by the policy", now_ps)
        for request_id in choice.demote:
            self.check_queued(request_id, "demoted")
            self.spec.ledger.demoted[request_id] = 1
        for request_id in choice.release:
            self.released[request_id] = self.take(request_id, "released")
            self.spec.ledger.admitted_ps[request_id] = now_ps
            self.engine.release(request_id)
        self.timer_ps = choice.wake_ps

    def check_queued(self, request_id: int, verb: str) -> None:
        """Refuse a choice about a request that does not wait here."""
        if not isinstance(request_id, int) or request_id not in self.queued:
            raise not_queued(request_id, self.spec.index, verb)

    def take(self, request_id: int, verb: str) -> Pending:
        """Remove a request from the queue."""
        self.check_queued(request_id, verb)
        return self.queued.pop(request_id)

    def refuse(self, request_id: int, reason: str, now_ps: int) -> None:
        """Account for a request that is turned away."""
        self.spec.ledger.status[request_id] = REFUSED
        self.spec.ledger.reason[request_id] = reason
        self.spec.ledger.gone_ps[request_id] = now_ps
        self.ended(request_id, self.spec.index, now_ps)
