"""Cells of the study: the same runs as everyone else's, whatever the number of workers."""

import numpy as np
import pytest

from calibrate.library import load_profile
from policies.protocol import NOTHING, Choice
from sim.compare import compare
from sim.options import OptionError
from sim.simulation import simulate
from sim.study.runs import Cell, each_cell, run_cell, run_cells
from traces.workloads import workload

PROFILE = load_profile("paper-qwen2.5-coder-3b")
CELLS = (
    Cell("W3", 10.0, "saber"),
    Cell("W3", 10.0, "static(30)", "uniform"),
    Cell("W1", 5.0, "saber(variant=artifact)"),
)


class TurnsAway:
    """Refuses some requests and serves the others."""

    def __init__(self, label, refused):
        self.label, self.refused = label, refused

    def start(self, rng, profile):
        return self

    def decide(self, view):
        if view.arrived is None:
            return NOTHING
        if self.refused(view.arrived):
            return Choice(refuse=(view.arrived.id,))
        return Choice((view.arrived.id,))


no_qna = TurnsAway("no_qna", lambda request: request.task == "code_qna")
nobody = TurnsAway("nobody", lambda request: True)


def same(one, two):
    return (
        np.array_equal(one.goodput_pct, two.goodput_pct)
        and np.array_equal(one.sla_ratio_mean, two.sla_ratio_mean, equal_nan=True)
        and np.array_equal(one.sla_ratio_std, two.sla_ratio_std, equal_nan=True)
        and list(one.e2e_s) == list(two.e2e_s)
        and all(np.array_equal(one.e2e_s[t], two.e2e_s[t], equal_nan=True) for t in one.e2e_s)
    )


def test_a_cell_is_what_simulate_says_seed_by_seed():
    cell = CELLS[1]
    runs = run_cell(cell, PROFILE, [7, 3])

    for place, seed in enumerate([7, 3]):
        trace = workload("W3", 10, 100, seed, "uniform")
        summary = simulate(trace, PROFILE, "static(30)", seed=seed).summary()
        assert runs.goodput_pct[place] == pytest.approx(summary["goodput_pct"])
        assert runs.sla_ratio_mean[place] == pytest.approx(summary["sla_ratio"]["mean"])
        assert runs.sla_ratio_std[place] == pytest.approx(summary["sla_ratio"]["std"])
    requests = simulate(workload("W3", 10, 100, 3, "uniform"), PROFILE, "static(30)").requests
    last = requests[requests.task == "code_qna"]
    expected = last.finished_s - last.arrival_s
    assert {task: len(e2e) for task, e2e in runs.e2e_s.items()} == dict.fromkeys(runs.e2e_s, 50)
    np.testing.assert_allclose(runs.e2e_s["code_qna"][25:], expected, rtol=1e-9)


def test_goodput_is_that_of_compare_for_the_same_seeds():
    found = compare(
        lambda seed: workload("W3", 10, 100, seed), PROFILE, ["saber"], seeds=range(4, 8)
    )
    runs = run_cell(CELLS[0], PROFILE, range(4, 8))

    assert runs.goodput_pct.tolist() == pytest.approx(list(found.rows[0].goodput_by_seed))
    assert len(set(runs.goodput_pct)) > 1


def test_runs_do_not_depend_on_the_number_of_workers():
    one = run_cells(CELLS, PROFILE, range(3), jobs=1)
    two = run_cells(CELLS, PROFILE, range(3), jobs=2)

    assert list(one) == list(two) == list(CELLS)
    assert all(same(one[cell], two[cell]) for cell in CELLS)
    assert not same(one[CELLS[0]], one[CELLS[1]])


def test_a_cell_named_twice_runs_once_and_is_counted():
    done = []
    runs = run_cells([*CELLS[:2], CELLS[0]], PROFILE, [0], on_done=done.append)

    assert list(runs) == list(CELLS[:2])
    assert done == [1, 2]
    assert run_cells([], PROFILE, [0], jobs=2) == {}


def test_requests_that_did_not_finish_have_no_time_and_no_ratio():
    runs = run_cell(Cell("W3", 2.0, "test_sim_study_runs:no_qna"), PROFILE, [0, 1])

    assert np.isnan(runs.e2e_s["code_qna"]).all()
    assert not np.isnan(runs.e2e_s["code_summary"]).any()
    assert (runs.goodput_pct <= 75).all()  # a quarter was turned away: not met, and counted
    assert (runs.goodput_pct > 50).all()
    assert np.isfinite(runs.sla_ratio_mean).all()
    assert np.isfinite(runs.sla_ratio_std).all()


def test_a_run_without_a_finished_request_has_no_ratio():
    runs = run_cell(Cell("W3", 2.0, "test_sim_study_runs:nobody"), PROFILE, [0])

    assert runs.goodput_pct.tolist() == [0.0]
    assert np.isnan(runs.sla_ratio_mean).all()
    assert np.isnan(runs.sla_ratio_std).all()


@pytest.mark.parametrize(
    ("seeds", "jobs", "named"), [([], 1, "seed"), ([0], 0, "jobs=0"), ([0], -2, "jobs=-2")]
)
def test_what_cannot_be_run_is_an_error(seeds, jobs, named):
    with pytest.raises(OptionError, match=named):
        run_cells(CELLS[:1], PROFILE, seeds, jobs=jobs)


def test_workers_are_let_go_quietly_when_the_rest_is_not_wanted():
    cells = [Cell("W3", rps, "saber") for rps in (8.0, 9.0, 10.0, 15.0, 20.0)]
    stream = each_cell(cells, PROFILE, range(2), jobs=2)  # warnings are errors here

    cell, runs = next(stream)
    assert cell == cells[0]
    assert same(runs, run_cell(cell, PROFILE, range(2)))
    del stream
    assert same(run_cells(cells[:2], PROFILE, range(2), jobs=2)[cell], runs)
