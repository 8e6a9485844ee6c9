"""Metrics: what a guard may name is what a run has."""

import pytest

from calibrate.library import load_profile
from sim.breakdown import breakdown
from sim.check.metrics import GROUPS, METRICS, good_direction
from sim.options import OptionError
from sim.simulation import simulate
from sim.sweep.work import flat
from traces.workloads import workload


@pytest.fixture(scope="module")
def result():
    trace = workload("W3", rps=5, n=20, seed=0)
    return simulate(trace, load_profile("paper-qwen2.5-coder-3b"), policy="saber")


def test_what_is_known_is_what_a_run_sums_up(result):
    numbers = dict(flat(result.summary()))
    numbers.pop("warnings")
    assert set(METRICS) == set(numbers)


def test_what_is_known_of_groups_is_what_a_breakdown_has(result):
    for group in breakdown(result, "task").values():
        assert set(GROUPS) == {name for name, _ in flat(group)}


def test_what_no_run_has_is_refused():
    for name in ("", "ttft_s", "ttft_s.p98", "by_task", "by_task..goodput_pct", "by_user.a.met"):
        with pytest.raises(OptionError):
            good_direction(name)
    assert good_direction("utilisation") is None
    assert good_direction("by_tenant.a b.requests") is None
