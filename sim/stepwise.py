"""The plain way to run a cluster: one event after another, one engine step after another.

This is what ``leap=False`` runs and what the leaping cluster is held against with ``==``, so it
shares no code with it.  The next event is found by looking at all there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.protocol import NEVER_PS, View
from sim.choices import is_sound, not_queued, unsound
from sim.ledger import REFUSED
from sim.stepengine import StepEngine

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from policies.protocol import Pending
    from policies.routing import Fleet, Route
    from sim.spec import ReplicaSpec

ARRIVAL, TIMER, BOUNDARY = range(3)
"""Kinds of events, in the order in which they happen at one instant."""


def run_stepwise(
    arrivals: Iterable[Pending],
    specs: Sequence[ReplicaSpec],
    route: Route,
    fleet: Fleet,
    until_ps: int | None,
) -> None:
    """Run `arrivals` through the replicas and fill the ledgers of `specs`.

    Parameters
    ----------
    arrivals : iterable of Pending
        Requests in trace order.
    specs : sequence of ReplicaSpec
        The replicas, by index; their ledgers are written, nothing else is.
    route : Route
        Which replica each request goes to.
    fleet : Fleet
        What it is shown.
    until_ps : int or None
        Process what happens up to and at this instant [ps], then stop; None runs to the end.

    Raises
    ------
    PolicyError
        If a decider chooses what it may not choose.
    """
    replicas = [_Replica(spec) for spec in specs]
    coming = iter(arrivals)
    request = next(coming, None)
    last_ps = NEVER_PS - 1 if until_ps is None else until_ps
    now_ps = 0
    while True:
        events = [(replica.timer_ps, TIMER, i) for i, replica in enumerate(replicas)]
        events += [(replica.boundary_ps(now_ps), BOUNDARY, i) for i, replica in enumerate(replicas)]
        if request is not None:
            events.append((request.arrival_ps, ARRIVAL, 0))
        now_ps, kind, index = min(events)
        if now_ps > last_ps:
            break
        if kind == ARRIVAL and request is not None:
            replicas[route.route(request, fleet)].arrive(request)
            request = next(coming, None)
        elif kind == TIMER:
            replicas[index].wake(now_ps)
        else:
            replicas[index].boundary(now_ps)
    for replica in replicas:
        replica.engine.stop(last_ps)


class _Replica:
    """An engine, the decider in front of it and the requests that wait for its release."""

    def __init__(self, spec: ReplicaSpec) -> None:
        self.spec = spec
        self.engine = StepEngine(spec)
        self.view = View(self.engine)
        self.queued: set[int] = set()
        self.timer_ps = NEVER_PS

    def boundary_ps(self, now_ps: int) -> int:
        """Return when the step in flight ends; an idle engine with work has a boundary now."""
        if self.engine.step is not None:
            return self.engine.step.end_ps
        return now_ps if self.engine.waiting else NEVER_PS

    def arrive(self, request: Pending) -> None:
        """Take a request in, or refuse it if it can never be served here."""
        ledger = self.spec.ledger
        ledger.replica[request.id] = self.spec.index
        if request.id in self.spec.refusals:
            self.refuse(request.id, self.spec.refusals[request.id])
            return
        self.queued.add(request.id)
        self.decide(request.arrival_ps, arrived=request)

    def wake(self, now_ps: int) -> None:
        """Evaluate the decider because its timer fires."""
        self.timer_ps = NEVER_PS
        self.decide(now_ps)

    def boundary(self, now_ps: int) -> None:
        """End a step, let the decider react to what finished, form the next step."""
        finished = self.engine.complete(now_ps)
        if finished:
            self.view.in_engine -= len(finished)
            self.decide(now_ps, finished=finished)
        self.engine.form(now_ps)

    def decide(
        self, now_ps: int, arrived: Pending | None = None, finished: Sequence[int] = ()
    ) -> None:
        """Show the decider the view and carry out its choice."""
        self.view.now_ps, self.view.arrived, self.view.finished = now_ps, arrived, finished
        choice = self.spec.decider.decide(self.view)
        if not is_sound(choice, now_ps, arrived is not None):
            raise unsound(choice, now_ps)
        for request_id in choice.refuse:
            self.take(request_id, "refused")
            self.refuse(request_id, "refused by the policy")
        for request_id in choice.demote:
            self.check_queued(request_id, "demoted")
            self.spec.ledger.demoted[request_id] = 1
        for request_id in choice.release:
            self.take(request_id, "released")
            self.spec.ledger.admitted_ps[request_id] = now_ps
            self.engine.release(request_id)
            self.view.in_engine += 1
        self.timer_ps = choice.wake_ps

    def check_queued(self, request_id: int, verb: str) -> None:
        """Refuse a choice about a request that does not wait here."""
        if not isinstance(request_id, int) or request_id not in self.queued:
            raise not_queued(request_id, self.spec.index, verb)

    def take(self, request_id: int, verb: str) -> None:
        """Remove a request from the queue."""
        self.check_queued(request_id, verb)
        self.queued.remove(request_id)

    def refuse(self, request_id: int, reason: str) -> None:
        """Account for a request that is turned away."""
        self.spec.ledger.status[request_id] = REFUSED
        self.spec.ledger.reason[request_id] = reason
