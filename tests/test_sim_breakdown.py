"""The numbers by task, tenant and replica."""

from __future__ import annotations

import json

import pytest

from calibrate import load_profile
from sim import simulate
from sim.breakdown import LABELS, breakdown, jain
from sim.cli import main
from sim.options import OptionError
from traces import workload
from traces.request import Trace

PAPER = load_profile("paper-qwen2.5-coder-3b")
RUN = simulate(workload("W3", rps=20, n=200, seed=1), PAPER, "static(30)", replicas=3)


@pytest.mark.parametrize("label", LABELS)
def test_groups_add_up_to_the_whole(label):
    groups = breakdown(RUN, label)
    summary = RUN.summary()
    assert sum(group["requests"] for group in groups.values()) == 200
    met = sum(group["met"] for group in groups.values())
    assert 100 * met / 200 == pytest.approx(summary["goodput_pct"])


def test_a_group_is_what_a_frame_says_of_it():
    frame = RUN.requests
    for task, group in breakdown(RUN, "task").items():
        rows = frame[frame.task == task]
        assert group["goodput_pct"] == pytest.approx(100 * rows.met.mean())
        latency_s = rows.finished_s - rows.arrival_s
        assert group["e2e_s"]["p99"] == pytest.approx(latency_s.quantile(0.99))
    assert set(breakdown(RUN, "replica")) == {"0", "1", "2"}
    assert set(breakdown(RUN, "tenant")) == {""}


def test_what_arrived_in_the_warm_up_is_left_out():
    late = simulate(workload("W3", rps=20, n=200, seed=1), PAPER, "static(30)", warmup_s=5.0)
    counted = sum(group["requests"] for group in breakdown(late, "task").values())
    assert counted == late.summary()["requests"] < 200


def test_jains_index():
    assert jain({"a": {"goodput_pct": 50.0}, "b": {"goodput_pct": 50.0}}) == 1.0
    assert jain({"a": {"goodput_pct": 80.0}, "b": {"goodput_pct": 0.0}}) == 0.5
    assert jain({"a": {"goodput_pct": 80.0}, "b": {"goodput_pct": None}}) is None
    assert jain({"a": {"goodput_pct": 0.0}, "b": {"goodput_pct": 0.0}}) == 1.0


def test_the_command_reports_how_evenly_groups_were_served(capsys):
    assert main(["run", "--rps", "20", "--replicas", "2", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["fairness"]["task"] == pytest.approx(jain(said["by_task"]))
    assert said["fairness"]["tenant"] is None  # one group only


def test_nothing_finished_has_no_latency():
    run = simulate(Trace([0.0], [10], [5], sla_s=1.0), PAPER, "static(1)", max_model_len=4)
    [group] = breakdown(run, "task").values()
    assert group["e2e_s"] == {"p50": None, "p99": None}
    assert group["goodput_pct"] == 0.0


def test_another_label_is_an_error():
    with pytest.raises(OptionError, match="expected one of task, tenant, replica"):
        breakdown(RUN, "user")
