"""QoServe: its order, whom it relegates, and the chunks it chooses."""

from __future__ import annotations

from dataclasses import replace

import pytest
from queue_cases import LINE, Bench, goodputs, standard_errors

from calibrate.steptime import StepCost
from policies.catalog import make_policy
from policies.edf import Edf
from policies.protocol import NEVER_PS, PS_PER_S, PolicyError
from policies.qoserve import CHUNKS, QoServe
from sim import simulate
from traces import workload
from traces.request import Trace

CHUNKED = replace(
    LINE,
    cost=StepCost.affine(decode_s=0.01, prefill_s=0.0, prompt_token_s=1e-4),
    discipline="chunked",
    kv_tokens=100_000,
)
"""A step of 10 ms, and 0.1 ms a prompt token."""


class Engine(Bench):
    """A bench whose step holds up to 2048 tokens, and where requests may wait for a seat."""

    def __init__(self, policy, profile, tokens=2048):
        super().__init__(policy, profile)
        self.view.max_num_batched_tokens = tokens
        self.waiting = ()

    def waiting_ids(self):
        return self.waiting


@pytest.mark.parametrize(
    ("alpha", "order"), [(0.0, [2, 1, 3]), (0.008, [1, 2, 3]), (1.0, [1, 3, 2])]
)
def test_deadlines_count_and_so_does_the_prompt(alpha, order):
    # 0.008: 20 + 0.8, 15 + 8, 30 + 1.6 s.
    bench = Bench(QoServe(max_num_seqs=1, alpha=alpha))
    bench.arrive(0)
    for request, prompt, sla_s in ((1, 100, 20), (2, 1000, 15), (3, 200, 30)):
        bench.arrive(request, prompt=prompt, sla_s=sla_s)
    assert bench.drain() == order


def test_without_a_deadline_one_comes_last_and_is_never_relegated():
    bench = Bench(QoServe(max_num_seqs=1))
    bench.arrive(0)
    bench.arrive(1)
    bench.arrive(2, sla_s=5)
    assert bench.finish(0) == [2]
    assert bench.finish(2, at_s=1e6) == [1]
    assert bench.choice.demote == []


def test_who_would_be_late_goes_last():
    # 0.1 s of prefill and 9 steps of 10 ms.
    bench = Bench(QoServe(max_num_seqs=1))
    bench.arrive(0)
    for request, sla_s in ((1, 0.18), (2, 0.2), (3, 60), (4, 1e-3)):
        bench.arrive(request, sla_s=sla_s)
    assert bench.choice.demote == []  # asked when its turn comes
    assert bench.finish(0) == [2]
    assert bench.choice.demote == [4, 1]
    assert bench.finish(2) == [3]
    assert bench.finish(3) == [4]
    assert bench.choice.demote == []
    assert bench.finish(4) == [1]


def test_the_way_to_the_client_and_the_size_of_the_batch_count():
    cost = StepCost.affine(decode_s=0.0, prefill_s=0.1, sequence_s=0.01)
    profile = replace(LINE, cost=cost, client_overhead_s=1.0)
    for sla_s, demote in ((1.275, [1]), (1.285, [])):
        bench = Bench(QoServe(max_num_seqs=2), profile)
        bench.arrive(0)
        # Beside another: 0.1 + 9 * 0.02 + 1.
        assert bench.arrive(1, sla_s=sla_s) == [1]
        assert bench.choice.demote == demote


def decoding(at_s, tokens=2048, sla_s=1.0, most=11):
    """Return what is chosen at an instant when 0 has one token and a prompt comes."""
    bench = Engine(QoServe(max_num_seqs=2), CHUNKED, tokens)
    assert bench.arrive(0, sla_s=sla_s, most=most) == [0]
    bench.generated[0] = 1
    assert bench.arrive(1, at_s=at_s, prompt=5000) == [1]
    return bench.choice


@pytest.mark.parametrize(
    ("at_s", "tokens"), [(0.0, 1024), (0.05, 1024), (0.06, 512), (0.12, 256), (0.16, 128), (9, 128)]
)
def test_the_chunk_is_the_largest_that_the_least_slack_has_room_for(at_s, tokens):
    # The first token is due at 0.1, one more every 0.09: 0 has time until 0.19.  A step of 1024
    # tokens takes 10 + 102.3 ms, of 512 61.1, of 256 35.5, of 128 22.7; times 1.2.
    choice = decoding(at_s)
    assert choice.max_num_batched_tokens == tokens
    step_ps = round((0.01 + (tokens - 1) * 1e-4) * PS_PER_S)
    assert choice.wake_ps - round(at_s * PS_PER_S) == pytest.approx(step_ps)


def test_without_anybody_who_is_in_a_hurry_the_chunk_is_the_largest():
    assert decoding(0.0, sla_s=None).max_num_batched_tokens == 2048
    assert decoding(0.0, sla_s=None, tokens=300).max_num_batched_tokens == 300
    assert max(CHUNKS) == 2048


