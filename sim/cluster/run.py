"""The cluster as SimPy sees it: requests arrive, clients go, replicas fail and return.

SimPy carries what happens to the cluster.  A replica that nobody looks at needs no events for its
own steps and timers: it is advanced lazily, when something touches it, and sees the same instants
either way.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

import simpy

from policies.protocol import NEVER_PS
from sim.cluster.agenda import ARRIVAL, SERVER, priority
from sim.cluster.front import Front
from sim.server import server_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from policies.protocol import Pending
    from sim.cluster.scenario import Scenario
    from sim.server import Server

FIRST_ARRIVAL = priority(ARRIVAL, 0)
"""The place of request 0 at its instant; the others follow by id."""


def run_cluster(requests: Iterable[Pending], scenario: Scenario) -> None:
    """Run requests through a cluster and leave the account in the ledgers of its replicas.

    Parameters
    ----------
    requests : iterable of Pending
        In trace order.
    scenario : Scenario
        The cluster and what happens to it.
    """
    env = simpy.Environment(initial_time=0)
    last_ps = scenario.last_ps
    if scenario.plain:
        servers = [server_of(spec) for spec in scenario.specs]
        arrive = [server.arrive for server in servers]
        route, fleet = scenario.route.route, scenario.fleet

        def send(request: Pending, now_ps: int) -> None:
            arrive[route(request, fleet)](request, now_ps)

        _Arrivals(env, iter(requests), send, last_ps)
        env.run()
        for spec in scenario.specs:
            spec.account.up_ps.extend((0, last_ps))
            spec.account.paid_ps.extend((0, last_ps))
    elif scenario.quiet:
        watch = _Watch()
        front = Front(scenario, watch)
        servers = [server_of(spec, front.ended) for spec in scenario.specs]
        watch.watch(servers)
        traced = front.open(list(servers), iter(requests))

        def send_informed(request: Pending, now_ps: int) -> None:
            watch.catch_up(now_ps)
            front.submit(request, now_ps)

        _Arrivals(env, traced, send_informed, last_ps)
        env.run()
        front.close(last_ps)
    else:
        agenda = _Events(env, last_ps)
        front = Front(scenario, agenda)
        servers = [server_of(spec, front.ended) for spec in scenario.specs]
        agenda.watch(servers)
        traced = front.open(list(servers), iter(requests))
        agenda.arrivals = _Arrivals(env, traced, front.arrive, last_ps)
        env.run()
        front.close(last_ps)
    for server in servers:
        server.stop(last_ps)


class _Arrivals:
    """Delivers requests through one event that is scheduled again and again.

    A generator process per source costs three times as much a request.
    """

    def __init__(
        self,
        env: simpy.Environment,
        requests: Iterator[Pending],
        send: Callable[[Pending, int], None],
        until_ps: int,
    ) -> None:
        self._env = env
        self._requests = requests
        self._send = send
        self._until_ps = until_ps
        self._event = env.event()
        self._event._ok = True
        self._event._value = None
        self._next: Pending | None = None
        self._schedule_next(0)

    @property
    def coming(self) -> bool:
        """Whether there is another one."""
        return self._next is not None

    def _schedule_next(self, now_ps: int) -> None:
        request = self._next = next(self._requests, None)
        if request is None:
            return
        arrival_ps = request.arrival_ps
        if arrival_ps > self._until_ps:
            self._next = None
            return
        # Not kept on self: a cycle would hold a large run in memory until it is collected.
        self._event.callbacks = [self._deliver]
        self._env.schedule(
            self._event,
            simpy.events.EventPriority(FIRST_ARRIVAL + request.id),
            arrival_ps - now_ps,
        )

    def _deliver(self, event: simpy.Event) -> None:
        request = self._next
        assert request is not None
        self._send(request, request.arrival_ps)
        self._schedule_next(request.arrival_ps)


class _Watch:
    """The agenda of a cluster to which only requests come, and which only the router looks at.

    Replicas are brought up to date before each arrival, those that have something due: what they
    do in between can have no effect on each other.
    """

    foreground = 0

    def __init__(self) -> None:
        self._servers: Sequence[Server] = ()
        self._heap: list[tuple[int, int]] = []  # what is due when [ps], at which replica
        self._due_ps: list[int] = []  # the entry that counts for each replica, NEVER_PS for none

    def watch(self, servers: Sequence[Server]) -> None:
        """Bring these up to date from now on."""
        self._servers = servers
        self._due_ps = [NEVER_PS] * len(servers)

    def catch_up(self, now_ps: int) -> None:
        """Let everything happen that happens before now."""
        heap = self._heap
        while heap and heap[0][0] < now_ps:
            due_ps, index = heappop(heap)
            if self._due_ps[index] == due_ps:  # else an earlier one took its place
                self._due_ps[index] = NEVER_PS
                self._servers[index].advance(now_ps)
                self.touched(index)

    def touched(self, index: int) -> None:
        """Note the next event of a replica if it is earlier than what is noted."""
        due_ps = self._servers[index].due_ps
        if due_ps < self._due_ps[index]:
            self._due_ps[index] = due_ps
            heappush(self._heap, (due_ps, index))

    def at(
        self,
        instant_ps: int,
        kind: int,
        who: int,
        call: Callable[[int], None],
        *,
        background: bool = False,
    ) -> None:
        """Refuse: nobody makes appointments here."""
        raise RuntimeError("an appointment in a cluster to which only requests come")


class _Events:
    """The agenda in SimPy's keeping; brings replicas up to date as their own events come due.

    Attributes
    ----------
    arrivals : _Arrivals or None
        What the trace still has to send.
    """

    def __init__(self, env: simpy.Environment, last_ps: int) -> None:
        self._env = env
        self._last_ps = last_ps
        self._noted = 0
        self._servers: Sequence[Server] = ()
        self._due_ps: list[int] = []  # what is scheduled for each server, NEVER_PS for nothing
        self.arrivals: _Arrivals | None = None

    def watch(self, servers: Sequence[Server]) -> None:
        """Bring these up to date from now on."""
        self._servers = servers
        self._due_ps = [NEVER_PS] * len(servers)

    @property
    def foreground(self) -> int:
        """Appointments that are not background and still to come, arrivals of the trace too."""
        coming = self.arrivals is None or self.arrivals.coming
        return self._noted + coming

    def at(
        self,
        instant_ps: int,
        kind: int,
        who: int,
        call: Callable[[int], None],
        *,
        background: bool = False,
    ) -> None:
        """Call ``call(instant_ps)`` then; never, if that is after the end of the run."""
        if instant_ps > self._last_ps:
            return
        self._noted += not background

        def happen(event: simpy.Event) -> None:
            self._noted -= not background
            call(instant_ps)

        self._schedule(instant_ps, priority(kind, who), happen)

    def touched(self, index: int) -> None:
        """Schedule the next event of a replica if it is earlier than what is scheduled."""
        due_ps = self._servers[index].due_ps
        if due_ps >= self._due_ps[index] or due_ps > self._last_ps:
            return
        self._due_ps[index] = due_ps

        def come_due(event: simpy.Event) -> None:
            if self._due_ps[index] == due_ps:  # else an earlier one took its place
                self._due_ps[index] = NEVER_PS
                self._servers[index].advance(due_ps + 1)
                self.touched(index)

        self._schedule(due_ps, priority(SERVER, index), come_due)

    def _schedule(
        self, instant_ps: int, order: int, callback: Callable[[simpy.Event], None]
    ) -> None:
        event = self._env.event()
        event._ok = True
        event._value = None
        event.callbacks = [callback]
        self._env.schedule(
            event, simpy.events.EventPriority(order), instant_ps - int(self._env.now)
        )
