"""A policy in front of a real server: a trace replayed in real time.

Decide, execute and account are apart, as in the simulator: the policy's decider is shown a view and
returns a choice; released requests become exchanges with the server; what became of them is
written into records.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from calibrate.endpoint.exchange import Progress, Reply
from policies.protocol import NEVER_PS, PS_PER_S, View
from sim.choices import is_sound, not_queued, unsound
from sim.ledger import CANCELLED, FINISHED, REFUSED, STATUSES, UNFINISHED, UNSET
from sim.validate.flights import Flight, LiveEngine
from sim.validate.lateness import LoopWatch, ended
from sim.validate.record import Record, Replayed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from calibrate.endpoint.exchange import Ask
    from policies.protocol import Decider, Pending
    from sim.validate.flights import Exchanges, Plan
    from sim.validate.record import Ending

LEAD_S = 0.05
"""From the start of a replay to its first instant: time for the loop to settle."""

LOST_CAUSE = 10
"""So many exchanges in a row, from the first on, that all fail end a replay."""

DEAD = 30
"""And so many in a row later on that the server did not turn away but failed to serve."""

PARTING_S = 5.0
"""What is given up gets so long to close its connection."""


class Driver:
    """One replay: a decider in front of a server that counts as one replica.

    Parameters
    ----------
    plan : Plan
    decider : Decider
        A fresh one.
    exchanges : Exchanges
    clock : callable
        Seconds; the replies' instants are on it too.
    on_done : callable
        Told how many requests are over, as it goes on.
    """

    def __init__(
        self,
        plan: Plan,
        decider: Decider,
        exchanges: Exchanges,
        clock: Callable[[], float] = time.perf_counter,
        on_done: Callable[[int], None] = lambda done: None,
    ) -> None:
        self._plan = plan
        self._decide = decider.decide
        self._exchanges = exchanges
        self._clock = clock
        self._on_done = on_done
        self._records: list[Record] = []
        self._queued: dict[int, Pending] = {}
        self._flights: dict[int, Flight] = {}
        self._replies: list[tuple[int, Reply]] = []
        self._view = View(LiveEngine(self._flights, self._records))
        self._wake_ps = NEVER_PS
        self._stir = asyncio.Event()
        self._origin_s = 0.0
        self._done = 0
        self._failures = 0  # exchanges in a row
        self._served = False
        self._ending: Ending | None = None
        self._account = ""

    def interrupt(self) -> None:
        """End the replay at once: nothing arrives any more, what is in flight is given up."""
        self._end("interrupted", "interrupted")

    async def replay(self) -> Replayed:
        """Replay the plan and return what became of it.

        Raises
        ------
        PolicyError
            If the policy chooses what it may not choose.
        """
        plan = self._plan
        self._origin_s = self._clock() + LEAD_S
        watch = LoopWatch(self._clock)
        watching = asyncio.create_task(watch.watch())
        limit_ps = plan.requests[-1].arrival_ps + round(plan.drain_s * PS_PER_S)
        try:
            while self._ending is None:
                self._step(limit_ps)
                await asyncio.sleep(0)  # exchanges begin and end in between
                if not self._something_due():
                    await self._pause(limit_ps)
        finally:
            end_ps = self._now_ps()
            await ended(watching)
            await self._give_up(end_ps)
        ending = self._ending
        assert ending is not None
        return Replayed(
            records=self._records,
            end_ps=end_ps,
            limit_ps=end_ps if ending in ("stopped", "interrupted") else limit_ps,
            ending=ending,
            account=self._account,
            origin_s=self._origin_s,
            lateness=watch.lateness,
        )

    def _now_ps(self) -> int:
        return self._ps(self._clock())

    def _ps(self, instant_s: float) -> int:
        return round((instant_s - self._origin_s) * PS_PER_S)

    def _step(self, limit_ps: int) -> None:
        """Do what is due first: what has ended is over before now, then timers, then arrivals."""
        now_ps = self._now_ps()
        if now_ps >= limit_ps:
            self._end("drained", "the time for what was left was up")
        elif self._replies:
            self._hear(now_ps)
        elif self._wake_ps <= now_ps:
            self._evaluate(now_ps)
        elif self._next_ps <= now_ps:
            self._arrive(now_ps)
        elif self._nothing_to_come:
            if self._queued:
                self._end("idle", "the policy held what was left and nothing would have happened")
            else:
                self._end("complete", "")

    @property
    def _next_ps(self) -> int:
        """When the next request arrives."""
        place = len(self._records)
        requests = self._plan.requests
        return requests[place].arrival_ps if place < len(requests) else NEVER_PS

    @property
    def _nothing_to_come(self) -> bool:
        """Whether nothing can happen any more; a timer of a policy that holds nothing is none."""
        timer = self._wake_ps != NEVER_PS and bool(self._queued)
        return self._next_ps == NEVER_PS and not self._flights and not timer

    def _something_due(self) -> bool:
        return (
            self._ending is not None
            or bool(self._replies)
            or self._nothing_to_come
            or min(self._wake_ps, self._next_ps) <= self._now_ps()
        )

    async def _pause(self, limit_ps: int) -> None:
        """Wait until something is due or an exchange is over."""
        due_ps = min(self._wake_ps, self._next_ps, limit_ps)
        loop = asyncio.get_running_loop()
        timer = loop.call_later(max(due_ps - self._now_ps(), 0) / PS_PER_S, self._stir.set)
        try:
            await self._stir.wait()
        finally:
            timer.cancel()
            self._stir.clear()

    def _arrive(self, now_ps: int) -> None:
        """Take in the next request: it arrives now, whenever it should have."""
        planned = self._plan.requests[len(self._records)]
        late_ps = now_ps - planned.arrival_ps
        deadline_ps = planned.deadline_ps
        request = planned._replace(
            arrival_ps=now_ps,
            deadline_ps=NEVER_PS if deadline_ps == NEVER_PS else deadline_ps + late_ps,
        )
        record = Record(request.id, planned.arrival_ps, now_ps)
        self._records.append(record)
        if request.id in self._plan.refusals:
            self._over(record, REFUSED, self._plan.refusals[request.id], now_ps)
            return
        self._queued[request.id] = request
        self._evaluate(now_ps, arrived=request)

    def _hear(self, now_ps: int) -> None:
        """Account for the exchanges that ended and let the policy know."""
        replies, self._replies = self._replies, []
        finished: list[int] = []
        lost: list[int] = []
        for id, reply in replies:
            del self._flights[id]
            self._account_for(self._records[id], reply, now_ps)
            (finished if reply.status == "finished" else lost).append(id)
        if lost:
            self._evaluate(now_ps, cancelled=sorted(lost))
        if finished:
            self._evaluate(now_ps, finished=sorted(finished))

    def _account_for(self, record: Record, reply: Reply, now_ps: int) -> None:
        record.reply = reply
        record.known_ps = now_ps
        record.sent_ps = self._ps(reply.sent_s)
        if reply.token_s:
            record.first_token_ps = self._ps(reply.token_s[0])
        if reply.status == "finished":
            record.finished_ps = self._ps(reply.token_s[-1])
            self._served, self._failures = True, 0
            self._over(record, FINISHED, "", now_ps)
            return
        self._over(record, STATUSES.index(reply.status), reply.reason, self._ps(reply.ended_s))
        if self._served and reply.status == "refused":
            return  # it serves others meanwhile
        self._failures += 1
        limit = DEAD if self._served else LOST_CAUSE
        if self._failures >= limit:
            first = "the first " if not self._served else ""
            self._end(
                "stopped", f"{first}{limit} exchanges in a row failed, the last with {reply.reason}"
            )

    def _over(self, record: Record, status: int, reason: str, at_ps: int) -> None:
        record.status, record.reason = status, reason
        if status != FINISHED:
            record.gone_ps = at_ps
        self._done += 1
        self._on_done(self._done)

    def _evaluate(
        self,
        now_ps: int,
        arrived: Pending | None = None,
        finished: Sequence[int] = (),
        cancelled: Sequence[int] = (),
    ) -> None:
        view = self._view
        view.now_ps, view.arrived = now_ps, arrived
        view.finished, view.cancelled = finished, cancelled
        view.in_engine = len(self._flights)
        choice = self._decide(view)
        # What a step of a running server may hold cannot be changed.
        if not is_sound(choice, now_ps, arrived is not None or bool(cancelled), 0):
            raise unsound(choice, now_ps, 0)
        release, demote, refuse, self._wake_ps, _ = choice
        for id in refuse:
            self._check_queued(id, "refused")
            del self._queued[id]
            self._over(self._records[id], REFUSED, "refused by the policy", now_ps)
        for id in demote:
            self._check_queued(id, "demoted")
            self._records[id].demoted = True
        for id in release:
            self._check_queued(id, "released")
            self._release(self._queued.pop(id), now_ps)

    def _release(self, request: Pending, now_ps: int) -> None:
        """Start the exchange."""
        self._records[request.id].admitted_ps = now_ps
        ask, progress = self._plan.asks[request.id], Progress()
        task = asyncio.create_task(self._exchange(request.id, ask, progress))
        self._flights[request.id] = Flight(request, ask, progress, task)

    async def _exchange(self, id: int, ask: Ask, progress: Progress) -> None:
        started_s = self._clock()
        try:
            reply = await self._exchanges.complete(ask, progress)
        except Exception as error:  # whatever it is, it is counted and does not end the others
            problem = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            reply = Reply("failed", started_s, self._clock(), reason=problem)
        self._replies.append((id, reply))
        self._stir.set()

    def _check_queued(self, id: int, verb: str) -> None:
        if type(id) is not int or id not in self._queued:
            raise not_queued(id, 0, verb)

    def _end(self, ending: Ending, account: str) -> None:
        if self._ending is None:
            self._ending, self._account = ending, account
            self._stir.set()

    async def _give_up(self, end_ps: int) -> None:
        """Close what is in flight and give every request its status."""
        flights = dict(self._flights)
        tasks = [flight.task for flight in flights.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=PARTING_S)
        for id, reply in self._replies:  # those that ended at the last moment
            del flights[id]
            self._account_for(self._records[id], reply, end_ps)
        own_end = self._ending in ("stopped", "interrupted")
        for id in [*flights, *self._queued]:
            record = self._records[id]
            record.status = CANCELLED if own_end else UNFINISHED
            record.reason = self._account
            if own_end:
                record.gone_ps = end_ps
            first_s = flights[id].progress.first_s if id in flights else None
            if first_s is not None and record.first_token_ps == UNSET:
                record.first_token_ps = self._ps(first_s)
