"""Short requests pass the queue; the others meet the policy they would meet alone."""

import numpy as np
import pytest

from calibrate.library import load_profile
from policies.catalog import make_policy
from sim.simulation import simulate
from sim.study.bypass import DOUBLED, TEXT
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


@pytest.mark.parametrize("policy", [TEXT, DOUBLED], ids=["text", "doubled"])
def test_short_requests_count_nowhere(policy):
    """While no long request runs or waits, the short ones leave the load at 0 for the next."""
    trace = workload("W3", 20, 100, 5)
    requests = simulate(trace, PROFILE, policy=policy, seed=0).requests
    long = requests[(requests["sla_s"] > 1) & ~requests["demoted"]]
    first = long.iloc[0]
    before = requests[requests["arrival_s"] < first["arrival_s"]]

    assert (before["sla_s"] <= 1).all()
    # The doubled count polls every 0.1 s; otherwise the first long request goes at once.
    assert first["admitted_s"] - first["arrival_s"] <= (0.1 if policy is DOUBLED else 0.0)


def test_leaps_change_nothing():
    trace = workload("W3", 15, 60, 4)

    leapt = simulate(trace, PROFILE, policy=DOUBLED, seed=4).requests
    assert leapt.equals(simulate(trace, PROFILE, policy=DOUBLED, seed=4, leap=False).requests)


def test_both_have_a_name_on_the_command_line():
    assert make_policy("sim.study.bypass:TEXT").label == "bypass(sla_s=1, saber)"
    assert "variant=artifact" in make_policy("sim.study.bypass:DOUBLED").label
