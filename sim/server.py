"""One replica at work: a decider in front of an engine; decide, execute and account, in order."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from policies.protocol import NEVER_PS, View
from sim.choices import is_sound, not_queued, unsound
from sim.engine import Engine
from sim.ledger import FINISHED, REFUSED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.protocol import Pending
    from sim.spec import Ended, ReplicaSpec
    from sim.timeline import Samples


def server_of(spec: ReplicaSpec, ended: Ended | None = None) -> Server:
    """Return a replica at work; one that notes its state over time if its parts say so."""
    if spec.samples is None:
        return Server(spec, ended)
    return _Watched(spec, spec.samples, ended)


class Server:
    """Advances its engine only when something touches it.

    Parameters
    ----------
    spec : ReplicaSpec
        What it is made of.
    ended : callable, optional
        Told of every request that finishes or is refused here, at that instant.
    """

    __slots__ = (
        "_account",
        "_admitted_ps",
        "_decide",
        "_ended",
        "_engine",
        "_feedback_ps",
        "_finished_ps",
        "_in_engine",
        "_index",
        "_ledger",
        "_news",
        "_queued",
        "_refusals",
        "_restart",
        "_status",
        "_untold",
        "_view",
        "_wake_ps",
    )

    def __init__(self, spec: ReplicaSpec, ended: Ended | None = None) -> None:
        self._engine = Engine(spec)
        self._decide = spec.decider.decide
        self._restart = spec.restart
        self._index = spec.index
        self._ledger = spec.ledger
        self._admitted_ps = spec.ledger.admitted_ps
        self._finished_ps = spec.ledger.finished_ps
        self._status = spec.ledger.status
        self._account = spec.account
        self._refusals = spec.refusals
        self._ended = ended
        self._view = View(self._engine)
        self._view.max_num_batched_tokens = spec.limits.max_num_batched_tokens
        self._wake_ps = NEVER_PS
        self._queued: dict[int, Pending] = {}
        self._in_engine: dict[int, Pending] = {}
        # With a feedback delay: who finished and when the decider will know.
        self._feedback_ps = spec.feedback_ps
        self._news: deque[tuple[int, list[int]]] = deque()
        self._untold = 0

    @property
    def due_ps(self) -> int:
        """The next instant [ps] at which something happens here by itself."""
        return min(self._wake_ps, self._engine.boundary_ps)

    @property
    def empty(self) -> bool:
        """Whether no request is here."""
        return not self._queued and not self._in_engine

    def arrive(self, request: Pending, now_ps: int) -> None:
        """Take a request in, after everything that happens before now."""
        self.advance(now_ps)
        ledger = self._ledger
        ledger.replica[request.id] = self._index
        ledger.attempts[request.id] += 1
        if request.id in self._refusals:
            self._refuse(request.id, self._refusals[request.id], now_ps)
            return
        self._queued[request.id] = request
        self._evaluate(now_ps, request, ())

    def advance(self, until_ps: int) -> None:
        """Let everything happen that happens before `until_ps`.

        What happens exactly then comes after what comes from outside and stays undone.
        """
        engine = self._engine
        while True:
            boundary_ps = engine.boundary_ps
            if self._wake_ps <= boundary_ps:
                now_ps = self._wake_ps
                if now_ps >= until_ps:
                    return
                self._evaluate(now_ps, None, self._told(now_ps) if self._news else ())
            else:
                if boundary_ps >= until_ps:
                    return
                finished = engine.complete()
                if finished:
                    self._account_finished(finished, boundary_ps)
                    if self._feedback_ps:
                        self._tell_later(finished, boundary_ps)
                    else:
                        self._evaluate(boundary_ps, None, finished)
                    if self._ended is not None:
                        for request in finished:
                            self._ended(request, self._index, boundary_ps)
                engine.form()

    def withdraw(self, request: int, now_ps: int) -> int:
        """Take out a request that is here and whose client has gone.

        Returns
        -------
        int
            Tokens that were generated for it.
        """
        self.advance(now_ps)
        generated = 0
        if self._queued.pop(request, None) is None:
            del self._in_engine[request]
            generated = self._engine.generated(request, now_ps)
            self._engine.abort(request, now_ps)
        self._view.cancelled = (request,)
        self._evaluate(now_ps, None, ())
        self._view.cancelled = ()
        return generated

    def fail(self, now_ps: int) -> tuple[list[Pending], int]:
        """Lose everything that is here; the decider starts anew.

        Returns
        -------
        list of Pending, int
            The requests that were here, by id; tokens that were generated for them.
        """
        self.advance(now_ps)
        lost = sorted({**self._queued, **self._in_engine}.values())
        generated = sum(self._engine.generated(request, now_ps) for request in self._in_engine)
        self._engine.lose(now_ps)
        self._queued.clear()
        self._in_engine.clear()
        self._news.clear()
        self._untold = 0
        self._wake_ps = NEVER_PS
        self._decide = self._restart().decide
        return lost, generated

    def stop(self, until_ps: int) -> None:
        """End the run at `until_ps`: what happens by then happens, the rest stays unfinished."""
        self.advance(until_ps + 1)
        self._engine.stop(until_ps)

    def busy_ps(self, now_ps: int) -> int:
        """Return how long a step was under way, up to now [ps]."""
        self.advance(now_ps)
        return self._engine.busy_ps(now_ps)

    def waiting_and_running(self) -> tuple[int, int]:
        """Return how many requests hold no seat in the engine, and how many do."""
        waiting = len(self._queued) + len(self._engine.waiting_ids())
        return waiting, self._engine.seated

    def _account_finished(self, finished: list[int], now_ps: int) -> None:
        in_engine, finished_ps, status = self._in_engine, self._finished_ps, self._status
        for request in finished:
            del in_engine[request]
            finished_ps[request] = now_ps
            status[request] = FINISHED

    def _tell_later(self, finished: list[int], now_ps: int) -> None:
        """Let the decider know after the feedback delay; until then it counts them as running."""
        told_ps = now_ps + self._feedback_ps
        self._news.append((told_ps, finished))
        self._untold += len(finished)
        self._wake_ps = min(self._wake_ps, told_ps)

    def _told(self, now_ps: int) -> Sequence[int]:
        """Return the news of this instant."""
        if self._news[0][0] > now_ps:
            return ()
        finished = self._news.popleft()[1]
        self._untold -= len(finished)
        return finished

    def _evaluate(self, now_ps: int, arrived: Pending | None, finished: Sequence[int]) -> None:
        view = self._view
        view.now_ps = now_ps
        view.arrived = arrived
        view.finished = finished
        view.in_engine = len(self._in_engine) + self._untold
        choice = self._decide(view)
        # Timers come after what comes from outside: at an arrival even one for now is in time.
        most_tokens = view.max_num_batched_tokens
        if not is_sound(choice, now_ps, arrived is not None or bool(view.cancelled), most_tokens):
            raise unsound(choice, now_ps, most_tokens)
        release, demote, refuse, self._wake_ps, budget = choice
        if self._news:
            self._wake_ps = min(self._wake_ps, self._news[0][0])
        if budget:
            self._engine.set_budget(budget, now_ps)
        if refuse:
            for request in refuse:
                self._check_queued(request, "refused")
                del self._queued[request]
                self._refuse(request, "refused by the policy", now_ps)
        if demote:
            for request in demote:
                self._check_queued(request, "demoted")
                self._ledger.demoted[request] = 1
        if release:
            queued, in_engine = self._queued, self._in_engine
            for request in release:
                if type(request) is not int or request not in queued:
                    raise not_queued(request, self._index, "released")
                in_engine[request] = queued.pop(request)
                self._admitted_ps[request] = now_ps
                self._engine.release(request, now_ps)

    def _refuse(self, request: int, reason: str, now_ps: int) -> None:
        self._ledger.status[request] = REFUSED
        self._ledger.reason[request] = reason
        self._ledger.gone_ps[request] = now_ps
        if self._ended is not None:
            self._ended(request, self._index, now_ps)

    def _check_queued(self, request: int, verb: str) -> None:
        if type(request) is not int or request not in self._queued:
            raise not_queued(request, self._index, verb)


class _Watched(Server):
    """A replica that notes its state at regular instants, once all of an instant is over.

    What is due is noted when something happens here, and at the end: the state until then is known.
    """

    __slots__ = ("_samples",)

    def __init__(self, spec: ReplicaSpec, samples: Samples, ended: Ended | None) -> None:
        super().__init__(spec, ended)
        self._samples = samples

    def arrive(self, request: Pending, now_ps: int) -> None:
        """Take a request in, after everything that happens before now."""
        self._look(now_ps)
        super().arrive(request, now_ps)

    def advance(self, until_ps: int) -> None:
        """Let everything happen that happens before `until_ps`."""
        samples = self._samples
        while samples.due_ps < until_ps:
            super().advance(samples.due_ps + 1)
            next_ps = self.due_ps
            if next_ps >= until_ps:
                return
            self._note(next_ps)
        super().advance(until_ps)

    def withdraw(self, request: int, now_ps: int) -> int:
        """Take out a request that is here and whose client has gone."""
        self._look(now_ps)
        return super().withdraw(request, now_ps)

    def fail(self, now_ps: int) -> tuple[list[Pending], int]:
        """Lose everything that is here."""
        self._look(now_ps)
        return super().fail(now_ps)

    def stop(self, until_ps: int) -> None:
        """End the run at `until_ps`; a state that lasts from then on is noted once."""
        self.advance(until_ps + 1)
        self._note(self._samples.due_ps + 1 if self.due_ps == NEVER_PS else until_ps + 1)
        super().stop(until_ps)

    def _look(self, now_ps: int) -> None:
        self.advance(now_ps)
        if self._samples.due_ps < now_ps:
            self._note(now_ps)

    def _note(self, before_ps: int) -> None:
        """Note the state at what is due before an instant; nothing happens until then."""
        engine, samples = self._engine, self._samples
        while samples.due_ps < before_ps:
            waiting = len(engine.waiting_ids())
            blocks = engine.blocks_after(samples.due_ps)
            samples.add(len(self._queued), waiting, engine.seated, blocks)
