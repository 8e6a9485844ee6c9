"""Scorpio: who is dropped, who is admitted, and where its guards pay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from queue_cases import LINE, Bench, goodputs, standard_errors

from calibrate.steptime import StepCost
from policies.catalog import make_policy
from policies.fcfs import Fcfs
from policies.protocol import PolicyError
from policies.scorpio import Scorpio
from sim import simulate
from traces import workload
from traces.request import Trace

GROWING = replace(LINE, cost=StepCost.affine(decode_s=0.0, prefill_s=0.1, sequence_s=0.01))
"""A step of B sequences takes B * 10 ms, a prefill 0.1 s."""


def bench_of(profile=GROWING, **parameters):
    """Return a bench of a policy that gives half of the SLA to the first token."""
    return Bench(Scorpio(ttft_share=0.5, **parameters), profile)


def paced(token_s):
    """Return the SLA that leaves so much for each token after the first: 100 of them."""
    return {"sla_s": 2 * 100 * token_s, "most": 101}


def test_the_deadline_of_the_first_token_gives_the_order():
    # Due at 10, 6, 5 + 2, and never.
    bench = bench_of(LINE, max_num_seqs=1)
    for request, at_s, sla_s in ((0, 0, None), (1, 0, 20), (2, 0, 12), (4, 0, None), (3, 5, 4)):
        bench.arrive(request, at_s=at_s, sla_s=sla_s)
    assert bench.drain() == [2, 3, 1, 4]


def test_who_is_behind_too_many_prompts_is_dropped():
    # Prefills take 0.1 s, 0's until 0.1.  1 is due at 0.205 and would be through at 0.2.
    bench = bench_of(LINE, max_num_seqs=1)
    bench.arrive(0)
    bench.arrive(1, sla_s=0.41)
    assert list(bench.choice.demote) == []
    bench.arrive(2, sla_s=0.59)  # through at 0.3, due at 0.295
    assert list(bench.choice.demote) == [2]
    bench.arrive(3, sla_s=0.61)  # due at 0.305
    assert list(bench.choice.demote) == []
    bench.arrive(4, sla_s=0.4)  # goes before 1, who would be through at 0.3
    assert list(bench.choice.demote) == [1]
    assert bench.drain() == [4, 3, 2, 1]


def test_time_passes_for_those_who_wait():
    bench = bench_of(LINE, max_num_seqs=1)
    bench.arrive(0)
    bench.arrive(1, sla_s=2)
    bench.arrive(2, sla_s=9)
    assert bench.finish(0, at_s=0.91) == [2]
    assert list(bench.choice.demote) == [1]


def test_the_dropped_are_served_when_nobody_else_waits_or_turned_away():
    bench = bench_of(LINE, max_num_seqs=1)
    bench.arrive(0)
    bench.arrive(1, sla_s=0.1)
    bench.arrive(2, sla_s=60)
    assert bench.drain() == [2, 1]
    bench = bench_of(LINE, max_num_seqs=1, reject=True)
    bench.arrive(0)
    bench.arrive(1, sla_s=0.1)
    assert list(bench.choice.refuse) == [1]
    assert list(bench.choice.demote) == []
    assert bench.drain() == []


def test_a_pace_that_not_even_an_empty_engine_has_is_dropped_on_arrival():
    bench = bench_of()
    assert bench.arrive(0, **paced(0.0099)) == [0]
    assert list(bench.choice.demote) == [0]
    bench.arrive(1, **paced(0.0101))
    assert list(bench.choice.demote) == []
    bench.arrive(2, sla_s=1.0, most=1)  # it has only a first token
    assert list(bench.choice.demote) == []


def test_as_many_of_one_pace_are_admitted_as_a_step_has_room_for():
    bench = bench_of()
    for request in range(5):
        bench.arrive(request, **paced(0.0305))
    # A step of 3 takes 30 ms, of 4 it would take 40.
    assert list(bench.generated) == [0, 1, 2]
    assert bench.finish(1) == [3]


def test_a_slow_pace_counts_as_a_part_of_one():
    bench = bench_of()
    bench.arrive(0, **paced(0.03))
    for request in range(1, 6):
        bench.arrive(request, **paced(0.06))
    # 1 + 4 / 2 = 3: 30 ms.
    assert list(bench.generated) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("slow", "admitted"), [(2, True), (3, True), (4, False)])
def test_a_tighter_pace_makes_the_others_slower_ones(slow, admitted):
    # Beside 0.06 s ones, 0.02 s make them a third: 1 + 2/3 and 2 are up to 20 ms, 1 + 4/3 more.
    bench = bench_of()
    for request in range(slow):
        bench.arrive(request, **paced(0.06))
    assert bench.arrive(9, **paced(0.02)) == ([9] if admitted else [])


def test_best_effort_counts_as_one_and_waits_for_the_pace_of_others():
    bench = bench_of()
    for request in range(3):
        bench.arrive(request, **paced(0.03))
    assert bench.arrive(3, sla_s=0.01) == []
    assert list(bench.choice.demote) == [3]
    assert bench.finish(0) == [3]
    assert bench.arrive(4, **paced(0.03)) == []
    assert bench.finish(3) == [4]


def test_best_effort_lets_those_who_are_held_back_go_first():
    bench = bench_of()
    for request in range(4):
        bench.arrive(request, **paced(0.06))
    assert bench.arrive(8, **paced(0.02)) == []
    assert bench.arrive(9, sla_s=0.01) == []  # a step of 5 would be short enough for the others
    assert bench.finish(0, 1) == [8]


def test_an_empty_engine_has_no_prompts_to_wait_for():
    bench = bench_of(LINE)
    bench.arrive(0)
    bench.give_up(0, at_s=0.05)
    # Through at 0.15, due at 0.16; behind 0's prompt it would be 0.2.
    assert bench.arrive(1, at_s=0.05, sla_s=0.22) == [1]
    assert list(bench.choice.demote) == []


def test_who_gave_up_is_forgotten_wherever():
    bench = bench_of(LINE, max_num_seqs=1)
    bench.arrive(0)
    bench.arrive(1, sla_s=0.01)
    bench.arrive(2, sla_s=30)
    bench.arrive(3, sla_s=40)
    bench.give_up(1)
    bench.give_up(2)
    assert bench.give_up(0) == [3]
    assert bench.finish(3) == []
    assert bench.arrive(2, at_s=5, sla_s=30) == [2]


def paces(rng, spread, rps):
    """Return W1's lengths; a request has `spread` times the time it takes alone, one or other."""
    seed = int(rng)
    plain = workload("W1", rps=rps, n=200, seed=seed)
    times = np.where(np.random.default_rng(seed + 100).random(len(plain)) < 0.5, *spread)
    alone_s = 0.0106 * plain.max_tokens + 0.02
    return Trace(
        plain.arrival_s,
        plain.prompt_tokens,
        plain.output_tokens,
        max_tokens=plain.max_tokens,
        sla_s=times * alone_s,
    )


