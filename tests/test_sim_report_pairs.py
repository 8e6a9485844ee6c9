"""Two runs of the same requests, request by request; and runs that are not."""

import numpy as np
import pytest
from report_cases import frame, run_with, simulated

from sim.report.pairs import paired

NAN = float("nan")


def test_every_request_is_in_one_of_four_fields():
    first = run_with(frame(met=[True, True, False, False, None]))
    second = run_with(frame(met=[True, False, True, False, True]))
    found = paired(first, second)
    assert found.requests == 4
    assert (found.both_met, found.became_missed, found.became_met, found.both_missed) == (
        1,
        1,
        1,
        1,
    )


def test_e2e_is_compared_where_both_finished():
    arrival = [0.0, 0.0, 0.0, 0.0]
    first = run_with(frame(arrival_s=arrival, finished_s=[1.0, 2.0, NAN, 4.0]))
    second = run_with(frame(arrival_s=arrival, finished_s=[2.0, 1.5, 3.0, 8.0]))
    found = paired(first, second)
    assert (found.finished, found.faster, found.slower) == (3, 1, 2)
    assert found.e2e_mean_s == pytest.approx((1 - 0.5 + 4) / 3)
    assert found.e2e_median_s == pytest.approx(1.0)


def test_nothing_finished_has_no_difference():
    run = run_with(frame(met=[False], finished_s=[NAN]))
    found = paired(run, run)
    assert (found.finished, found.e2e_mean_s, found.e2e_median_s) == (0, None, None)


def test_the_longer_warm_up_holds():
    first = run_with(frame(arrival_s=[0.0, 1.0, 2.0]), warmup_s=0.5)
    second = run_with(frame(arrival_s=[0.0, 1.0, 2.0]), warmup_s=1.5)
    assert paired(first, second).requests == paired(second, first).requests == 1


@pytest.mark.parametrize(
    "other",
    [
        {"arrival_s": [0.0, 1.5]},
        {"arrival_s": [0.0, 1.0], "prompt_tokens": [100, 101]},
        {"arrival_s": [0.0, 1.0], "output_tokens": [10, 11]},
        {"arrival_s": [0.0, 1.0], "id": [0, 2]},
        {"arrival_s": [0.0]},
    ],
)
def test_other_requests_are_not_paired(other):
    assert paired(run_with(frame(arrival_s=[0.0, 1.0])), run_with(frame(**other))) is None


def test_other_promises_are_noticed():
    first = run_with(frame(arrival_s=[0.0, 1.0]))
    laxer = run_with(frame(arrival_s=[0.0, 1.0], sla_s=[2.0, 3.0]))
    limits = run_with(frame(arrival_s=[0.0, 1.0]), goodput_ms={"ttft": 200.0})
    stricter = run_with(frame(arrival_s=[0.0, 1.0]), goodput_ms={"ttft": 100.0})
    without = run_with(frame(arrival_s=[0.0, 1.0], sla_s=[NAN, NAN]))
    for run in (first, limits, without):
        assert paired(run, run).same_objectives
    for a, b in ((first, laxer), (first, limits), (limits, stricter), (first, without)):
        assert not paired(a, b).same_objectives


def test_policies_on_one_seed_replay_the_same_requests():
    first, second = simulated("static(4)"), simulated("static(64)")
    found = paired(first, second)
    assert found.requests == 40
    met = [int(run.requests["met"].sum()) for run in (first, second)]
    assert found.became_met - found.became_missed == met[1] - met[0]
    change = second.requests["finished_s"] - first.requests["finished_s"]
    assert found.e2e_mean_s == pytest.approx(float(np.mean(change)))
