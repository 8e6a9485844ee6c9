"""SABER evaluated at events: worked examples, and every choice against the algorithm's letter."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from saber_reference import random_trace, run_side_by_side, run_with_clients

from calibrate.profile import Profile
from calibrate.steptime import StepCost
from policies.protocol import NEVER_PS, PS_PER_S, Choice, Pending, View
from policies.saber import Saber
from policies.saber_events import EventSaber

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.protocol import Decider

ANY = settings(suppress_health_check=list(HealthCheck))

LINE = Profile(
    name="line",
    method="simulated",
    cost=StepCost.affine(decode_s=0.01, prefill_s=0.01),
    kv_tokens=10**6,
    kv_source="ample",
    discipline="prefill-first",
    speed_points=((1, 100), (2, 90), (3, 80), (4, 70)),
)
"""The linear estimator predicts v(L) = 110 - 10 * L tokens/s."""
SABER = Saber(estimator="linear")


class Bench:
    """Shows a decider one evaluation after another, and keeps count of the engine for it."""

    def __init__(self, policy: Saber = SABER, decider: Decider | None = None) -> None:
        self.rng = np.random.default_rng(7)
        self.decider = decider or policy.start(self.rng, LINE)
        self.view = View(None)
        self.arrived = 0

    def arrive(self, at_s: float, max_tokens: int, sla_s: float | None = None) -> Choice:
        self.arrived += 1
        return self.come_back(self.arrived - 1, at_s, max_tokens, sla_s)

    def come_back(
        self, request: int, at_s: float, max_tokens: int, sla_s: float | None = None
    ) -> Choice:
        now_ps = round(at_s * PS_PER_S)
        deadline_ps = NEVER_PS if sla_s is None else now_ps + round(sla_s * PS_PER_S)
        self.view.arrived = Pending(request, now_ps, deadline_ps, 1, max_tokens)
        return self._decide(now_ps)

    def wake(self, at_s: float) -> Choice:
        return self._decide(round(at_s * PS_PER_S))

    def finish(self, at_s: float, *requests: int) -> Choice:
        self.view.finished = requests
        self.view.in_engine -= len(requests)
        return self._decide(round(at_s * PS_PER_S))

    def give_up(self, at_s: float, request: int, in_engine: bool) -> Choice:
        self.view.cancelled = (request,)
        self.view.in_engine -= in_engine
        return self._decide(round(at_s * PS_PER_S))

    def _decide(self, now_ps: int) -> Choice:
        self.view.now_ps = now_ps
        choice = self.decider.decide(self.view)
        self.view.in_engine += len(choice.release)
        self.view.arrived, self.view.finished, self.view.cancelled = None, (), ()
        return choice


def bench(lpq: str = "one", speed_limit: float | None = None) -> Bench:
    return Bench(Saber(estimator="linear", lpq=lpq, speed_limit=speed_limit))


def ids(part: Sequence[int]) -> list[int]:
    return list(part)


def test_a_request_must_reach_its_speed_in_the_company_it_joins():
    b = bench()
    # v(1) = 100, v(2) = 90, v(3) = 80.
    assert ids(b.arrive(0, 70, sla_s=1).release) == [0]
    assert ids(b.arrive(0, 89, sla_s=1).release) == [1]
    assert ids(b.arrive(0, 75, sla_s=1).release) == []  # request 1 was promised 89
    assert ids(b.finish(0, 1).release) == [2]  # beside request 0 there are 90


def test_a_request_waits_while_it_would_slow_another_below_its_promise():
    b = bench()
    assert ids(b.arrive(0, 95, sla_s=1).release) == [0]
    # Request 1 would be fast enough at v(2) = 90, request 0 would not.
    assert ids(b.arrive(0, 10, sla_s=1).release) == []
    assert ids(b.finish(0.5, 0).release) == [1]


def test_just_fast_enough_is_fast_enough():
    decider = EventSaber([0, 80, 40, 40], 100, "one", np.random.default_rng(0))
    b = Bench(decider=decider)
    assert ids(b.arrive(0, 40, sla_s=1).release) == [0]  # a promise of 40, which v(2) keeps
    assert ids(b.arrive(0, 40, sla_s=1).release) == [1]
    assert ids(b.arrive(0, 60, sla_s=1).release) == []
    assert ids(b.finish(0.25, 0, 1).release) == [2]  # 60 tokens in 0.75 s: 80


def test_a_promise_just_kept_is_kept():
    b = Bench(decider=EventSaber([0, 80, 40, 40, 10], 100, "one", np.random.default_rng(0)))
    released = [ids(b.arrive(0, 40, sla_s=1).release) for _ in range(3)]
    assert released == [[0], [1], [2]]
    assert ids(b.arrive(0, 40, sla_s=2).release) == []  # v(4) = 10
    assert ids(b.finish(0.1, 1).release) == [3]  # v(3) = 40, promised to 0 and 2


def test_no_speed_is_enough_without_an_sla():
    b = Bench(decider=EventSaber([1, 1, 0.0], 100, "one", np.random.default_rng(0)))
    assert [ids(b.arrive(0, 40).release) for _ in range(2)] == [[0], [1]]


def test_a_promise_is_the_speed_required_at_release():
    b = bench()
    assert ids(b.arrive(0, 80, sla_s=1).release) == [0]
    # By now 80 tokens in the 0.4 s that are left would be 200/s.
    assert ids(b.arrive(0.6, 10, sla_s=1).release) == [1]


def test_waiting_raises_the_required_speed():
    b = bench(speed_limit=200)
    b.arrive(0, 95, sla_s=1)
    b.arrive(0, 60, sla_s=1)
    # 60 tokens in 0.35 s are 171/s: out of reach, but the limit of 200 leaves it where it is.
    choice = b.finish(0.65, 0)
    assert ids(choice.release) == ids(choice.demote) == []


def test_a_request_is_demoted_at_the_instant_it_becomes_hopeless():
    b = bench(speed_limit=100)
    b.arrive(0, 95, sla_s=1)
    # 50 tokens at 100/s: from 1.5 - 0.5 s on.
    choice = b.arrive(0, 50, sla_s=1.5)
    assert choice.wake_ps == PS_PER_S
    choice = b.wake(1.0)
    assert ids(choice.demote) == [1]
    assert choice.wake_ps == NEVER_PS
    # Best effort, and the only queue with anything in it.
    assert ids(choice.release) == [1]


def test_the_next_timer_is_the_earliest_of_those_that_wait():
    b = bench(speed_limit=100)
    b.arrive(0, 95, sla_s=1)
    assert b.arrive(0, 50, sla_s=2.5).wake_ps == 2 * PS_PER_S
    assert b.arrive(0, 50, sla_s=1.5).wake_ps == 1 * PS_PER_S
    assert b.arrive(0, 50, sla_s=3.5).wake_ps == 1 * PS_PER_S
    assert b.wake(1.0).wake_ps == 2 * PS_PER_S
    # Released requests need no timer.
    choice = b.finish(1.2, 0)
    assert sorted(choice.release) == [1, 2, 3]
    assert choice.wake_ps == NEVER_PS


def test_the_speed_limit_is_the_speed_of_a_lone_request_unless_given():
    assert ids(bench().arrive(0, 101, sla_s=1).demote) == [0]
    assert ids(bench().arrive(0, 99, sla_s=1).demote) == []
    assert ids(bench(speed_limit=110).arrive(0, 101, sla_s=1).demote) == []
    assert ids(bench(speed_limit=90).arrive(0, 99, sla_s=1).demote) == [0]


def test_a_request_without_sla_requires_no_speed_and_is_never_demoted():
    b = bench()
    b.arrive(0, 85, sla_s=1)
    assert b.arrive(0, 10**6) == Choice([1], [], (), NEVER_PS)
    # It was promised nothing, but it counts: v(3) = 80 would break the promise of 85.
    choice = b.arrive(0, 10**6)
    assert ids(choice.release) == []
    assert choice.wake_ps == NEVER_PS
    # Best effort comes after it.
    assert ids(b.arrive(0, 500, sla_s=1).release) == []
    assert ids(b.finish(50, 0).release) == [2, 3]


@pytest.mark.parametrize("lpq", ["one", "all", "idle"])
def test_best_effort_waits_while_a_request_with_a_chance_does(lpq):
    b = bench(lpq)
    b.arrive(0, 95, sla_s=1)
    b.arrive(0, 10, sla_s=1)  # request 0 keeps it waiting
    choice = b.arrive(0, 500, sla_s=1)
    assert ids(choice.demote) == [2]
    assert ids(choice.release) == []


@pytest.mark.parametrize(
    ("lpq", "with_company", "after_it"),
    [("one", [2], [3]), ("all", [2, 3, 4], []), ("idle", [], [2])],
)
def test_what_the_low_priority_queue_releases(lpq, with_company, after_it):
    b = bench(lpq)
    b.arrive(0, 95, sla_s=1)
    b.arrive(0, 10, sla_s=1)
    for _ in range(3):
        b.arrive(0, 500, sla_s=1)
    first = ids(b.finish(0.1, 0).release)
    # Request 1 has its turn; then nothing with a chance waits any more.
    assert first == [1, *with_company]
    assert ids(b.finish(0.2, *first).release) == after_it


def test_best_effort_is_served_in_the_order_of_demotion():
    b = bench("all", speed_limit=100)
    b.arrive(0, 95, sla_s=1)
    b.arrive(0, 10, sla_s=9)
    b.arrive(0, 60, sla_s=0.9)
    b.arrive(0, 60, sla_s=0.8)
    assert ids(b.wake(0.2).demote) == [3]
    assert ids(b.wake(0.3).demote) == [2]
    assert ids(b.finish(0.9, 0).release) == [1, 3, 2]


def test_no_random_number_is_drawn_for_a_single_candidate():
    b = bench()
    before = b.rng.bit_generator.state
    b.arrive(0, 30, sla_s=1)
    b.arrive(0, 80, sla_s=1)
    b.arrive(0, 85, sla_s=1)
    b.finish(0.01, 0, 1)
    assert b.rng.bit_generator.state == before


def test_a_request_is_drawn_uniformly_among_the_feasible():
    first = []
    for seed in range(300):
        b = bench()
        b.decider = Saber(estimator="linear").start(np.random.default_rng(seed), LINE)
        b.arrive(0, 95, sla_s=1)
        for _ in range(3):
            b.arrive(0, 10, sla_s=1)
        first.append(b.finish(0.1, 0).release[0])
    # 300 throws of a die with three sides: 100 each, standard deviation 8.
    assert all(abs(first.count(request) - 100) < 4 * 8.2 for request in (1, 2, 3))


def test_who_gives_up_in_the_engine_makes_room_like_one_that_is_done():
    b = bench()
    b.arrive(0, 95, sla_s=1)
    assert ids(b.arrive(0, 10, sla_s=1).release) == []
    assert ids(b.give_up(0.5, 0, in_engine=True).release) == [1]


def test_who_gives_up_in_a_queue_is_never_released():
    b = bench()
    b.arrive(0, 95, sla_s=1)
    b.arrive(0, 10, sla_s=1)
    b.arrive(0, 500, sla_s=1)
    assert b.give_up(0.1, 1, in_engine=False).wake_ps == NEVER_PS
    assert ids(b.give_up(0.1, 2, in_engine=False).release) == []
    assert b.finish(0.2, 0) == Choice()


def test_best_effort_goes_when_the_last_with_a_chance_gives_up():
    b = bench()
    b.arrive(0, 95, sla_s=1)
    b.arrive(0, 10, sla_s=1)
    assert ids(b.arrive(0, 500, sla_s=1).release) == []
    assert ids(b.give_up(0.1, 1, in_engine=False).release) == [2]


def test_the_timer_of_who_gave_up_is_not_that_of_its_return():
    b = bench(speed_limit=100)
    b.arrive(0, 95, sla_s=1)
    assert b.arrive(0, 50, sla_s=1.5).wake_ps == PS_PER_S
    assert b.give_up(0.2, 1, in_engine=False).wake_ps == NEVER_PS
    assert b.come_back(1, 0.3, 50, sla_s=1.7).wake_ps == round(1.5 * PS_PER_S)
    # The first attempt would be hopeless by now.
    assert ids(b.arrive(1.2, 5, sla_s=0.5).demote) == []
    assert ids(b.wake(1.5).demote) == [1]


def test_a_promise_to_who_gave_up_does_not_bind_its_return():
    b = bench()
    assert ids(b.arrive(0, 95, sla_s=1).release) == [0]
    b.give_up(0.1, 0, in_engine=True)
    assert ids(b.come_back(0, 0.2, 70, sla_s=1).release) == [0]
    # v(2) = 90 would break the promise of 95, and keeps that of 70.
    assert ids(b.arrive(0.3, 20, sla_s=1).release) == [1]


SABERS = st.builds(
    Saber,
    estimator=st.sampled_from(["usl", "logistic", "linear"]),
    lpq=st.sampled_from(["one", "all", "idle"]),
    speed_limit=st.sampled_from([None, 80, 100, 120.5]),
)


@settings(ANY, max_examples=300)
@given(st.randoms(use_true_random=False), SABERS, st.integers(0, 9))
def test_every_choice_is_the_one_of_the_algorithm(dice: Random, policy: Saber, seed: int):
    run_side_by_side(random_trace(dice), policy, seed, {})


def test_the_comparison_covers_what_can_happen():
    happened: dict[str, int] = {}
    for seed in range(60):
        dice = Random(seed)
        policy = Saber(lpq=dice.choice(["one", "all", "idle"]), speed_limit=100)
        run_side_by_side(random_trace(dice), policy, seed, happened)
    expected = (
        "released", "drawn among several", "held back by a promise", "demoted while waiting",
        "hopeless on arrival", "best effort has to wait", "best effort one", "best effort all",
        "best effort idle",
    )  # fmt: skip
    assert all(happened.get(what, 0) >= 10 for what in expected), happened


def test_every_choice_is_right_when_clients_give_up_and_come_back():
    happened: dict[str, int] = {}
    for seed in range(300):
        dice = Random(seed)
        limit = dice.choice([None, 80, 100])
        policy = Saber(lpq=dice.choice(["one", "all", "idle"]), speed_limit=limit)
        run_with_clients(dice, policy, seed, happened)
    expected = (
        "gave up in the high-priority queue", "gave up in the low-priority queue",
        "gave up in the engine", "drawn among several", "held back by a promise",
        "demoted while waiting", "best effort has to wait", "best effort idle",
    )  # fmt: skip
    assert all(happened.get(what, 0) >= 100 for what in expected), happened
