"""SLAI: shortest prompts first, and none while a decode is in danger."""

from __future__ import annotations

from dataclasses import replace

import pytest
from queue_cases import LINE, Bench, goodputs

from policies.catalog import make_policy
from policies.protocol import NEVER_PS, PS_PER_S, PolicyError
from policies.slai import Slai
from sim import simulate
from traces import workload
from traces.request import Trace

# LINE: a step takes 10 ms.  With 11 tokens, an SLA of 1 s and nothing of it for the first token,
# a token is due 0.1 s after the one before.
PACED = {"sla_s": 1.0, "most": 11}


def one_decodes(policy, profile=LINE, **sla):
    """Return a bench at whose engine request 0 has one token."""
    bench = Bench(policy, profile)
    bench.view.max_num_batched_tokens = 2048
    assert bench.arrive(0, **(sla or PACED)) == [0]
    bench.generated[0] = 1
    return bench


def test_the_shortest_prompt_goes_first_and_of_equals_the_first():
    bench = Bench(Slai(max_num_seqs=1))
    bench.arrive(0)
    for request, prompt in ((1, 300), (2, 20), (3, 300), (4, 100)):
        bench.arrive(request, prompt=prompt)
    assert bench.drain() == [2, 4, 1, 3]


def test_a_decode_in_danger_holds_prompts_back_until_its_next_token():
    bench = one_decodes(Slai(max_num_seqs=4, offset=1.0, ttft_share=0.0))
    # Seen first at 0.5: due at 0.6, in danger from 0.59 on.
    assert bench.arrive(1, at_s=0.5) == [1]
    assert bench.arrive(2, at_s=0.58) == [2]
    assert bench.arrive(3, at_s=0.59) == []
    assert bench.choice.wake_ps == round(0.6 * PS_PER_S)
    assert bench.wake(0.6) == []
    bench.generated[0] = 2
    assert bench.wake(0.605) == [3]
    assert bench.choice.wake_ps == NEVER_PS


@pytest.mark.parametrize(("offset", "released"), [(0.0, [1]), (9.9, [1]), (10.1, [])])
def test_the_offset_is_in_steps(offset, released):
    bench = one_decodes(Slai(offset=offset, ttft_share=0.0))
    assert bench.arrive(1, at_s=0.5) == released


def test_without_a_deadline_nothing_is_in_danger():
    bench = one_decodes(Slai(offset=1000), most=11, sla_s=None)
    assert bench.arrive(1, at_s=0.5) == [1]


def test_steps_are_averaged_over_what_is_seen():
    # 8 tokens in 0.8 s: the mean moves from 10 ms to 0.2 * 100 + 0.8 * 10 = 28 ms, so that at
    # offset 4 a token is in danger at once: 0.1 - 4 * 0.028 < 0.
    bench = one_decodes(Slai(max_num_seqs=9, offset=4, ttft_share=0.0))
    assert bench.arrive(1, at_s=0.1) == [1]
    bench.generated[0] = 9
    assert bench.arrive(2, at_s=0.9) == []
    assert bench.choice.wake_ps == round(0.928 * PS_PER_S)


def test_no_more_prompts_than_a_step_can_take_are_released():
    bench = Bench(Slai(max_num_seqs=8, token_budget=500))
    assert bench.arrive(0, prompt=300) == [0]
    assert bench.arrive(1, prompt=300) == [1]
    assert bench.arrive(2, prompt=10) == []
    assert bench.arrive(3, prompt=5, at_s=0.5) == []
    assert bench.choice.wake_ps == round(0.51 * PS_PER_S)
    bench.generated[0] = 1  # its prompt is through
    assert bench.wake(0.51) == [3, 2]


def test_the_budget_is_for_prompts_and_decodes_in_danger():
    bench = one_decodes(Slai(max_num_seqs=4, offset=1.0, ttft_share=0.0))
    bench.arrive(1, at_s=0.5)
    assert bench.choice.max_num_batched_tokens == 513
    bench.generated[1] = 1
    bench.arrive(2, at_s=0.6)  # 0 is in danger, 1 has no deadline
    assert bench.choice.max_num_batched_tokens == 513
    bench.view.max_num_batched_tokens = 300
    bench.wake(0.61)
    assert bench.choice.max_num_batched_tokens == 300


def test_who_gave_up_is_forgotten():
    bench = Bench(Slai(max_num_seqs=1))
    bench.arrive(0)
    bench.arrive(1, prompt=5)
    bench.arrive(2, prompt=9)
    bench.give_up(1)
    assert bench.give_up(0) == [2]


def test_prompts_let_a_token_pass_where_they_would_stall_an_answer():
    """A prefill of 0.1 s every 0.09 s: without a guard the answer waits until all are through."""
    trace = Trace(
        [0.0, *(0.25 + 0.09 * i for i in range(30))],
        [10] + [50] * 30,
        [41] + [1] * 30,
        sla_s=[1.4] + [60.0] * 30,
    )
    profile = replace(LINE, kv_tokens=100_000)
    edf, slai = (simulate(trace, profile, policy).summary() for policy in ("edf", "slai"))
    assert edf["itl_s"]["p99"] > 1
    assert slai["itl_s"]["p99"] < 0.25  # two prefills at most
    assert slai["statuses"]["finished"] == 31


def test_at_low_load_nearly_everyone_is_in_time_and_too_great_an_offset_is_ruinous():
    """Published for decodes that go first; where prompts wait for them, 5 steps are too many."""

    def trace(seed):
        return workload("W1", rps=3, n=100, seed=seed)

    assert goodputs(Slai(), trace).mean() > 97
    assert goodputs(Slai(offset=5), trace).mean() < 50


def test_as_text():
    assert make_policy("slai") == Slai()
    assert make_policy("slai(24, offset=2)").label == "slai(max_num_seqs=24, offset=2)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slai(0)", "slai: max_num_seqs=0: expected a whole number of at least 1"),
        ("slai(offset=-1)", "slai: offset=-1: expected a number of at least 0"),
        ("slai(token_budget=0.5)", "slai: token_budget=0.5: expected a whole number"),
        ("slai(smoothing=0)", "slai: smoothing=0: expected a number above 0"),
        ("slai(ttft_share=-0.1)", "slai: ttft_share=-0.1: expected a number of at least 0"),
    ],
)
def test_what_its_parameters_can_not_be(text, message):
    with pytest.raises(PolicyError) as error:
        make_policy(text)
    assert message in str(error.value)
