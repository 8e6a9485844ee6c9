"""Short requests pass the queue; the others meet the policy they would meet alone."""

import numpy as np
import pytest

from calibrate.library import load_profile
from policies.catalog import make_policy
from policies.protocol import NEVER_PS, PS_PER_S, Choice, Pending, View
from sim.simulation import simulate
from sim.study.bypass import DOUBLED, TEXT, BypassDecider
from traces.request import Trace
from traces.workloads import workload

PROFILE = load_profile("paper-qwen2.5-coder-3b")


@pytest.mark.parametrize("policy", [TEXT, DOUBLED], ids=["text", "doubled"])
def test_short_requests_are_released_on_arrival_and_never_demoted(policy):
    requests = simulate(workload("W3", 20, 100, 1), PROFILE, policy=policy, seed=1).requests
    short = requests[requests["sla_s"] <= 1]

    assert len(short) == 50
    assert (short["admitted_s"] == short["arrival_s"]).all()
    assert not short["demoted"].any()
    assert requests["demoted"].any()
    assert (requests["status"] == "finished").all()


@pytest.mark.parametrize("policy", [TEXT, DOUBLED], ids=["text", "doubled"])
def test_without_short_requests_it_is_the_inner_policy(policy):
    trace = workload("W1", 10, 100, 3)
    trace = trace[np.asarray(trace.sla_s) > 1]

    with_bypass = simulate(trace, PROFILE, policy=policy, seed=2).requests
    assert with_bypass.equals(simulate(trace, PROFILE, policy=policy.inner, seed=2).requests)


def one_long_among_short(short_arrivals_s, long_arrival_s):
    """Return a trace of requests with 1 s, and one of code translation with 12 s."""
    arrivals = sorted([*short_arrivals_s, long_arrival_s])
    long = np.array([arrival == long_arrival_s for arrival in arrivals])
    return Trace(
        arrivals,
        np.where(long, 792, 89),
        np.where(long, 617, 48),
        sla_s=np.where(long, 12.0, 1.0),
    )


def test_short_requests_count_nowhere():
    """Sixty of them run; counted, they would keep a request that needs 51 tokens/s waiting."""
    trace = one_long_among_short([0.0] * 60, 0.2)
    with_bypass, alone = (
        simulate(trace, PROFILE, policy=policy).requests.iloc[-1] for policy in (TEXT, TEXT.inner)
    )

    assert with_bypass["admitted_s"] == 0.2
    assert alone["admitted_s"] > 0.2


def test_short_requests_leave_the_timer_of_the_others():
    """The long one waits for the poll at 0.1 s; short ones arrive before and one has finished."""
    trace = one_long_among_short([0.0, 0.72, 0.74], 0.71)
    requests = simulate(trace, PROFILE, policy=DOUBLED).requests
    long = requests[requests["sla_s"] > 1].iloc[0]

    assert long["admitted_s"] == pytest.approx(0.8)


def test_the_end_of_a_short_request_is_no_poll():
    """The long one arrives just before that end and still waits for its poll."""
    end_s = (
        simulate(one_long_among_short([0.03], 5.0), PROFILE, policy=DOUBLED)
        .requests["finished_s"]
        .iloc[0]
    )
    trace = one_long_among_short([0.03], end_s - 0.004)
    requests = simulate(trace, PROFILE, policy=DOUBLED).requests
    tenths = requests["admitted_s"].iloc[-1] * 10

    assert tenths == pytest.approx(round(tenths))


def test_leaps_change_nothing():
    trace = workload("W3", 15, 60, 4)

    leapt = simulate(trace, PROFILE, policy=DOUBLED, seed=4).requests
    assert leapt.equals(simulate(trace, PROFILE, policy=DOUBLED, seed=4, leap=False).requests)


def test_both_have_a_name_on_the_command_line():
    assert make_policy("sim.study.bypass:TEXT").label == "bypass(sla_s=1, saber)"
    assert "variant=artifact" in make_policy("sim.study.bypass:DOUBLED").label


def test_a_short_request_given_up_counts_nowhere_either():
    seen = []

    class Inner:
        def decide(self, view):
            seen.append((list(view.cancelled), view.in_engine))
            return Choice(wake_ps=77)

    decider, view = BypassDecider(Inner(), PS_PER_S), View(None)
    for request, in_engine in ((0, 0), (1, 1)):
        view.arrived, view.in_engine = Pending(request, 0, PS_PER_S, 89, 48), in_engine
        assert list(decider.decide(view).release) == [request]
    view.arrived = None
    view.cancelled, view.in_engine = (0,), 1
    # To the inner decider nothing happened, and its timer stays.
    assert decider.decide(view).wake_ps == NEVER_PS
    view.cancelled, view.in_engine = (2,), 4
    assert decider.decide(view).wake_ps == 77
    assert seen == [([2], 3)]
