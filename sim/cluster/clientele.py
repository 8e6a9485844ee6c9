"""Clients at work: they hang up, try again, change their minds, and wait for answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from policies.protocol import NEVER_PS
from sim.cluster.agenda import ARRIVAL, DEPARTURE
from sim.ledger import CANCELLED, TIMED_OUT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from policies.protocol import Pending
    from sim.cluster.agenda import Agenda


@dataclass(frozen=True, eq=False)
class Habits:
    """`sim.cluster.clients.Clients` in the simulator's units, with everything random drawn.

    Drawn before the run and kept by request: what happens in a run can then not shift what is
    drawn for another request.

    Attributes
    ----------
    timeout_ps : int
        From sending to hanging up, as the server sees it; ``NEVER_PS`` for never.
    retries : int
        Tries after the first.
    backoff_ps : callable
        Pause before the k-th retry of a request, by id and k [ps].
    patience_ps : sequence of int or None
        By id: from the first submission to cancelling; ``NEVER_PS`` for never.
    cancels : callable or None
        Whether a request is cancelled by the next one of its session.
    users : int or None
        Users who take turns with the requests; None follows the trace.
    think_ps : sequence of int
        Think times [ps].  In a closed loop those before the first turn of each user, then by id
        those after each request; else by id those before each request that has a parent.
    parents : sequence of int or None
        By id: the request whose end this one waits for, -1 for none.
    """

    timeout_ps: int = NEVER_PS
    retries: int = 0
    backoff_ps: Callable[[int, int], int] = lambda request, retry: 1
    patience_ps: Sequence[int] | None = None
    cancels: Callable[[Pending], bool] | None = None
    users: int | None = None
    think_ps: Sequence[int] = ()
    parents: Sequence[int] | None = None


class Clientele:
    """Sends requests to a cluster and reacts to what becomes of them.

    Parameters
    ----------
    habits : Habits
        How clients behave.
    agenda : Agenda
        Where they note what they will do.
    submit : callable
        Sends a request into the cluster, now.
    withdraw : callable
        Takes a request back that has not ended, with the status it gets.
    moved_ps : dict of int to int
        Where arrivals are written that are not the trace's.
    """

    def __init__(
        self,
        habits: Habits,
        agenda: Agenda,
        submit: Callable[[Pending, int], None],
        withdraw: Callable[[Pending, int, int], None],
        moved_ps: dict[int, int],
    ) -> None:
        self._habits = habits
        self._agenda = agenda
        self._submit = submit
        self._withdraw = withdraw
        self._moved_ps = moved_ps
        self._tries: dict[int, int] = {}  # of requests that have not ended
        self._leaves_ps: dict[int, int] = {}  # when their clients go at the latest
        self._pausing: set[int] = set()  # those between two tries
        self._last: dict[str, Pending] = {}  # of each session
        self._rest: Iterator[Pending] = iter(())
        self._children: dict[int, list[Pending]] = {}  # waiting for a request's end
        self._ended_ps: dict[int, int] = {}
        self._parents = frozenset(habits.parents or ()) - {-1}

    def begin(self, requests: Iterator[Pending]) -> None:
        """Let the users of a closed loop begin, each after a think time."""
        self._rest = requests
        for user in range(self._habits.users or 0):
            self._agenda.at(self._habits.think_ps[user], ARRIVAL, user, self._take_turn)

    def arrive(self, request: Pending, now_ps: int) -> None:
        """Send what the trace says arrives now, or keep it until its parent has ended."""
        if self._habits.parents is not None:
            parent = self._habits.parents[request.id]
            if parent >= 0 and parent not in self._ended_ps:
                self._children.setdefault(parent, []).append(request)
                return
            if parent >= 0:
                earliest_ps = self._ended_ps[parent] + self._habits.think_ps[request.id]
                if earliest_ps > now_ps:
                    self._send_at(earliest_ps, request)
                    return
        self._send_first(request, now_ps)

    def sent(self, request: Pending, now_ps: int) -> None:
        """Note when the client will hang up on this try."""
        habits, tried = self._habits, self._tries.get(request.id, 0) + 1
        self._tries[request.id] = tried
        if habits.timeout_ps != NEVER_PS:

            def hang_up(now_ps: int) -> None:
                if self._tries.get(request.id) == tried and request.id not in self._pausing:
                    self._withdraw(request, TIMED_OUT, now_ps)

            self._leave_at(now_ps + habits.timeout_ps, request.id, hang_up)

    def tries_again(self, request: Pending, now_ps: int) -> bool:
        """Return whether the client will send this request once more; if so it is noted."""
        tried = self._tries[request.id]
        if tried > self._habits.retries:
            return False
        again_ps = now_ps + max(1, self._habits.backoff_ps(request.id, tried))
        self._pausing.add(request.id)

        def again(now_ps: int) -> None:
            if request.id in self._pausing:  # not cancelled in between
                self._pausing.discard(request.id)
                self._submit(_moved(request, now_ps), now_ps)

        self._agenda.at(again_ps, ARRIVAL, request.id, again)
        return True

    def over(self, request: Pending, now_ps: int) -> None:
        """Let whoever waited for the end of this request go on."""
        del self._tries[request.id]
        self._leaves_ps.pop(request.id, None)
        self._pausing.discard(request.id)
        users = self._habits.users
        if users is not None:
            think_ps = self._habits.think_ps[users + request.id]
            self._agenda.at(now_ps + max(1, think_ps), ARRIVAL, request.id, self._take_turn)
        if request.id in self._parents:
            self._ended_ps[request.id] = now_ps
            for child in self._children.pop(request.id, ()):
                self._send_at(now_ps + max(1, self._habits.think_ps[child.id]), child)

    def some_leave(self, now_ps: int) -> bool:
        """Return whether a client that waits will go, now or later."""
        return any(leaves_ps >= now_ps for leaves_ps in self._leaves_ps.values())

    def _leave_at(self, instant_ps: int, request: int, call: Callable[[int], None]) -> None:
        # In the background: most requests end before, and what is void must keep no run going.
        self._leaves_ps[request] = max(instant_ps, self._leaves_ps.get(request, 0))
        self._agenda.at(instant_ps, DEPARTURE, request, call, background=True)

    def _take_turn(self, now_ps: int) -> None:
        request = next(self._rest, None)
        if request is not None:
            self._send_moved(request, now_ps)

    def _send_at(self, instant_ps: int, request: Pending) -> None:
        self._agenda.at(
            instant_ps, ARRIVAL, request.id, lambda now_ps: self._send_moved(request, now_ps)
        )

    def _send_moved(self, request: Pending, now_ps: int) -> None:
        self._moved_ps[request.id] = now_ps
        self._send_first(_moved(request, now_ps), now_ps)

    def _send_first(self, request: Pending, now_ps: int) -> None:
        habits = self._habits
        if habits.cancels is not None and request.session:
            last = self._last.get(request.session)
            self._last[request.session] = request
            if last is not None and last.id in self._tries and habits.cancels(last):
                self._withdraw(last, CANCELLED, now_ps)
        if habits.patience_ps is not None:
            patience_ps = habits.patience_ps[request.id]
            if patience_ps != NEVER_PS:

                def cancel(now_ps: int) -> None:
                    if request.id in self._tries:
                        self._withdraw(request, CANCELLED, now_ps)

                self._leave_at(now_ps + patience_ps, request.id, cancel)
        self._submit(request, now_ps)


def _moved(request: Pending, now_ps: int) -> Pending:
    """Return the request as one that arrives now, with as long to its deadline."""
    deadline_ps = request.deadline_ps
    if deadline_ps != NEVER_PS:
        deadline_ps = min(NEVER_PS, now_ps + deadline_ps - request.arrival_ps)
    return request._replace(arrival_ps=now_ps, deadline_ps=deadline_ps)
