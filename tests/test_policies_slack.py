"""Least slack first: what slack is, who stays picked, and that it does not rescue EDF."""

from __future__ import annotations

from dataclasses import replace

import pytest
from queue_cases import LINE, Bench, goodputs, standard_errors

from calibrate.steptime import StepCost
from policies.catalog import make_policy
from policies.edf import Edf
from policies.protocol import PolicyError
from policies.slack import Slack
from traces import workload

PLAIN = Slack(max_num_seqs=1, hysteresis_s=0)


def test_slack_is_what_is_left_after_the_prefill_and_every_token():
    bench = Bench(PLAIN)
    bench.arrive(0)
    # Steps of 10 ms and a prefill of 100 ms: slacks of 0.9, 0.8 and 0.85 s.
    bench.arrive(1, most=100, sla_s=2.0)
    bench.arrive(2, most=10, sla_s=1.0)
    bench.arrive(3, most=205, sla_s=3.0)
    bench.arrive(4, most=10)
    assert bench.drain() == [2, 3, 1, 4]


def order_of_two(policy: Slack, **costs: float) -> list[int]:
    """Return who goes first: 1, with 500 tokens to generate, or 2, with one and 1 s less left."""
    cost = StepCost.affine(**{"decode_s": 0.001, "prefill_s": 0.0, **costs})
    bench = Bench(policy, replace(LINE, cost=cost, mean_context_tokens=50.0))
    for seated in range(policy.max_num_seqs):
        bench.arrive(100 + seated)
    bench.arrive(1, most=500, sla_s=6.0)
    bench.arrive(2, most=1, prompt=200, sla_s=5.0)
    order: list[int] = []
    while len(order) < 2:
        order += bench.finish(next(iter(bench.generated)))
    return order


def test_steps_are_predicted_at_a_full_batch_with_the_mean_context():
    assert order_of_two(PLAIN) == [2, 1]  # 0.5 s of decoding against 1 s
    # 1 + 10 x 0.15 ms a step with ten in the batch: 1.25 s.
    crowd = {"sequence_s": 0.00015}
    assert order_of_two(PLAIN, **crowd) == [2, 1]
    assert order_of_two(replace(PLAIN, max_num_seqs=10), **crowd) == [1, 2]
    # 1 + 50 x 10 x 0.003 ms.
    context = {"context_token_s": 0.000003}
    assert order_of_two(PLAIN, **context) == [2, 1]
    assert order_of_two(replace(PLAIN, max_num_seqs=10), **context) == [1, 2]


def test_the_prefill_of_a_long_prompt_counts():
    slow = {"sequence_s": 0.00015}
    ten = replace(PLAIN, max_num_seqs=10)
    assert order_of_two(ten, **slow, prompt_token_s=0.005) == [2, 1]
    assert order_of_two(ten, **slow, attention_token2_s=0.00005) == [2, 1]


def test_slack_runs_down_while_a_request_waits():
    bench = Bench(PLAIN)
    bench.arrive(0)
    bench.arrive(1, at_s=0.0, sla_s=5.0)
    bench.arrive(2, at_s=4.5, sla_s=0.6)
    assert bench.drain() == [1, 2]


def test_who_was_picked_stays_picked_unless_another_is_clearly_more_urgent():
    bench = Bench(Slack(max_num_seqs=1, hysteresis_s=0.5))
    bench.arrive(0)
    bench.arrive(1, sla_s=3.0)
    bench.arrive(2, sla_s=2.5)  # not by more than half a second
    bench.arrive(3, sla_s=2.7)
    assert bench.drain() == [1, 2, 3]

    bench = Bench(Slack(max_num_seqs=1, hysteresis_s=0.5))
    bench.arrive(0)
    bench.arrive(1, sla_s=3.0)
    bench.arrive(2, sla_s=2.4)
    bench.arrive(3, sla_s=2.0)
    assert bench.drain() == [2, 3, 1]


def test_who_was_picked_may_give_up():
    bench = Bench(Slack(max_num_seqs=1, hysteresis_s=9))
    bench.arrive(0)
    for request, sla_s in ((1, 5), (2, 4), (3, 3)):
        bench.arrive(request, sla_s=sla_s)
    assert bench.give_up(1) == []
    assert bench.give_up(2) == []
    assert bench.drain() == [3]


def test_it_does_not_rescue_edf_past_saturation():
    """Overloaded, least slack serves the lost first too, and those with most work left of them."""

    def overload(seed):
        return workload("W1", rps=8, n=300, seed=seed)

    slack, edf = goodputs(Slack(), overload), goodputs(Edf(), overload)
    assert slack.mean() < 25
    assert standard_errors(slack - edf) < 2
    assert standard_errors(goodputs("saber", overload) - slack) > 3


def test_below_saturation_it_meets_the_deadlines():
    assert goodputs(Slack(), lambda seed: workload("W1", rps=3, n=300, seed=seed)).mean() > 97


def test_parameters_are_checked():
    with pytest.raises(PolicyError, match=r"slack: hysteresis_s=-1: expected a number of at least"):
        make_policy("slack(hysteresis_s=-1)")
