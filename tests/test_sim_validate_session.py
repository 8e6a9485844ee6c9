"""What is sent, in which order, and what a validation is made of."""

from dataclasses import replace

import numpy as np
import pytest
from live_cases import SERVER, Asking

from policies.catalog import make_policy
from sim.options import OptionError, RunOptions
from sim.validate.asks import latest_s, plan_of
from sim.validate.files import names_of
from sim.validate.live import in_turn
from sim.validate.session import as_the_server, in_front_of, part_of, refuse_too_many, sending_of
from traces import TraceError, workload
from traces.request import Trace


def jobs(repeats=2, policies=("static(4)", "saber")):
    made = in_front_of([make_policy(text) for text in policies], RunOptions())
    traces = [part_of(workload("W3", rps=4, n=20, seed=s), None) for s in range(repeats)]
    return in_turn(made, traces, range(repeats))


def test_every_other_repeat_goes_backwards_on_the_same_arrivals():
    found = jobs(repeats=3)
    assert [(job.repeat, job.place) for job in found] == [
        (0, 0), (0, 1), (1, 1), (1, 0), (2, 0), (2, 1),
    ]  # fmt: skip
    assert found[0].trace is found[1].trace
    assert found[0].trace != found[2].trace
    assert [job.seed for job in found] == [0, 0, 1, 1, 2, 2]


def test_what_will_be_sent_is_counted_beforehand():
    sending = sending_of(jobs(), drain_s=60)
    assert (sending.replays, sending.requests) == (4, 80)
    traces = [workload("W3", rps=4, n=20, seed=s) for s in range(2)]
    assert sending.prompt_tokens == 2 * sum(int(t.prompt_tokens.sum()) for t in traces)
    assert sending.output_tokens == 2 * sum(int(t.output_tokens.sum()) for t in traces)
    longest_s = 2 * sum(t.span_s + 60 for t in traces) + 3 * 2
    assert sending.longest_s == pytest.approx(longest_s)
    assert "4 replays: 80 requests" in str(sending)
    short = sending_of(jobs(), drain_s=60, max_model_len=500)
    assert short.requests == 80 - 2 * sum(
        int((t.prompt_tokens + t.output_tokens > 500).sum()) for t in traces
    )
    assert short.output_tokens < sending.output_tokens


def test_never_more_than_was_agreed():
    sending = sending_of(jobs(), drain_s=60)
    refuse_too_many(sending, 80)
    with pytest.raises(OptionError, match="would send 80 completions: shorten"):
        refuse_too_many(sending, 79)
    with pytest.raises(OptionError, match="80 completions beside 1 to find out"):
        refuse_too_many(sending, 80, probes=1)


def test_a_part_of_a_trace_begins_at_its_first_arrival():
    trace = Trace([100.0, 101.0, 102.5, 160.0], [5] * 4, [5] * 4)
    assert part_of(trace, 2.6).arrival_s.tolist() == [0.0, 1.0, 2.5]
    assert part_of(trace, 2.5).arrival_s.tolist() == [0.0, 1.0]
    assert part_of(trace, None).arrival_s.tolist() == [0.0, 1.0, 2.5, 60.0]
    assert latest_s(part_of(trace, None), 30) == 90
    with pytest.raises(TraceError):
        part_of(trace, -1.0)


def test_prompts_differ_between_replays_and_are_the_same_for_the_same_stream():
    trace = part_of(workload("W2", rps=4, n=10, seed=0), None)
    first, again, other = (
        plan_of(trace, Asking(), np.random.default_rng(s), drain_s=1) for s in (1, 1, 2)
    )
    assert first.asks == again.asks
    assert not {ask.prompt for ask in first.asks} & {ask.prompt for ask in other.asks}


def test_what_the_server_says_of_itself_is_taken_where_nothing_else_was_given():
    told = replace(SERVER, block_size=128, max_model_len=2048)
    found = as_the_server(RunOptions(), told)
    assert (found.block_size, found.max_model_len) == (128, 2048)
    assert as_the_server(RunOptions(max_model_len=1000), told).max_model_len == 1000
    assert as_the_server(RunOptions(), SERVER) == RunOptions()


def test_no_prompt_is_made_that_will_not_be_sent():
    trace = Trace([0.0, 1.0], [5, 10**9], [5, 5])
    plan = plan_of(trace, Asking(), np.random.default_rng(0), drain_s=1, max_model_len=100)
    assert set(plan.refusals) == {1}
    assert len(plan.asks) == 2


def test_files_have_names_that_say_which_policy_and_never_the_same_one():
    texts = ["static(8)", "saber", "saber(lpq=all)", "my:policy", "my policy", "()", "saber"]
    assert names_of(texts) == [
        "static-8", "saber", "saber-lpq-all", "my-policy", "my-policy~2", "policy", "saber~2",
    ]  # fmt: skip
