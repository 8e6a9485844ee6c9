"""One seed of one cell: what is kept of a run."""

import pytest

from calibrate.library import load_profile
from policies.catalog import make_policy
from policies.misled import Misled
from sim.leaderboard.misleading import misled, other_profile, tales
from sim.leaderboard.play import Play, play, summary_of
from sim.options import RunOptions
from sim.simulation import simulate
from traces.request import Trace
from traces.workloads import workload

PROFILE = load_profile("paper-qwen2.5-coder-3b")
OTHER = other_profile(PROFILE)
TRACE = workload("W3", rps=9, n=40, seed=2)
POLICIES = tuple(make_policy(text) for text in ("static(20)", "saber"))


def test_fairness_is_jains_index_of_the_share_met():
    # Tasks a: both met; b: one of two; tenants x: 2 of 3, y: 1 of 1.
    trace = Trace(
        [0.0, 10.0, 20.0, 30.0],
        [10] * 4,
        [5] * 4,
        sla_s=[9.0, 9.0, 9.0, 1e-6],
        task=["a", "a", "b", "b"],
        tenant=["x", "x", "y", "x"],
    )
    kept = summary_of(simulate(trace, PROFILE, "static(4)"))

    assert kept["goodput_pct"] == 75
    assert kept["by_task"] == {"a": {"goodput_pct": 100}, "b": {"goodput_pct": 50}}
    assert kept["by_tenant"]["x"]["goodput_pct"] == pytest.approx(200 / 3)
    assert kept["jain"]["task"] == pytest.approx(150**2 / (2 * (100**2 + 50**2)))
    assert kept["jain"]["tenant"] == pytest.approx((5 / 3) ** 2 / (2 * (4 / 9 + 1)))
    assert kept["statuses"]["finished"] == 4


def test_a_label_without_a_request_stays_in_the_table():
    trace = Trace([0.0, 1.0, 2.0], [10] * 3, [5] * 3, sla_s=9.0, task=["a", "b", "a"])
    kept = summary_of(simulate(trace[[0, 2]], PROFILE, "static(4)"))
    assert kept["by_task"] == {"a": {"goodput_pct": 100}, "b": {"goodput_pct": None}}
    assert kept["jain"] == {"task": None, "tenant": None}


def test_every_policy_plays_the_same_requests():
    played = play(Play(TRACE, 5, POLICIES, PROFILE, RunOptions()))
    runs = [simulate(TRACE, PROFILE, policy, seed=5).summary() for policy in POLICIES]
    assert [kept["goodput_pct"] for kept in played.summaries] == [
        run["goodput_pct"] for run in runs
    ]
    assert [kept["statuses"] for kept in played.summaries] == [run["statuses"] for run in runs]
    assert (played.misled, played.best_pct, played.cap_pct) == ((), None, None)


def test_the_misled_play_the_same_requests_too():
    played = play(Play(TRACE, 5, POLICIES, PROFILE, RunOptions(), other=OTHER))
    saber = POLICIES[1]
    mean_tokens = round(float(TRACE.max_tokens.mean()))
    told = [
        Misled(saber, length_cv=0.5),
        Misled(saber, assumed_tokens=mean_tokens),
        Misled(saber, assumed_tokens=int(TRACE.max_tokens.max())),
        Misled(saber, slowness=1.2),
        Misled(saber, slowness=0.8),
        Misled(saber, profile=OTHER),
    ]
    expected = [simulate(TRACE, PROFILE, each, seed=5).summary()["goodput_pct"] for each in told]
    assert played.misled == ((), tuple(expected))
    assert len(tales(OTHER)) == len(misled(saber, TRACE, OTHER)) == 6


def test_another_gpu_is_another_one():
    assert other_profile(OTHER).name not in (OTHER.name, PROFILE.name)


def test_the_oracle_is_above_all_and_below_its_cap():
    played = play(Play(TRACE, 5, POLICIES, PROFILE, RunOptions(), budget=10))
    reached = max(kept["goodput_pct"] for kept in played.summaries)
    assert reached <= played.best_pct <= played.cap_pct <= 100


def test_the_oracle_begins_with_the_best_policy():
    trace = workload("W1", rps=10, n=100, seed=0)
    policies = (make_policy("saber"), make_policy("saber+"), make_policy("fcfs"))
    played = play(Play(trace, 0, policies, PROFILE, RunOptions(), budget=1))
    assert played.best_pct == played.summaries[1]["goodput_pct"]
