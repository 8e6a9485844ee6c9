"""SABER at fixed intervals: worked examples, and every choice against its description."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from saber_reference import random_trace, run_side_by_side, run_with_clients

from calibrate.profile import Profile
from calibrate.steptime import StepCost
from policies.protocol import NEVER_PS, PS_PER_S, Pending, View
from policies.saber import Saber
from sim import simulate
from traces.request import Trace

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
"""A request of n tokens takes n * 10 ms in any company; v(L) = 110 - 10 * L tokens/s."""


def released_s(policy: Saber, *requests: tuple[float, int, float | None], seed: int = 0):
    """Return when each (arrival, tokens, SLA) was released [s], and whether it was demoted."""
    arrival, tokens, sla = zip(*requests, strict=True)
    sla_s = [np.nan if s is None else s for s in sla]
    r = simulate(Trace(arrival, [1] * len(tokens), tokens, sla_s=sla_s), LINE, policy, seed=seed)
    return r.requests.admitted_s.tolist(), r.requests.demoted.tolist()


def line(**parameters) -> Saber:
    return Saber(estimator="linear", **parameters)


def test_a_poll_draws_one_request():
    admitted, _ = released_s(line(interval=0.1), *[(0.05, 10, 1.0)] * 3)
    assert sorted(admitted) == [0.1, 0.2, 0.3]


def test_an_arrival_at_the_instant_of_a_poll_is_in_time_for_it():
    assert released_s(line(interval=0.1), (0.2, 10, 1.0))[0] == [0.2]
    # Two arrivals of one instant share one poll.
    assert sorted(released_s(line(interval=0.1), *[(0.2, 10, 1.0)] * 2)[0]) == [0.2, 0.3]


def test_a_completion_at_the_instant_of_a_poll_is_too_late_for_it():
    # Request 0 is promised 95 and done at 0.95; until then v(2) = 90 keeps request 1 out.
    admitted, _ = released_s(line(interval=0.05), (0.0, 95, 1.0), (0.5, 10, 2.0))
    assert admitted == [0.0, 1.0]


def test_an_infeasible_draw_goes_to_the_tail():
    # With a window of one the head is drawn.  At 0.1 that is 1, which requires 92 / 0.96 s, more
    # than v(2) = 90; at 0.2 it is 2.
    policy = line(interval=0.1, window=1, speed_limit=200)
    admitted, _ = released_s(policy, (0.0, 85, 1.0), (0.01, 92, 1.05), (0.02, 20, 2.0))
    assert (admitted[0], admitted[2]) == (0.0, 0.2)
    assert admitted[1] > 0.2


def test_the_window_limits_the_draw_to_the_head():
    arrivals = [(0.0, 5, 10.0)] * 8
    for seed in range(5):
        in_order, _ = released_s(line(interval=0.1, window=1), *arrivals, seed=seed)
        assert in_order == sorted(in_order)
        pairs, _ = released_s(line(interval=0.1, window=2), *arrivals, seed=seed)
        # With a window of two, one of the first two goes first.
        assert 0.0 in pairs[:2]
    orders = {tuple(released_s(line(interval=0.1), *arrivals, seed=s)[0]) for s in range(5)}
    assert len(orders) == 5


def test_the_default_window_is_20():
    arrivals = [(0.0, 1, 60.0)] * 40
    runs = [released_s(line(interval=0.1), *arrivals, seed=seed)[0] for seed in range(40)]
    assert runs[0] == released_s(line(interval=0.1, window=20), *arrivals)[0]
    first = [admitted.index(0.0) for admitted in runs]
    assert max(first) in range(15, 20)


def test_one_best_effort_request_a_poll_while_no_other_waits():
    hopeless = [(0.0, 200, 1.0)] * 3
    admitted, demoted = released_s(line(interval=0.1), *hopeless)
    assert admitted == [0.0, 0.1, 0.2]
    assert demoted == [True] * 3
    admitted, _ = released_s(line(interval=0.1, lpq="all"), *hopeless)
    assert admitted == [0.0] * 3
    # Into an idle engine: 200 tokens take 2 s, until the instant of a poll, too late for it.
    admitted, _ = released_s(line(interval=0.1, lpq="idle"), *hopeless)
    assert admitted == [0.0, 2.1, 4.2]


def test_the_artifact_polls_every_tenth_of_a_second():
    admitted, _ = released_s(line(variant="artifact"), (0.01, 10, 1.0), (0.3, 10, 1.0))
    assert admitted == [0.1, 0.3]


def test_the_artifact_predicts_with_twice_the_load():
    # 1 requires 170 / 2 s: v(2 * 1 + 1) = 80 is short of it, v(1 + 1) = 90 is not.
    requests = [(0.0, 60, 2.0), (0.05, 170, 2.05)]
    assert released_s(line(interval=0.1), *requests)[0] == [0.0, 0.1]
    assert released_s(line(variant="artifact"), *requests)[0][1] > 0.5


def test_the_artifact_does_not_count_best_effort():
    # 0 is hopeless and released at 0.  1 requires 97 / 1.05 s: more than v(2) = 90, not v(1) = 100.
    requests = [(0.0, 200, 1.0), (0.2, 97, 1.05)]
    admitted, demoted = released_s(line(variant="artifact"), *requests)
    assert (admitted, demoted) == ([0.0, 0.2], [True, False])
    assert released_s(line(interval=0.1), *requests)[0][1] > 0.2


def test_the_artifact_sweeps_hopeless_requests_every_tenth_poll():
    # Hopeless on arrival, but found out at 1.0, a whole number of ten polls.
    admitted, demoted = released_s(line(variant="artifact"), (0.25, 200, 1.0))
    assert (admitted, demoted) == ([1.0], [True])
    admitted, demoted = released_s(line(variant="artifact", interval=0.02), (0.25, 200, 1.0))
    assert (admitted, demoted) == ([0.4], [True])
    admitted, demoted = released_s(line(interval=0.1), (0.25, 200, 1.0))
    assert (admitted, demoted) == ([0.3], [True])


PAPER = st.builds(
    Saber,
    estimator=st.sampled_from(["usl", "linear"]),
    lpq=st.sampled_from(["one", "all", "idle"]),
    interval=st.sampled_from([0.001, 0.01, 0.03, 0.05]),
    window=st.sampled_from([None, 1, 3]),
    speed_limit=st.sampled_from([None, 80, 100, 120.5]),
)
ARTIFACT = st.builds(
    Saber,
    variant=st.just("artifact"),
    interval=st.sampled_from([None, 0.02]),
    window=st.sampled_from([None, 1, 3]),
    speed_limit=st.sampled_from([None, 100]),
)


@settings(ANY, max_examples=200)
@given(st.randoms(use_true_random=False), PAPER | ARTIFACT, st.integers(0, 9))
def test_every_choice_is_the_one_described(dice: Random, policy: Saber, seed: int):
    run_side_by_side(random_trace(dice), policy, seed, {})


def poll(decider, now_s: float, arrived: Pending | None = None, cancelled=(), in_engine=0):
    view = View(None)
    view.now_ps = round(now_s * PS_PER_S)
    view.arrived, view.cancelled, view.in_engine = arrived, cancelled, in_engine
    return decider.decide(view)


def pending(request: int, arrival_s: float, max_tokens: int, sla_s: float) -> Pending:
    arrival_ps = round(arrival_s * PS_PER_S)
    return Pending(request, arrival_ps, arrival_ps + round(sla_s * PS_PER_S), 1, max_tokens)


def test_giving_up_is_no_poll_and_in_time_for_one():
    decider = line(interval=0.1).start(np.random.default_rng(0), LINE)
    poll(decider, 0.05, pending(0, 0.05, 10, 5))
    poll(decider, 0.05, pending(1, 0.05, 10, 5))
    choice = poll(decider, 0.1, cancelled=(0,))
    assert (list(choice.release), choice.wake_ps) == ([], PS_PER_S // 10)
    assert list(poll(decider, 0.1).release) == [1]
    assert poll(decider, 0.15, cancelled=(1,), in_engine=0).wake_ps == NEVER_PS


def test_a_return_expires_when_it_does_and_not_before():
    decider = line(interval=0.1, speed_limit=100).start(np.random.default_rng(0), LINE)
    poll(decider, 0.0, pending(0, 0.0, 95, 1))
    assert list(poll(decider, 0.0).release) == [0]
    poll(decider, 0.05, pending(1, 0.05, 50, 1), in_engine=1)
    poll(decider, 0.06, cancelled=(1,), in_engine=1)
    poll(decider, 0.07, pending(1, 0.07, 50, 1.5), in_engine=1)
    # The first attempt would be hopeless from 0.55 on, the second is from 1.07 on.
    demoted = {tick: list(poll(decider, tick / 10, in_engine=1).demote) for tick in range(1, 12)}
    assert {tick: ids for tick, ids in demoted.items() if ids} == {11: [1]}


@pytest.mark.parametrize("variant", ["paper", "artifact"])
def test_the_comparison_covers_what_can_happen(variant):
    happened: dict[str, int] = {}
    for seed in range(60):
        dice = Random(seed)
        policy = Saber(
            variant=variant,
            lpq=dice.choice(["one", "all", "idle"]) if variant == "paper" else "one",
            interval=dice.choice([0.01, 0.03]) if variant == "paper" else None,
            window=dice.choice([None, 2]),
        )
        run_side_by_side(random_trace(dice), policy, seed, happened)
    expected = ["released", "drawn among several", "demoted while waiting", "back to the tail"]
    expected += ["best effort one"]
    if variant == "paper":
        expected += ["best effort all", "best effort idle"]
    else:
        expected += ["best effort does not count"]
    assert all(happened.get(what, 0) >= 10 for what in expected), happened


@pytest.mark.parametrize("variant", ["paper", "artifact"])
def test_every_choice_is_right_when_clients_give_up_and_come_back(variant):
    happened: dict[str, int] = {}
    for seed in range(200):
        dice = Random(seed)
        policy = Saber(
            variant=variant,
            lpq=dice.choice(["one", "all", "idle"]) if variant == "paper" else "one",
            interval=dice.choice([0.05, 0.03]) if variant == "paper" else None,
            window=dice.choice([None, 2]),
            speed_limit=dice.choice([None, 80, 100]),
        )
        run_with_clients(dice, policy, seed, happened)
    expected = ("high-priority queue", "low-priority queue", "engine")
    assert all(happened.get(f"gave up in the {where}", 0) >= 100 for where in expected), happened


def test_requests_without_sla_are_released_in_time():
    admitted, demoted = released_s(line(interval=0.1), (0.0, 10, None), (0.0, 10, None))
    assert sorted(admitted) == [0.0, 0.1]
    assert demoted == [False, False]
