"""One replica: a decider in front of an engine; decide, execute and account, in that order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.protocol import NEVER_PS, View
from sim.choices import is_sound, not_queued, unsound
from sim.engine import Engine
from sim.ledger import FINISHED, REFUSED, UNSET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.protocol import Pending
    from sim.spec import ReplicaSpec


class Replica:
    """Advances its engine only when something touches it.

    Attributes
    ----------
    in_engine : int
        Requests released to the engine and unfinished.
    """

    __slots__ = (
        "_account",
        "_admitted_ps",
        "_decide",
        "_engine",
        "_index",
        "_ledger",
        "_refusals",
        "_view",
        "_wake_ps",
        "in_engine",
    )

    def __init__(self, spec: ReplicaSpec) -> None:
        self._engine = Engine(spec)
        self._decide = spec.decider.decide
        self._index = spec.index
        self._ledger = spec.ledger
        self._admitted_ps = spec.ledger.admitted_ps
        self._account = spec.account
        self._refusals = spec.refusals
        self._view = View(self._engine)
        self._wake_ps = NEVER_PS
        self.in_engine = 0

    def arrive(self, request: Pending) -> None:
        """Take a request in at its arrival, after everything that happens before it."""
        now_ps = request.arrival_ps
        self.advance(now_ps)
        ledger = self._ledger
        ledger.replica[request.id] = self._index
        if request.id in self._refusals:
            ledger.status[request.id] = REFUSED
            ledger.reason[request.id] = self._refusals[request.id]
            return
        self._evaluate(now_ps, request, ())

    def advance(self, until_ps: int) -> None:
        """Let everything happen that happens before `until_ps`.

        What happens exactly then comes after the arrivals of that instant and stays undone.
        """
        engine = self._engine
        while True:
            boundary_ps = engine.boundary_ps
            if self._wake_ps <= boundary_ps:
                now_ps = self._wake_ps
                if now_ps >= until_ps:
                    return
                self._evaluate(now_ps, None, ())
            else:
                if boundary_ps >= until_ps:
                    return
                finished = engine.complete()
                if finished:
                    self._account_finished(finished, boundary_ps)
                    self._evaluate(boundary_ps, None, finished)
                engine.form()

    def stop(self, until_ps: int) -> None:
        """End the run at `until_ps`: what happens by then happens, the rest stays unfinished."""
        self.advance(until_ps + 1)
        self._engine.stop(until_ps)

    def _account_finished(self, finished: list[int], now_ps: int) -> None:
        self.in_engine -= len(finished)
        ledger = self._ledger
        for request in finished:
            ledger.finished_ps[request] = now_ps
            ledger.status[request] = FINISHED

    def _evaluate(self, now_ps: int, arrived: Pending | None, finished: Sequence[int]) -> None:
        view = self._view
        view.now_ps = now_ps
        view.arrived = arrived
        view.finished = finished
        view.in_engine = self.in_engine
        choice = self._decide(view)
        if not is_sound(choice, now_ps, arrived is not None):
            raise unsound(choice, now_ps)
        release, demote, refuse, self._wake_ps = choice
        ledger = self._ledger
        if refuse:
            for request in refuse:
                self._check_queued(request, "refused")
                ledger.status[request] = REFUSED
                ledger.reason[request] = "refused by the policy"
        if demote:
            for request in demote:
                self._check_queued(request, "demoted")
                ledger.demoted[request] = 1
        if release:
            for request in release:
                self._check_queued(request, "released")
                self._admitted_ps[request] = now_ps
                self._engine.release(request, now_ps)
            self.in_engine += len(release)

    def _check_queued(self, request: int, verb: str) -> None:
        ledger = self._ledger
        if (
            not isinstance(request, int)
            or not 0 <= request < len(self._admitted_ps)
            or ledger.replica[request] != self._index
            or self._admitted_ps[request] != UNSET
            or ledger.status[request]
        ):
            raise not_queued(request, self._index, verb)