def test_the_relegated_have_no_objectives_any_more():
    # 11 tokens in 0.05 s: hopeless from the start, and it delays nobody's prompt.
    choice = decoding(0.0, sla_s=0.05)
    assert choice.max_num_batched_tokens == 2048


def test_the_choice_is_made_again_until_no_prompt_is_on_its_way():
    bench = Engine(QoServe(max_num_seqs=2), CHUNKED)
    bench.arrive(0, sla_s=1.0, most=11)
    bench.generated[0] = 1
    bench.arrive(1, prompt=100, sla_s=0.5)  # its first token is due at 0.05: that is no decode
    bench.wake(0.06)
    assert bench.choice.max_num_batched_tokens == 512
    assert bench.choice.wake_ps < NEVER_PS
    bench.generated.update({0: 5, 1: 1})
    bench.wake(0.12)
    assert (bench.choice.max_num_batched_tokens, bench.choice.wake_ps) == (0, NEVER_PS)


def test_where_the_budget_can_not_be_set_it_is_left_alone():
    choice = decoding(0.0, tokens=0)
    assert (choice.max_num_batched_tokens, choice.wake_ps) == (0, NEVER_PS)


def test_an_engine_that_prefills_first_is_told_how_many_prompts_may_go_together():
    bench = Engine(QoServe(max_num_seqs=4), replace(CHUNKED, discipline="prefill-first"))
    bench.arrive(0, sla_s=1.0, most=11)
    bench.generated[0] = 1
    bench.arrive(1, prompt=5000)
    assert bench.choice.max_num_batched_tokens == 0  # one alone goes whole
    bench.waiting = (1,)
    bench.arrive(2, prompt=50)
    # Decodes wait for 0.1024 s, not for 0.2048, and have time until 0.19.
    assert bench.choice.max_num_batched_tokens == 1024
    assert bench.choice.wake_ps == NEVER_PS


def test_who_gave_up_is_forgotten_in_either_queue():
    bench = Bench(QoServe(max_num_seqs=1))
    bench.arrive(0)
    for request, sla_s in ((1, 0.01), (2, 9), (3, 10), (4, 0.02), (5, 11)):
        bench.arrive(request, sla_s=sla_s)
    assert bench.finish(0) == [2]
    assert bench.choice.demote == [1, 4]
    bench.give_up(1)
    bench.give_up(3)
    assert bench.finish(2) == [5]
    assert bench.finish(5) == [4]
    assert bench.finish(4) == []
    assert bench.arrive(1, sla_s=9, at_s=1) == [1]


def test_chunks_spare_the_decodes_of_an_engine():
    """Three answers that have little time to spare, and long prompts that have a lot.

    At the run's own budget a step with 2000 prompt tokens takes 0.2 s, and that is what the slowest
    hundredth of tokens waits for; chunks of 128 are 23 ms.
    """
    trace = Trace(
        [0.0] * 3 + [0.5 + 0.5 * i for i in range(6)],
        [10] * 3 + [2000] * 6,
        [201] * 3 + [2] * 6,
        sla_s=[2.2] * 3 + [60.0] * 6,
    )
    edf, qoserve = (simulate(trace, CHUNKED, policy).summary() for policy in ("edf", "qoserve"))
    assert edf["itl_s"]["p99"] > 0.2
    assert qoserve["itl_s"]["p99"] < 0.04


def test_past_saturation_it_degrades_where_deadlines_alone_collapse():
    """K. Goel et al.: relegation keeps violations down under overload."""

    def trace(seed):
        return workload("W1", rps=8, n=200, seed=seed)

    gain = goodputs(QoServe(), trace) - goodputs(Edf(), trace)
    assert standard_errors(gain) > 4
    assert gain.mean() > 4


def test_as_text():
    assert make_policy("qoserve") == QoServe()
    assert make_policy("qoserve(24, alpha=0.001)").label == "qoserve(max_num_seqs=24, alpha=0.001)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("qoserve(0)", "qoserve: max_num_seqs=0: expected a whole number of at least 1"),
        ("qoserve(alpha=-1)", "qoserve: alpha=-1: expected a number of at least 0"),
        ("qoserve(margin=0.5)", "qoserve: margin=0.5: expected a number of at least 1"),
        ("qoserve(ttft_share=2)", "qoserve: ttft_share=2: expected a number of at least 0"),
    ],
)
def test_what_its_parameters_can_not_be(text, message):
    with pytest.raises(PolicyError) as error:
        make_policy(text)
    assert message in str(error.value)


def test_at_low_load_nearly_everyone_is_in_time():
    assert goodputs(QoServe(), lambda seed: workload("W1", rps=3, n=100, seed=seed)).mean() > 97
