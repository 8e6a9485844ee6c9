"""Fidelity on made-up runs whose errors are known."""

from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from sim.study.fidelity import (
    POOLED,
    STATIC,
    fidelity,
    fidelity_cells,
    published_cells,
    saber_policy,
)
from sim.study.published import saber_goodput_pct, static_goodput_pct
from sim.study.reasons import SABER_REASONS
from sim.study.runs import Cell, CellRuns

GROUPS = [
    (STATIC, ""),
    *(
        (estimator, reading)
        for estimator in ("usl", "logistic", "linear")
        for reading in ("text, lpq one", "text, lpq all", "text, lpq idle", "artifact")
    ),
]


def made(goodput, ratios=None):
    goodput = np.array(goodput, dtype=float)
    ratios = np.arange(len(goodput)) if ratios is None else ratios
    return CellRuns(goodput, np.array(ratios, dtype=float), np.zeros(len(goodput)))


def runs_with(errors, spread=(-2, -1, 0, 1, 2)):
    """Return runs of every cell around its published value plus an error by (workload, group)."""
    number = count()
    return {
        cell: made(goodput + errors.get((workload, *group), 0) + np.array(spread), [next(number)])
        for workload in ("W1", "W3")
        for group in GROUPS
        for cell, goodput in published_cells(workload, *group).items()
    }


def row(found, workload, group, reading="", of="rows"):
    wanted = (workload, group, reading)
    [one] = [r for r in getattr(found, of) if (r.workload, r.group, r.reading) == wanted]
    return one


def test_the_cells_are_those_published_run_as_the_study_did():
    cells = fidelity_cells()

    assert len(set(cells)) == len(cells) == 240 + 2 * 12 * 3 * 4
    assert set(runs_with({})) == set(cells)
    for cell in cells:
        assert cell.arrivals == ("uniform" if cell.policy.startswith("static") else "poisson")
    static = published_cells("W3", STATIC)
    assert static[Cell("W3", 10.0, "static(80)", "uniform")] == 58
    assert list(static.values()) == list(static_goodput_pct("W3").values())
    linear = published_cells("W1", "linear", "artifact")
    assert list(linear.values()) == list(saber_goodput_pct("W1", "linear").values())


@pytest.mark.parametrize(
    ("estimator", "reading", "policy"),
    [
        ("usl", "text, lpq one", "saber"),
        ("usl", "text, lpq idle", "saber(lpq=idle)"),
        ("usl", "artifact", "saber(variant=artifact)"),
        ("linear", "text, lpq all", "saber(estimator=linear, lpq=all)"),
    ],
)
def test_readings_are_policies(estimator, reading, policy):
    assert saber_policy(estimator, reading) == policy


def test_rows_say_the_errors_of_their_own_cells():
    found = fidelity(runs_with({("W1", STATIC, ""): 3, ("W3", "usl", "text, lpq all"): -4}))

    assert found.seeds == 5
    assert len(found.rows) == 3 * len(GROUPS)
    static = row(found, "W1", STATIC).score
    assert (static.cells, static.mae_points, static.bias_points) == pytest.approx((120, 3, 3))
    assert static.inside_pct == 0  # 2 of spread and 1 point: 3 is more than the band's end and 1
    assert row(found, "W3", STATIC).score.mae_points == pytest.approx(0)
    assert row(found, "W3", STATIC).score.strictly_inside_pct == 100
    pooled = row(found, POOLED, STATIC).score
    assert (pooled.cells, pooled.mae_points, pooled.bias_points) == pytest.approx((240, 1.5, 1.5))
    assert pooled.inside_pct == 50
    all_ = row(found, "W3", "usl", "text, lpq all").score
    assert (all_.cells, all_.mae_points, all_.bias_points) == pytest.approx((12, 4, -4))
    assert row(found, "W3", "usl", "text, lpq one").score.mae_points == pytest.approx(0)
    # |-2.5|, |-1.25|, 0, 1.25, 2.5: each run less the mean of the four others.
    assert row(found, "W1", STATIC).noise.mae_points == pytest.approx(1.5)


