"""The front door of a cluster: requests come in here, and here it is told how they ended."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from policies.protocol import NEVER_PS, PolicyError
from sim.cluster.clientele import Clientele
from sim.cluster.lifecycle import Lifecycle
from sim.cluster.lookout import Lookout
from sim.ledger import CANCELLED, FAILED, FINISHED, REFUSED, UNFINISHED, UNSET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policies.protocol import Pending
    from sim.cluster.agenda import Agenda
    from sim.cluster.scenario import Scenario
    from sim.spec import Station

MOST_FAILOVERS = 100
"""A request sent on so often fails with the replica it is at: no cluster is patient for ever."""


class Front:
    """Sends requests to replicas and follows each to its end.

    Parameters
    ----------
    scenario : Scenario
        What happens around the replicas.
    agenda : Agenda
        Keeps appointments.
    """

    def __init__(self, scenario: Scenario, agenda: Agenda) -> None:
        self._agenda = agenda
        self._fleet = scenario.fleet
        self._route = scenario.route.route
        self._ledger = scenario.specs[0].ledger
        self._refusals = [spec.refusals for spec in scenario.specs]
        self._scenario = scenario
        self._caps = scenario.tenant_caps
        self._held: Counter[str] = Counter()  # requests in the cluster, by tenant with a cap
        self._live: dict[int, Pending] = {}  # requests at a replica
        self._failover = scenario.failures is not None and (
            scenario.failures.on_failure == "failover"
        )
        self._lose = scenario.failures is not None and scenario.failures.on_failure == "lost"
        self._sent_on: Counter[int] = Counter()  # failovers of requests in the cluster
        self._clients: Clientele | None = None
        if scenario.habits is not None:
            self._clients = Clientele(
                scenario.habits, agenda, self.submit, self._give_up, self._ledger.moved_ps
            )

    def open(self, stations: list[Station], requests: Iterator[Pending]) -> Iterator[Pending]:
        """Begin; return the requests that arrive when the trace says.

        Parameters
        ----------
        stations : list of Station
            The replicas; they tell `ended` what finishes or is refused.
        requests : iterator of Pending
            In trace order.
        """
        scenario = self._scenario
        self._stations = stations
        self._lifecycle = Lifecycle(scenario, stations, self._agenda, self._lost, self._alive)
        self._lookout: Lookout | None = None
        if scenario.autoscale is not None:
            self._lookout = Lookout(scenario, stations, self._lifecycle, self._agenda, self._alive)
        if self._clients is not None and scenario.habits and scenario.habits.users is not None:
            self._clients.begin(requests)
            return iter(())
        return requests

    def close(self, now_ps: int) -> None:
        """End the run."""
        self._lifecycle.close(now_ps)

    def arrive(self, request: Pending, now_ps: int) -> None:
        """Let a request of the trace come."""
        if self._clients is None:
            self.submit(request, now_ps)
        else:
            self._clients.arrive(request, now_ps)

    def submit(self, request: Pending, now_ps: int) -> None:
        """Send a request for the first time or once more."""
        if self._lookout is not None:
            self._lookout.arrived += 1
        if self._clients is not None:
            self._clients.sent(request, now_ps)
        tenant = request.tenant
        if tenant in self._caps:
            if self._held[tenant] >= self._caps[tenant]:
                self._ledger.attempts[request.id] += 1
                self._turn_away(request, REFUSED, f"tenant {tenant} had used up its share", now_ps)
                return
            self._held[tenant] += 1
        self._dispatch(request, now_ps)

    def ended(self, request: int, index: int, now_ps: int) -> None:
        """Note that a replica finished or refused a request."""
        pending = self._leave(request, index)
        again = self._ledger.status[request] == REFUSED and request not in self._refusals[index]
        self._after(pending, now_ps, again=again)
        self._lifecycle.left(index, now_ps)

    def _dispatch(self, request: Pending, now_ps: int) -> None:
        fleet = self._fleet
        if not fleet.taking:
            self._ledger.attempts[request.id] += 1
            self._release_share(request)
            self._turn_away(request, FAILED, "no replica took requests", now_ps)
            return
        fleet.now_ps = now_ps
        index = self._route(request, fleet)
        if index not in fleet.taking:
            raise PolicyError(
                f"a router sent request {request.id} to replica {index!r}: expected one that "
                "takes requests (fleet.taking)"
            )
        self._live[request.id] = request
        fleet.requests[index] += 1
        fleet.outstanding_tokens[index] += request.prompt_tokens + request.max_tokens
        self._stations[index].arrive(request, now_ps)
        self._agenda.touched(index)

    def _leave(self, request: int, index: int) -> Pending:
        """Take a request that is at a replica off the books."""
        pending = self._live.pop(request)
        self._fleet.requests[index] -= 1
        self._fleet.outstanding_tokens[index] -= pending.prompt_tokens + pending.max_tokens
        self._release_share(pending)
        return pending

    def _release_share(self, request: Pending) -> None:
        if request.tenant in self._caps:
            self._held[request.tenant] -= 1

    def _turn_away(self, request: Pending, status: int, reason: str, now_ps: int) -> None:
        self._ledger.status[request.id] = status
        self._ledger.reason[request.id] = reason
        self._after(request, now_ps, again=True)

    def _give_up(self, request: Pending, status: int, now_ps: int) -> None:
        """Take a request back that its client no longer wants, wherever it is."""
        ledger = self._ledger
        if request.id not in self._live:  # between two tries
            ledger.status[request.id] = status
            self._after(request, now_ps, again=False)
            return
        index = ledger.replica[request.id]
        pending = self._leave(request.id, index)
        ledger.wasted_tokens += self._stations[index].withdraw(request.id, now_ps)
        self._agenda.touched(index)
        ledger.status[request.id] = status
        self._after(pending, now_ps, again=True)
        self._lifecycle.left(index, now_ps)

    def _lost(self, index: int, requests: list[Pending], generated: int, now_ps: int) -> None:
        """Decide what becomes of the requests that a failing replica held."""
        ledger = self._ledger
        ledger.wasted_tokens += generated
        for request in requests:
            self._leave(request.id, index)
            if self._failover and self._sent_on[request.id] < MOST_FAILOVERS:
                self._sent_on[request.id] += 1
                self._forget_attempt(request.id)
                if request.tenant in self._caps:
                    self._held[request.tenant] += 1
                self._dispatch(request, now_ps)
                continue
            ledger.status[request.id] = FAILED
            ledger.reason[request.id] = f"replica {index} failed"
            self._after(request, now_ps, again=not self._lose)

    def _after(self, request: Pending, now_ps: int, *, again: bool) -> None:
        """Let the client try again if that helps and it will, else this is the end."""
        self._sent_on.pop(request.id, None)
        status = self._ledger.status[request.id]
        if self._clients is not None:
            if again and status != CANCELLED and self._clients.tries_again(request, now_ps):
                self._forget_attempt(request.id)
                return
            self._clients.over(request, now_ps)
        if status != FINISHED:
            self._ledger.gone_ps[request.id] = now_ps
        if self._lookout is not None:
            self._lookout.note_end(request.id)

    def _forget_attempt(self, request: int) -> None:
        ledger = self._ledger
        ledger.status[request] = UNFINISHED
        ledger.admitted_ps[request] = UNSET
        ledger.first_token_ps[request] = UNSET
        ledger.reason.pop(request, None)
        ledger.gone_ps.pop(request, None)

    def _alive(self, now_ps: int) -> bool:
        """Return whether anything can still happen to a request."""
        return (
            self._agenda.foreground > 0
            or any(station.due_ps != NEVER_PS for station in self._stations)
            or (self._clients is not None and self._clients.some_leave(now_ps))
        )