def gains(spread, rps):
    """Return what the guards add to first come, first served with the same seats, in points."""

    def trace(seed):
        return paces(seed, spread, rps)

    return goodputs(Scorpio(), trace) - goodputs(Fcfs(Scorpio().max_num_seqs), trace)


@pytest.mark.parametrize("rps", [5, 7])
def test_the_guards_gain_most_where_objectives_differ(rps):
    """Y. Tang et al., arXiv 2505.23022: the gain comes from heterogeneous objectives.

    Half of the requests have 2 times what they take alone and half 16 times, or all have 9 times;
    a full batch is fast enough for all of them.
    """
    mixed, equal = gains((2, 16), rps), gains((9, 9), rps)
    assert standard_errors(mixed) > 5
    assert standard_errors(mixed - equal) > 5
    assert (mixed - equal).mean() > 8


def test_without_credits_the_guards_can_not_help_who_needs_a_smaller_batch():
    """At 1.5 times a batch of 32 is too slow, and nobody skips a step to make it a smaller one.

    This is where the published system differs most from what an engine can do that decodes all.
    """
    mixed, equal = gains((1.5, 4.5), 8), gains((3, 3), 8)
    assert standard_errors(equal) > 5
    assert mixed.mean() < 2


def test_refusing_leaves_goodput_about_the_same_and_says_so():
    trace = workload("W1", rps=8, n=200, seed=1)
    result = simulate(trace, LINE, "scorpio(reject=True)").summary()
    assert result["statuses"]["refused"] + result["statuses"]["finished"] == 200


def test_as_text():
    assert make_policy("scorpio") == Scorpio()
    assert make_policy("scorpio(24, reject=True)").label == "scorpio(max_num_seqs=24, reject=True)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scorpio(0)", "scorpio: max_num_seqs=0: expected a whole number of at least 1"),
        ("scorpio(reject=1)", "scorpio: reject=1: expected True or False"),
        ("scorpio(ttft_share=1.5)", "scorpio: ttft_share=1.5: expected a number of at least 0"),
    ],
)
def test_what_its_parameters_can_not_be(text, message):
    with pytest.raises(PolicyError) as error:
        make_policy(text)
    assert message in str(error.value)
