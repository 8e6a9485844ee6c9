"""What happens around the small clusters of `cases`: failures, scaling, clients, routers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from cases import Case, run
from engine_cases import random_content
from hypothesis import strategies as st
from strategies import random_case

from policies.protocol import NEVER_PS
from sim.cluster.autoscale import Autoscale
from sim.cluster.clientele import Habits
from sim.cluster.failures import Failures, Maintenance, Outage, RandomOutages
from sim.cluster.run import run_cluster
from sim.stepwise import run_stepwise

if TYPE_CHECKING:
    from random import Random

    from cases import Outcome

    from policies.protocol import Pending
    from policies.routing import Fleet
    from policies.scaling import Load
    from sim.cluster.scenario import Scenario

PS = 1e-12


@dataclass(frozen=True)
class ByLooks:
    """A routing that depends on everything a fleet shows."""

    wild: int

    def route(self, request: Pending, fleet: Fleet) -> int:
        mood = request.id * self.wild + fleet.now_ps
        mood += sum(fleet.requests) + 3 * sum(fleet.outstanding_tokens)
        return min(
            fleet.taking,
            key=lambda i: (fleet.requests[i] + (mood + i) % 3, fleet.outstanding_tokens[i], i),
        )


@dataclass(frozen=True)
class Moody:
    """A scaler that depends on everything a load shows."""

    wild: int
    label = "moody"

    def desired(self, load: Load) -> int:
        mood = load.waiting + load.running + load.arrived + load.ended - load.met
        mood += round(8 * load.utilisation) + load.taking + 2 * load.starting
        return (mood * self.wild + load.now_ps) % 5


@dataclass(frozen=True)
class World:
    """The fields of a `Scenario` but its replicas, and what they are drawn from."""

    failures: Failures | None = None
    autoscale: Autoscale | None = None
    ready: int | None = None
    startup_ps: int = 0
    habits: Habits | None = None
    caps: tuple[tuple[str, int], ...] = ()
    wild: int | None = None
    seed: int = 0

    def scenario(self, plain: Scenario) -> Scenario:
        """Return the scenario of a run in this world."""
        ledger = plain.specs[0].ledger
        return replace(
            plain,
            route=plain.route if self.wild is None else ByLooks(self.wild),
            looks=self.wild is not None,
            ready=self.ready,
            startup_ps=self.startup_ps,
            failures=self.failures,
            autoscale=self.autoscale,
            outage_rng=lambda index: np.random.default_rng((self.seed, index)),
            habits=self.habits,
            tenant_caps=dict(self.caps),
            met=lambda request: None if request % 3 == 0 else ledger.finished_ps[request] % 2 == 0,
        )


def both(requests: tuple[tuple[int, ...], ...], world: World, **case: Any) -> Outcome:
    """Run these requests in this world by leaps and by steps; return what both make of them."""
    leap, step = (run(Case(requests, world=world, **case), r) for r in (run_cluster, run_stepwise))
    assert leap == step
    return leap


def random_world(dice: Random) -> Case:
    """Return a case in a world in which much happens at once."""
    case = replace(random_case(dice), jitter_cv=dice.choice([None, None, 0.3]))
    case = replace(case, tenants=tuple(dice.choice(["", "a", "b"]) for _ in case.requests))
    case = replace(case, sessions=tuple(dice.choice(["", "s", "t"]) for _ in case.requests))
    if dice.randint(0, 1):
        case = replace(case, replicas=case.replicas * dice.choice([2, 3]))
    if dice.randint(0, 2) == 0:
        case = _cached(dice, case)
    instants = _instants(case)
    count = len(case.replicas)

    def soon() -> int:
        return max(0, dice.choice(instants) + dice.choice([0, 0, 0, -1, 1]))

    def span() -> int:
        return dice.choice([0, 1, *instants]) // dice.choice([1, 1, 2, 5])

    def lasting() -> int:
        # What comes again and again must not come a million times.
        return max(1, span(), instants[-1] // dice.choice([3, 10, 50]))

    failures = None
    if dice.randint(0, 2):
        outages: list = [
            dice.choice([Outage, Maintenance])(soon() * PS, dice.randrange(count), span() * PS)
            for _ in range(dice.randint(0, 3))
        ]
        if dice.randint(0, 1):
            outages.append(RandomOutages(lasting() * PS, span() * PS))
        if dice.randint(0, 3) == 0:
            at_s, for_s = soon() * PS, span() * PS
            outages += [Outage(at_s, i, for_s) for i in range(count)]
        failures = Failures(outages, dice.choice(["lost", "retry", "failover"]))
    autoscale, ready = None, None
    if dice.randint(0, 2) == 0:
        low = dice.randint(0, count)
        autoscale = Autoscale(
            Moody(dice.randint(1, 7)),
            max_replicas=count,
            min_replicas=low,
            interval_s=lasting() * PS,
            up_cooldown_s=span() * PS,
            down_cooldown_s=span() * PS,
        )
        ready = dice.randint(0, count)
    habits = _random_habits(dice, case, span) if dice.randint(0, 2) else None
    caps = (("a", dice.randint(1, 4)), ("b", dice.randint(1, 4)))
    world = World(
        failures=failures,
        autoscale=autoscale,
        ready=ready,
        startup_ps=dice.choice([0, span()]),
        habits=habits,
        caps=dice.choice([(), (), caps]),
        wild=dice.choice([None, dice.randint(1, 9)]),
        seed=dice.randint(0, 2**16),
    )
    if dice.randint(0, 3) == 0:
        case = replace(case, until_ps=dice.choice(_instants_of(world, case)))
    return replace(case, world=world)


def _random_habits(dice: Random, case: Case, span) -> Habits:
    n = len(case.requests)
    users = dice.choice([None, None, dice.randint(1, n + 2)])
    parents = None
    if users is None and dice.randint(0, 1):
        parents = tuple(dice.randint(-1, i - 1) for i in range(n))
    pauses = tuple(span() for _ in range(7))
    return Habits(
        timeout_ps=dice.choice([NEVER_PS, 1 + span()]),
        retries=dice.randint(0, 3),
        backoff_ps=lambda request, retry: pauses[(request * 3 + retry) % 7],
        patience_ps=dice.choice(
            [None, tuple(dice.choice([NEVER_PS, 1 + span()]) for _ in range(n))]
        ),
        cancels=dice.choice([None, lambda request: request.id % 2 == 0]),
        users=users,
        think_ps=tuple(span() for _ in range(n + (users or 0))),
        parents=parents,
    )


def _cached(dice: Random, case: Case) -> Case:
    """Return the case with prefix caches; the cluster then has one size of blocks."""
    size = case.replicas[0].block_size
    lengths = [(prompt, output) for _, prompt, output, _ in case.requests]
    return replace(
        case,
        replicas=tuple(
            replace(limits, block_size=size, blocks=-(-limits.blocks * limits.block_size // size))
            for limits in case.replicas
        ),
        content=random_content(dice, lengths, size),
    )


def _instants_of(world: World, case: Case) -> list[int]:
    """Return instants at which the world means something to happen."""
    found = [round(o.at_s / PS) for o in world.failures.scripted] if world.failures else []
    habits = world.habits
    for i, request in enumerate(case.requests):
        found.append(request[0])
        if habits and habits.timeout_ps != NEVER_PS:
            found.append(request[0] + habits.timeout_ps)
        if habits and habits.patience_ps and habits.patience_ps[i] != NEVER_PS:
            found.append(request[0] + habits.patience_ps[i])
    return found


def _instants(case: Case) -> list[int]:
    """Return instants at which something happens in the plain run."""
    result = run(case, run_stepwise)
    found = {end for gaps in result.gaps for end, _ in gaps} | {0}
    found |= {t for t in (*result.first_token, *result.finished) if t > 0}
    found |= {request[0] for request in case.requests}
    return sorted(found)


def worlds() -> st.SearchStrategy[Case]:
    """Return the strategy of `random_world`, whose every throw Hypothesis chooses."""
    return st.randoms(use_true_random=False).map(random_world)
