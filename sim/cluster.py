"""The cluster as SimPy sees it: arrivals reach a router, the router picks a replica.

SimPy carries what happens to the cluster.  A replica's own steps and timers need no events: it is
advanced lazily, when something touches it, and sees the same instants either way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import simpy

from policies.protocol import NEVER_PS
from sim.replica import Replica

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from policies.protocol import Pending
    from policies.routing import Fleet, Route
    from sim.spec import ReplicaSpec

ARRIVAL = simpy.events.EventPriority(0)


class Arrivals:
    """Delivers requests through one event that is scheduled again and again.

    A generator process per source costs three times as much a request.
    """

    def __init__(
        self,
        env: simpy.Environment,
        requests: Iterable[Pending],
        replicas: Sequence[Replica],
        route: Route,
        fleet: Fleet,
        until_ps: int,
    ) -> None:
        self._env = env
        self._requests = iter(requests)
        self._arrive = [replica.arrive for replica in replicas]
        self._route = route.route
        self._fleet = fleet
        self._until_ps = until_ps
        self._event = env.event()
        self._event._ok = True
        self._event._value = None
        self._next: Pending | None = None
        self._schedule_next(0)

    def _schedule_next(self, now_ps: int) -> None:
        request = next(self._requests, None)
        if request is not None and request.arrival_ps <= self._until_ps:
            self._next = request
            # Not kept on self: a cycle would hold a large run in memory until it is collected.
            self._event.callbacks = [self._deliver]
            self._env.schedule(self._event, ARRIVAL, request.arrival_ps - now_ps)

    def _deliver(self, event: simpy.Event) -> None:
        request = self._next
        assert request is not None
        self._arrive[self._route(request, self._fleet)](request)
        self._schedule_next(request.arrival_ps)


def run_cluster(
    arrivals: Iterable[Pending],
    specs: Sequence[ReplicaSpec],
    route: Route,
    fleet: Fleet,
    until_ps: int | None = None,
) -> None:
    """Run a trace through a cluster and leave the account in the ledgers of `specs`.

    Parameters
    ----------
    arrivals : iterable of Pending
        Requests by arrival.
    specs : sequence of ReplicaSpec
        The replicas.
    route : Route
        Picks a replica for each request.
    fleet : Fleet
        What it is shown.
    until_ps : int, optional
        Stop the clock here [ps]; by default the run ends when nothing is left to happen.
    """
    env = simpy.Environment(initial_time=0)
    replicas = [Replica(spec) for spec in specs]
    last_ps = NEVER_PS - 1 if until_ps is None else until_ps
    Arrivals(env, arrivals, replicas, route, fleet, last_ps)
    env.run()
    for replica in replicas:
        replica.stop(last_ps)
