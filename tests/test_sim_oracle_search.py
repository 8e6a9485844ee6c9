"""The best schedule found: against all plans of tiny instances, and never below its starts."""

from __future__ import annotations

from random import Random

import pytest
from oracle_cases import brute_force, profile_of, random_profile, random_trace

from calibrate import load_profile
from calibrate.steptime import StepCost
from policies.planned import Planned
from policies.static import Static
from sim import simulate
from sim.options import OptionError, RunOptions
from sim.oracle.cap import cap
from sim.oracle.search import best_found
from traces import workload

PAPER = load_profile("paper-qwen2.5-coder-3b")
TRACE = workload("W1", rps=15, n=60, seed=2)
CASES = 40


def test_it_equals_brute_force_in_19_of_20_tiny_instances_and_is_never_above_the_cap():
    equal = 0
    for seed in range(CASES):
        dice = Random(seed)
        profile = random_profile(dice, dice.choice(["prefill-first", "chunked"]))
        trace = random_trace(dice, dice.choice([3, 3, 4]), profile)
        found = best_found(trace, profile)
        assert found.met <= cap(trace, profile).met
        equal += found.met >= brute_force(trace, profile)
    assert equal >= 0.95 * CASES


@pytest.mark.slow
@pytest.mark.parametrize("requests", [5, pytest.param(6, marks=pytest.mark.nightly)])
def test_with_a_larger_budget_it_equals_brute_force_in_larger_instances(requests):
    equal = 0
    for seed in range(50, 70):
        dice = Random(seed)
        profile = random_profile(dice, dice.choice(["prefill-first", "chunked"]))
        trace = random_trace(dice, requests, profile)
        equal += best_found(trace, profile, budget=300).met >= brute_force(trace, profile)
    assert equal >= 19


def test_it_is_verified_and_at_least_as_good_as_every_policy_it_starts_from():
    starts = ("static(30)", "saber", "saber+")
    found = best_found(TRACE, PAPER, starts=starts, budget=30)
    assert found.simulations == 30
    assert found.result.columns.met.sum() == found.met
    assert found.goodput_pct == pytest.approx(100 * found.met / len(TRACE))
    again = simulate(TRACE, PAPER, policy=found.plan)
    assert again.columns.met.sum() == found.met
    runs = [simulate(TRACE, PAPER, policy=start).columns.met.sum() for start in starts]
    assert found.met >= max(runs)
    assert found.met <= cap(TRACE, PAPER).met


def test_the_search_improves_on_where_it_starts():
    trace = workload("W1", rps=10, n=100, seed=0)
    start = simulate(trace, PAPER, policy="saber").columns.met.sum()
    assert best_found(trace, PAPER, starts=("saber",)).met > 1.1 * start


def test_a_policy_that_no_plan_beats_is_itself_the_best_found():
    found = best_found(TRACE, PAPER, starts=(Static(30),), budget=1)
    assert (found.plan, found.simulations) == (Static(30), 1)
    assert found.met == simulate(TRACE, PAPER, policy=Static(30)).columns.met.sum()


def test_plans_beat_static_sizes_by_far_without_any_start():
    found = best_found(TRACE, PAPER, starts=())
    assert isinstance(found.plan, Planned)
    assert found.met > 1.2 * simulate(TRACE, PAPER, policy="static(30)").columns.met.sum()


def test_the_same_seed_finds_the_same_and_a_budget_of_one_no_more():
    first, second = (best_found(TRACE, PAPER, budget=20, seed=3) for _ in range(2))
    assert best_found(TRACE, PAPER, budget=1, seed=3).met <= first.met
    assert (first.plan, first.met) == (second.plan, second.met)
    assert first.result.requests.equals(second.result.requests)


def test_all_that_can_be_met_ends_the_search():
    found = best_found(workload("W3", rps=1, n=20, seed=0), PAPER)
    assert (found.met, found.goodput_pct) == (20, 100.0)
    assert found.simulations < 5


def test_where_nothing_can_be_met_nothing_is_planned():
    profile = profile_of(StepCost.affine(decode_s=60.0, prefill_s=60.0))
    found = best_found(TRACE, profile, starts=())
    assert (found.met, found.goodput_pct, found.plan) == (0, 0.0, Planned((), len(TRACE)))


def test_seats_respect_the_options():
    found = best_found(TRACE, PAPER, options=RunOptions(max_num_seqs=4), starts=())
    assert found.result.accounts[0].peak_batch <= 4
    tight = RunOptions(discipline="chunked", max_num_batched_tokens=8)
    assert best_found(TRACE, PAPER, options=tight, starts=(), budget=4).simulations == 4


def test_requests_of_the_warm_up_count_for_nothing():
    options = RunOptions(warmup_s=float(TRACE.arrival_s[30]))
    found = best_found(TRACE, PAPER, options=options, starts=(), budget=10)
    assert found.goodput_pct == pytest.approx(100 * found.met / 30)
    assert found.met <= cap(TRACE, PAPER, options=options).met


def test_a_budget_that_does_not_hold_the_starts_is_refused():
    with pytest.raises(OptionError, match="budget=1: expected a whole number of at least 2"):
        best_found(TRACE, PAPER, budget=1, starts=("static(3)", "static(4)"))
    with pytest.raises(OptionError, match="jitter_cv"):
        best_found(TRACE, PAPER, options=RunOptions(jitter_cv=0.5))
