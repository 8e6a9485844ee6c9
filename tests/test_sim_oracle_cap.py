"""The cap: by hand, against all plans of tiny instances, and against every policy there is."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from oracle_cases import brute_force, profile_of, random_profile, random_trace

from calibrate import load_profile
from calibrate.steptime import StepCost
from policies.catalog import POLICIES
from policies.planned import Planned
from sim import simulate
from sim.cluster.clients import Clients
from sim.options import OptionError, RunOptions
from sim.oracle.cap import cap
from traces import workload
from traces.request import Trace

DISCIPLINES = ("prefill-first", "chunked")
PAPER = load_profile("paper-qwen2.5-coder-3b")
FREE_PROMPTS = StepCost.affine(decode_s=1.0, prefill_s=0.0)


def trace_of(*rows: tuple[float, int, int, float]) -> Trace:
    arrival_s, prompt, output, sla_s = (np.array(column) for column in zip(*rows, strict=True))
    return Trace.trusted(arrival_s, prompt, output, sla_s=sla_s)


def test_two_seats_give_two_tokens_a_step_to_whoever_is_met():
    # Steps of 1 s, prompts for nothing, 4 tokens each after the first: 12 tokens in 6 s are three.
    trace = trace_of(*[(0.0, 1, 5, 6.0)] * 4)
    options = RunOptions(max_num_seqs=2)
    found = cap(trace, profile_of(FREE_PROMPTS), options=options)
    assert (found.met, found.with_sla, found.goodput_pct, found.exact) == (3, 4, 75.0, True)
    assert cap(trace, profile_of(FREE_PROMPTS), replicas=2, options=options).met == 4
    assert cap(trace, profile_of(FREE_PROMPTS)).met == 4


def test_work_counts_that_cannot_be_done_outside_a_window():
    # One seat, 1 s a token.  The long one has 1 s to spare, so that of its 6 tokens at least 1
    # comes within [2, 5], which three tokens of the other fill: no window holds both whole, as the
    # 9 tokens have the 7 s from 0 to 7.
    trace = trace_of((0.0, 1, 7, 7.0), (2.0, 1, 4, 3.0))
    assert cap(trace, profile_of(FREE_PROMPTS), options=RunOptions(max_num_seqs=1)).met == 1
    roomy = trace_of((0.0, 1, 7, 9.0), (2.0, 1, 4, 3.0))
    assert cap(roomy, profile_of(FREE_PROMPTS), options=RunOptions(max_num_seqs=1)).met == 2


def test_a_prompt_stalls_whoever_decodes_meanwhile():
    # Together they need 6 s of prompts and 4 steps of 1 s in the 9.5 s of the first.  A token's
    # share of a step is half a second, and all shares would fit; but its own 4 steps do not.
    profile = profile_of(StepCost.affine(decode_s=1.0, prefill_s=0.0, prompt_token_s=1.0))
    trace = trace_of((0.0, 3, 5, 9.5), (0.5, 3, 3, 6.0))
    assert cap(trace, profile).met == 1
    assert cap(trace, profile, replicas=2).met == 2
    later = trace_of((0.0, 3, 5, 12.0), (0.5, 3, 3, 8.5))
    assert cap(later, profile).met == 2


def test_what_cannot_be_met_alone_does_not_count():
    profile = profile_of(StepCost.affine(decode_s=1.0, prefill_s=1.0), client_overhead_s=0.5)
    assert cap(trace_of((0.0, 9, 4, 4.5)), profile).met == 1
    late = cap(trace_of((0.0, 9, 4, 4.4)), profile)
    assert (late.met, late.goodput_pct, late.exact) == (0, 0.0, True)
    assert "1 of 1 cannot be met even alone" in late.why


def test_who_has_no_sla_or_is_not_measured_or_too_long_does_not_count():
    profile = profile_of(FREE_PROMPTS)
    without = cap(Trace.trusted(np.zeros(2), np.ones(2, int), np.ones(2, int)), profile)
    assert (without.met, without.with_sla, without.goodput_pct) == (0, 0, None)
    trace = trace_of((0.0, 1, 2, 9.0), (5.0, 1, 2, 9.0), (8.0, 1, 2, 9.0))
    measured = cap(trace, profile, options=RunOptions(warmup_s=1.0, until_s=6.0))
    assert (measured.met, measured.with_sla) == (1, 1)
    assert cap(trace, profile, options=RunOptions(max_model_len=2)).met == 0


@pytest.mark.parametrize(
    "options",
    [
        {"jitter_cv": 0.1},
        {"goodput_ms": {"e2el": 9.0}},
        {"clients": Clients(timeout_s=1.0)},
    ],
)
def test_options_that_the_proof_does_not_cover_are_refused(options):
    with pytest.raises(OptionError, match=next(iter(options))):
        cap(trace_of((0.0, 1, 2, 9.0)), PAPER, options=RunOptions(**options))


@pytest.mark.parametrize("discipline", DISCIPLINES)
@pytest.mark.parametrize("seed", range(12))
def test_no_plan_of_a_tiny_instance_meets_more(discipline, seed):
    dice = Random(seed)
    profile = random_profile(dice, discipline)
    trace = random_trace(dice, dice.choice([2, 3, 4]), profile)
    assert brute_force(trace, profile) <= cap(trace, profile).met


@pytest.mark.slow
@pytest.mark.parametrize("discipline", DISCIPLINES)
@pytest.mark.parametrize("seed", range(100, 103))
def test_no_plan_of_a_small_instance_meets_more(discipline, seed):
    dice = Random(seed)
    profile = random_profile(dice, discipline)
    trace = random_trace(dice, 5, profile)
    assert brute_force(trace, profile) <= cap(trace, profile).met


@pytest.mark.parametrize("discipline", DISCIPLINES)
@pytest.mark.parametrize("seed", range(12))
def test_no_policy_meets_more_in_a_random_world(discipline, seed):
    dice = Random(seed)
    profile = replace(
        random_profile(dice, discipline), kv_tokens=dice.choice([10**6, 10**6, 64, 96])
    )
    count = dice.choice([5, 10, 20])
    trace = random_trace(dice, count, profile)
    options = {"block_size": dice.choice([1, 4])}
    replicas = dice.choice([1, 1, 2])
    most = cap(trace, profile, replicas=replicas, options=RunOptions(**options)).met
    policies: list = [f"static({size})" for size in (1, 2, 3, 5, 9, 20)]
    policies += [name for name in POLICIES if name != "static"]
    if replicas == 1:
        orders = [tuple(dice.sample(range(count), count)) for _ in range(5)]
        policies += [Planned(order, dice.randint(1, count)) for order in orders]
    for policy in policies:
        run = simulate(trace, profile, policy=policy, replicas=replicas, **options)
        assert run.columns.met.sum() <= most, policy


@pytest.mark.parametrize(("name", "rps"), [("W1", 8), ("W1", 15), ("W2", 15), ("W3", 15)])
def test_no_policy_meets_more_on_the_workloads_of_the_study(name, rps):
    trace = workload(name, rps=rps, n=60, seed=1)
    most = cap(trace, PAPER).met
    for policy in ["static(10)", "static(30)", *(name for name in POLICIES if name != "static")]:
        assert simulate(trace, PAPER, policy=policy).columns.met.sum() <= most


def test_it_says_that_not_all_can_be_met_where_the_load_is_too_high():
    heavy = cap(workload("W1", rps=15, n=100, seed=0), PAPER)
    assert heavy.met < 90
    assert "conditions" in heavy.why
    light = cap(workload("W1", rps=2, n=100, seed=0), PAPER)
    assert (light.met, light.exact) == (100, True)
    assert "no window is too full" in light.why


def test_prompts_found_in_a_prefix_cache_may_cost_nothing():
    profile = profile_of(StepCost.affine(decode_s=1.0, prefill_s=9.0))
    trace = trace_of((0.0, 3, 3, 4.0))
    assert cap(trace, profile).met == 0
    assert cap(trace, profile, options=RunOptions(prefix_caching=True)).met == 1