def test_the_best_reading_is_picked_for_each_workload_and_pooled():
    errors = {(w, *group): 5 for w in ("W1", "W3") for group in GROUPS}
    errors["W1", "usl", "artifact"] = 2
    errors["W3", "usl", "text, lpq all"] = -1
    errors["W1", "linear", "text, lpq idle"] = errors["W3", "linear", "text, lpq idle"] = 4
    found = fidelity(runs_with(errors))

    assert row(found, "W1", "usl", "artifact", "best").score.mae_points == pytest.approx(2)
    assert row(found, "W3", "usl", "text, lpq all", "best").score.mae_points == pytest.approx(1)
    pooled = row(found, POOLED, "usl", "W1 artifact; W3 text, lpq all", "best")
    assert pooled.score.cells == 24
    assert pooled.score.mae_points == pytest.approx(1.5)
    assert pooled.score.bias_points == pytest.approx(0.5)
    same = row(found, POOLED, "linear", "text, lpq idle", "best")
    assert same == row(found, POOLED, "linear", "text, lpq idle")
    assert [r.group for r in found.best] == [
        g for g in ("usl", "logistic", "linear") for _ in "abc"
    ]


def test_the_largest_misses_come_first_with_their_bands():
    runs = runs_with({})
    far = Cell("W3", 10.0, "static(30)", "uniform")
    near = Cell("W1", 5.0, "static(20)", "uniform")
    runs[far] = made(published_cells("W3", STATIC)[far] - 20 + np.array([-2, -1, 0, 1, 2]), [-1])
    runs[near] = made(published_cells("W1", STATIC)[near] + 6 + np.array([-8, -4, 0, 4, 8]), [-2])
    first, second, *others = fidelity(runs).misses

    assert (first.cell, first.published_pct, first.mean_pct) == (far, 56, 36)
    assert first.error_points == -20
    assert (first.low_pct, first.high_pct) == pytest.approx((34.1, 37.9))
    assert first.reason == "not known"
    assert second.cell == near
    assert second.reason == "a single run may fall there"
    assert len(others) == 18
    assert [miss.cell.policy.split("(")[0] for miss in others] == ["static"] * 8 + ["saber"] * 10


def test_sizes_that_make_no_difference_are_named_as_one_cell():
    runs = runs_with({})
    for size in (80, 90, 100):  # measured 58, 41, 40
        runs[Cell("W3", 10.0, f"static({size})", "uniform")] = made([19, 20, 21, 22, 23], [1, 2, 3])
    runs[Cell("W3", 10.0, "static(70)", "uniform")] = made([19, 20, 21, 22, 23], [3, 2, 1])
    first = fidelity(runs).misses[0]

    assert first.cell.policy == "static(80)"
    assert "3 sizes" in first.reason
    assert "58, 41, 40" in first.reason


def test_a_value_above_every_reading_is_an_open_finding():
    cell = Cell("W3", 15.0, "saber")
    published = saber_goodput_pct("W3")[15.0]
    readings = [replace(cell, policy=saber_policy("usl", group[1])) for group in GROUPS[1:5]]
    above = runs_with({}) | {
        reading: made(published - np.array([9, 8, 7, 6, 5])) for reading in readings
    }
    # One reading that gets there is enough for it to be no open finding.
    reached = above | {readings[3]: made(published - np.array([9, 8, 7, 6, 0]))}

    assert "open" in fidelity(above).misses[10].reason
    assert all("open" not in miss.reason for miss in fidelity(reached).misses)


def test_what_the_published_records_tell_about_a_run_is_said():
    published = saber_goodput_pct("W1")[5.0]
    runs = runs_with({}) | {
        Cell("W1", 5.0, saber_policy("usl", group[1])): made(published + np.arange(-30, -25))
        for group in GROUPS[1:5]
    }
    miss = fidelity(runs).misses[10]

    assert miss.cell == Cell("W1", 5.0, "saber")
    assert miss.reason.startswith("open: ")
    assert miss.reason.endswith(SABER_REASONS["W1", 5.0])


def test_one_seed_has_errors_and_no_noise():
    found = fidelity(runs_with({("W1", STATIC, ""): 3}, spread=(0,)))

    assert found.seeds == 1
    assert row(found, "W1", STATIC).score.mae_points == pytest.approx(3)
    assert all(r.noise is None and r.score.inside_pct is None for r in (*found.rows, *found.best))
    assert found.misses[0].low_pct == found.misses[0].mean_pct == found.misses[0].high_pct
