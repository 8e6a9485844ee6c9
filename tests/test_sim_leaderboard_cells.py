"""What arrives in the cells of the study."""

import numpy as np
import pytest

from calibrate.library import load_profile
from sim.feasible import Unloaded
from sim.leaderboard.cells import study_cells
from sim.options import OptionError, RunOptions
from traces.workloads import workload

ENGINE = Unloaded(load_profile("paper-qwen2.5-coder-3b"), RunOptions())
FULL = {cell.name: cell for cell in study_cells(ENGINE)}


def gaps_cv(cell):
    """Coefficient of variation of the gaps between arrivals, over many seeds."""
    gaps = np.concatenate([np.diff(cell.draw(seed).arrival_s) for seed in range(40)])
    return gaps.std() / gaps.mean()


def test_three_workloads_at_four_rates_bursts_and_tenants():
    steady = {f"{name} @ {rps}" for name in ("W1", "W2", "W3") for rps in (5, 8, 10, 15)}
    assert set(FULL) == steady | {"W1 @ 8, bursts", "W3 @ 10, bursts", "W3 @ 10, tenants"}


def test_a_cell_draws_what_compare_draws():
    assert FULL["W2 @ 15"].draw(7) == workload("W2", rps=15, n=100, seed=7)


def test_bursts_are_bursts():
    assert gaps_cv(FULL["W3 @ 10"]) == pytest.approx(1, abs=0.1)
    assert gaps_cv(FULL["W3 @ 10, bursts"]) > 2
    assert gaps_cv(FULL["W1 @ 8, bursts"]) > 1.25


def test_tenants_send_six_three_and_one_of_ten():
    counts = np.zeros(3)
    for seed in range(60):
        trace = FULL["W3 @ 10, tenants"].draw(seed)
        counts += np.bincount(trace.tenant_code, minlength=3)
        assert trace.tenants == ("large", "middle", "small")
    # Five standard errors of a share of 6000 draws.
    assert counts / counts.sum() == pytest.approx([0.6, 0.3, 0.1], abs=5 * 0.5 / 6000**0.5)
    assert (trace.arrival_s == FULL["W3 @ 10"].draw(59).arrival_s).all()


def test_quick_is_one_of_each():
    names = [cell.name for cell in study_cells(ENGINE, "quick")]
    assert names == ["W1 @ 8", "W3 @ 10", "W3 @ 10, bursts", "W3 @ 10, tenants"]
    assert set(names) < set(FULL)


def test_another_size_is_refused():
    with pytest.raises(OptionError, match=r"cells 'half': expected full or quick"):
        study_cells(ENGINE, "half")
