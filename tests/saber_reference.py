"""SABER to the letter of its description, and the runs to hold the deciders against it.

Everything is worked out anew at every evaluation, from whole queues, by brute force.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from fractions import Fraction
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from calibrate.profile import Profile
from calibrate.speed import speed_model
from calibrate.steptime import StepCost
from policies.protocol import NEVER_PS, PS_PER_S, Choice, Pending, View
from sim import simulate
from traces.request import Trace

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from policies.saber import Saber
    from sim.result import Result

ROUND = Profile(
    name="round",
    method="simulated",
    cost=StepCost.affine(decode_s=0.008, sequence_s=0.002, prefill_s=0.01),
    kv_tokens=10**6,
    kv_source="ample",
    discipline="prefill-first",
    speed_points=tuple((float(load), 1 / (0.008 + 0.002 * load)) for load in range(1, 31)),
)
"""Steps of whole milliseconds, so that steps end where requests arrive and expire."""


class Reference:
    """What both ways to run SABER share; `happened` counts what a test wants to have seen."""

    def __init__(
        self, policy: Saber, rng: np.random.Generator, profile: Profile, happened: dict[str, int]
    ) -> None:
        self.policy = policy
        self.rng = rng
        self.happened = happened
        self.model = speed_model(profile, policy.estimator)
        limit = policy.speed_limit or self.model.speed(1)
        self.limit = Fraction(limit)
        self.hpq: list[Pending] = []
        self.lpq: list[Pending] = []
        self.recorded: dict[int, float | None] = {}  # released, unfinished; None: best effort

    def saw(self, what: str) -> None:
        self.happened[what] = self.happened.get(what, 0) + 1

    def expires_ps(self, request: Pending) -> int:
        if request.deadline_ps == NEVER_PS:
            return NEVER_PS
        return request.deadline_ps - int(request.max_tokens * PS_PER_S / self.limit)

    def required(self, request: Pending, now_ps: int) -> float:
        if request.deadline_ps == NEVER_PS:
            return 0.0
        if now_ps >= request.deadline_ps:
            return inf
        return float(Fraction(request.max_tokens * PS_PER_S, request.deadline_ps - now_ps))

    def promised(self) -> list[float]:
        return [speed for speed in self.recorded.values() if speed is not None]

    def predicted(self, load: int) -> float:
        return self.model.speed(load)

    def forget(self, cancelled: Sequence[int]) -> None:
        for request in cancelled:
            waited = len(self.hpq)
            self.hpq = [r for r in self.hpq if r.id != request]
            self.lpq = [r for r in self.lpq if r.id != request]
            where = "the engine" if request in self.recorded else "the low-priority queue"
            where = "the high-priority queue" if len(self.hpq) < waited else where
            self.saw(f"gave up in {where}")
            self.recorded.pop(request, None)

    def draw(self, candidates: int) -> int:
        if candidates == 1:
            return 0
        self.saw("drawn among several")
        return int(self.rng.random() * candidates)

    def demote(self, now_ps: int) -> list[Pending]:
        demoted = [r for r in self.hpq if self.expires_ps(r) <= now_ps]
        self.hpq = [r for r in self.hpq if r not in demoted]
        if not self.policy.polls:
            # In trace order, which is not that of the queue once some were given up and came back.
            demoted.sort(key=lambda r: r.id)
        self.lpq += demoted
        return demoted

    def best_effort(self) -> list[int]:
        """Return what the low-priority queue releases if there is nothing else to do."""
        rule = self.policy.lpq
        if self.hpq or not self.lpq or (rule == "idle" and self.recorded):
            return []
        self.saw(f"best effort {rule}")
        count = len(self.lpq) if rule == "all" else 1
        released, self.lpq = self.lpq[:count], self.lpq[count:]
        self.recorded |= {r.id: None for r in released}
        return [r.id for r in released]


class EventReference(Reference):
    """Evaluated at arrivals, completions and demotion instants."""

    def decide(self, view: View) -> Choice:
        now_ps = view.now_ps
        for request in view.finished:
            del self.recorded[request]
        self.forget(view.cancelled)
        demoted = []
        if view.arrived is not None:
            self.hpq.append(view.arrived)
            if self.expires_ps(view.arrived) <= now_ps:
                # Hopeless from the start: it goes before those whose instant is now.
                self.saw("hopeless on arrival")
                self.lpq.append(self.hpq.pop())
                demoted.append(view.arrived)
        due = self.demote(now_ps)
        if due:
            self.saw("demoted while waiting")
        released = []
        while True:
            predicted = self.predicted(len(self.recorded) + 1)
            feasible = [r for r in self.hpq if self.required(r, now_ps) <= predicted]
            if not feasible:
                break
            if any(speed > predicted for speed in self.promised()):
                self.saw("held back by a promise")
                break
            request = feasible[self.draw(len(feasible))]
            self.hpq.remove(request)
            self.recorded[request.id] = self.required(request, now_ps)
            released.append(request.id)
        if self.lpq and self.hpq:
            self.saw("best effort has to wait")
        released += self.best_effort()
        wake_ps = min((self.expires_ps(r) for r in self.hpq), default=NEVER_PS)
        return Choice(released, [r.id for r in demoted + due], (), wake_ps)


class PollingReference(Reference):
    """One request every so often; in between arrivals join the queue and promises are kept."""

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.artifact = self.policy.variant == "artifact"
        interval_s = self.policy.interval or 0.1
        self.interval_ps = round(interval_s * PS_PER_S)

    def decide(self, view: View) -> Choice:
        now_ps = view.now_ps
        for request in view.finished:
            del self.recorded[request]
        self.forget(view.cancelled)
        if view.arrived is not None:
            self.hpq.append(view.arrived)
        demoted: list[Pending] = []
        released: list[int] = []
        outside = view.arrived is not None or len(view.cancelled) > 0
        if not outside and not view.finished:
            number, rest = divmod(now_ps, self.interval_ps)
            assert rest == 0
            if not self.artifact or number % 10 == 0:
                demoted = self.demote(now_ps)
                if demoted:
                    self.saw("demoted while waiting")
            released = self.poll(now_ps) if self.hpq else self.best_effort()
        wake_ps = NEVER_PS
        if self.hpq or self.lpq:
            # The next poll; one at this very instant still comes after what is from outside.
            due_ps = now_ps if outside else now_ps + 1
            wake_ps = -(-due_ps // self.interval_ps) * self.interval_ps
        return Choice(released, [r.id for r in demoted], (), wake_ps)

    def poll(self, now_ps: int) -> list[int]:
        request = self.hpq.pop(self.draw(min(self.policy.window or 20, len(self.hpq))))
        if self.artifact:
            predicted = self.predicted(2 * len(self.promised()) + 1)
            if len(self.promised()) < len(self.recorded):
                self.saw("best effort does not count")
        else:
            predicted = self.predicted(len(self.recorded) + 1)
        required = self.required(request, now_ps)
        if predicted >= required and all(predicted >= speed for speed in self.promised()):
            self.recorded[request.id] = required
            return [request.id]
        if self.hpq:
            self.saw("back to the tail")
        self.hpq.append(request)
        return []


@dataclass(frozen=True)
class SideBySide:
    """A policy that asks `Saber` and the reference, and wants one answer from both."""

    policy: Saber
    happened: dict[str, int] = field(default_factory=dict)
    label: str = "side by side"

    def start(self, rng: np.random.Generator, profile: Profile) -> Compared:
        reference = PollingReference if self.policy.polls else EventReference
        return Compared(
            self.policy.start(rng, profile),
            reference(self.policy, deepcopy(rng), profile, self.happened),
            rng,
        )


class Compared:
    def __init__(self, decider, reference: Reference, rng: np.random.Generator) -> None:
        self.decider = decider
        self.reference = reference
        self.rng = rng

    def decide(self, view: View) -> Choice:
        choice, expected = self.decider.decide(view), self.reference.decide(view)
        assert [list(part) for part in choice[:3]] == [list(part) for part in expected[:3]]
        assert choice.wake_ps == expected.wake_ps
        # Not one random number more or less.
        assert self.rng.bit_generator.state == self.reference.rng.bit_generator.state
        if choice.release:
            self.reference.saw("released")
        # Nothing is best effort while something still has a chance.
        best_effort = [i for i in choice.release if self.reference.recorded[i] is None]
        assert not (best_effort and self.reference.hpq)
        return choice


def random_trace(dice: Random) -> Trace:
    """Return requests on a grid of 50 ms with SLAs that are tight, loose, hopeless or missing."""
    n = dice.randint(1, 40)
    most_pause = dice.choice([0, 1, 2, 4])
    arrival, now = [], 0
    for _ in range(n):
        now += dice.randint(0, most_pause)
        arrival.append(now * 0.05)
    output = np.array([dice.choice([1, 5, 10, 20, 40]) for _ in range(n)])
    slack = [dice.choice([0.8, 1.0, 1.5, 2, 3, 5, 10]) for _ in range(n)]
    longer = np.array([dice.choice([1, 1, 2]) for _ in range(n)])
    sla_s = [round(0.01 * m * s, 2) for m, s in zip(output * longer, slack, strict=True)]
    without = dice.choice([0, 0, 0.2])
    sla_s = [float("nan") if dice.random() < without else s for s in sla_s]
    return Trace(arrival, [10] * n, output, max_tokens=output * longer, sla_s=sla_s)


def run_side_by_side(trace: Trace, policy: Saber, seed: int, happened: dict[str, int]) -> Result:
    """Run `trace` on two replicas and compare every choice."""
    return simulate(trace, ROUND, SideBySide(policy, happened), replicas=2, seed=seed)


TICK_PS = PS_PER_S // 20


def run_with_clients(dice: Random, policy: Saber, seed: int, happened: dict[str, int]) -> None:
    """Show both a replica whose clients give up and come back, and compare every choice.

    Things happen on a grid of 50 ms, at every instant in the order of the simulator: clients give
    up, requests arrive, the timer, completions.  Half of those that gave up come back under their
    old id, with a new deadline.
    """
    decider = SideBySide(policy, happened).start(np.random.default_rng(seed), ROUND)
    view = View(None)
    wake_ps = NEVER_PS
    waiting: set[int] = set()
    in_engine: set[int] = set()
    asks: dict[int, tuple[int, int]] = {}  # max_tokens and SLA [ticks] of every request
    returning: list[int] = []
    busy, hasty = dice.choice([0.3, 0.7, 1.5]), dice.choice([0.05, 0.2])

    def evaluate(now_ps: int) -> None:
        nonlocal wake_ps
        view.now_ps, view.in_engine = now_ps, len(in_engine)
        choice = decider.decide(view)
        view.arrived, view.finished, view.cancelled = None, (), ()
        assert waiting.issuperset(choice.release)
        waiting.difference_update(choice.release)
        in_engine.update(choice.release)
        wake_ps = choice.wake_ps

    for now_ps in range(0, 60 * TICK_PS, TICK_PS):
        while wake_ps < now_ps:
            evaluate(wake_ps)
        gone = [i for i in sorted(waiting | in_engine) if dice.random() < hasty]
        for request in gone:
            waiting.discard(request)
            in_engine.discard(request)
            view.cancelled = (request,)
            evaluate(now_ps)
        arriving = returning
        returning = [request for request in gone if dice.random() < 0.5]
        while dice.random() < busy / (1 + busy):
            arriving.append(len(asks))
            tokens = dice.choice([1, 5, 10, 20, 40])
            asks[len(asks)] = tokens, max(1, round(tokens * dice.choice([0.1, 0.2, 0.4, 1, 2])))
        for request in arriving:
            tokens, ticks = asks[request]
            # Another attempt may ask for less, and be in less of a hurry.
            tokens = dice.choice([tokens, tokens, max(1, tokens // 2)])
            view.arrived = Pending(request, now_ps, now_ps + ticks * TICK_PS, 10, tokens)
            waiting.add(request)
            evaluate(now_ps)
        if wake_ps == now_ps:
            evaluate(now_ps)
        done = [request for request in sorted(in_engine) if dice.random() < 0.2]
        if done:
            in_engine.difference_update(done)
            view.finished = done
            evaluate(now_ps)
