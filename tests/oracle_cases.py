"""Tiny random worlds, and all that plans can make of them."""

from __future__ import annotations

from itertools import permutations, product
from typing import TYPE_CHECKING

import numpy as np

from calibrate.profile import Profile
from calibrate.steptime import PiecewiseLinear, StepCost
from policies.planned import Planned
from sim import simulate
from traces.request import Trace

if TYPE_CHECKING:
    from random import Random


def profile_of(cost: StepCost, discipline: str = "prefill-first", **changes) -> Profile:
    known = {"client_overhead_s": 0.0, "kv_tokens": 10**6} | changes
    return Profile(
        name="made",
        method="simulated",
        cost=cost,
        kv_source="ample",
        discipline=discipline,
        **known,
    )


def random_profile(dice: Random, discipline: str) -> Profile:
    """Return a profile of a bent cost, with or without context, attention and overheads."""
    decode_s = dice.uniform(0.5, 2)
    steps_s = [decode_s]
    for _ in range(2):
        steps_s.append(steps_s[-1] + dice.choice([0.0, 0.1, 0.4, 2.0]))
    flat_s = dice.uniform(0.01, 1)
    cost = StepCost(
        decode_fixed=PiecewiseLinear((1.0, 2.0, 5.0), tuple(steps_s)),
        decode_context=PiecewiseLinear((1.0,), (dice.choice([0.0, 0.0, 0.01]),)),
        prefill=PiecewiseLinear((0.0, 4.0, 20.0), (flat_s, flat_s + dice.choice([0, 0.5]), 3.0)),
        attention_token2_s=dice.choice([0.0, 0.0, 0.003]),
        engine_overhead_s=dice.choice([0.0, 0.1]),
    )
    return profile_of(cost, discipline, client_overhead_s=dice.choice([0.0, 0.2]))


def random_trace(dice: Random, requests: int, profile: Profile) -> Trace:
    """Return requests that come close together, with little time to spare."""
    arrivals = np.sort([dice.choice([0.0, dice.uniform(0, 12)]) for _ in range(requests)])
    trace = Trace.trusted(
        arrivals - arrivals[0],
        np.array([dice.randint(1, 20) for _ in range(requests)]),
        np.array([dice.choice([1, 2, 4, 8, 12]) for _ in range(requests)]),
    )
    return trace.with_sla(f"unloaded*{dice.choice([1.2, 1.6, 2.5])}", profile=profile)


def brute_force(trace: Trace, profile: Profile, **options) -> int:
    """Return the most that any plan meets: all subsets, in all orders, on any number of seats."""
    count, best = len(trace), 0
    for size in range(count, 0, -1):
        if best >= size:  # a plan meets only those it serves
            break
        for order in permutations(range(count), size):
            for seats, strict in product(range(1, size + 1), (False, True)):
                plan = Planned(order, seats, strict)
                run = simulate(trace, profile, policy=plan, **options)
                best = max(best, int(run.columns.met.sum()))
                if best == count:
                    return best
    return best
