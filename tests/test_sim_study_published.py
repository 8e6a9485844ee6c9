"""The embedded facts of the study: their shape, their sums, and the files they come from."""

import csv
from pathlib import Path

import pytest

from calibrate.library import load_profile
from calibrate.speed import PARAMETERS, fit_speed
from sim.options import OptionError
from sim.study.published import (
    ESTIMATORS,
    SPEED_FITS,
    SUMMARY,
    saber_goodput_pct,
    static_goodput_pct,
)
from sim.study.runs import RATES, SIZES

ARTIFACT = Path(__file__).parents[2] / "shared/data/saber_artifact"


def rows_of(name):
    path = ARTIFACT / name
    if not path.exists():
        pytest.skip(f"the study's measurements are not here: {name}")
    with path.open() as lines:
        return list(csv.DictReader(lines))


@pytest.mark.parametrize("workload", ["W1", "W3"])
def test_every_rate_and_size_has_one_whole_percentage(workload):
    grid = static_goodput_pct(workload)

    assert list(grid) == [(rps, size) for rps in RATES for size in SIZES]
    assert all(0 <= goodput <= 100 and goodput == int(goodput) for goodput in grid.values())
    for estimator in ESTIMATORS:
        series = saber_goodput_pct(workload, estimator)
        assert tuple(series) == RATES
        assert all(0 <= goodput <= 100 and goodput == int(goodput) for goodput in series.values())


def test_w2_is_not_published():
    assert static_goodput_pct("W2") == {}
    assert saber_goodput_pct("W2", "linear") == {}


def test_the_printed_rows_at_ten_requests_a_second():
    at_ten = {
        workload: [
            *(static_goodput_pct(workload)[10.0, size] for size in SIZES),
            saber_goodput_pct(workload)[10.0],
        ]
        for workload in ("W1", "W3")
    }
    assert at_ten["W1"] == [11, 21, 33, 17, 2, 1, 7, 10, 9, 10, 49]
    assert at_ten["W3"] == [19, 37, 56, 27, 42, 37, 49, 58, 41, 40, 74]


@pytest.mark.parametrize(("workload", "name"), [("W1", "gain_w1"), ("W3", "gain_w3")])
def test_the_printed_average_gains_follow_from_the_grids(workload, name):
    gains = gains_over_the_best(workload)

    assert sum(gains.values()) / len(gains) == pytest.approx(SUMMARY[name].value, abs=0.05)


def test_the_abstracts_gain_is_w3_at_twenty():
    gains = gains_over_the_best("W3")

    assert max(gains, key=gains.__getitem__) == 20.0
    assert gains[20.0] == SUMMARY["gain_abstract"].value


def gains_over_the_best(workload):
    grid = static_goodput_pct(workload)
    return {
        rps: goodput - max(grid[rps, size] for size in SIZES)
        for rps, goodput in saber_goodput_pct(workload).items()
    }


def test_every_printed_number_names_its_source():
    assert all(
        "2506.19677" in printed.source and printed.unit and printed.what
        for printed in SUMMARY.values()
    )


@pytest.mark.parametrize("estimator", ["usl", "linear"])
def test_the_printed_fits_are_those_of_the_profiles_points(estimator):
    points = load_profile("paper-qwen2.5-coder-3b").speed_points
    ours, printed = fit_speed(points, estimator), SPEED_FITS[estimator]

    assert tuple(printed.parameters) == PARAMETERS[estimator]
    assert dict(printed.parameters) == pytest.approx(ours.parameters, rel=2e-3)
    assert printed.r2 == pytest.approx(ours.r2, abs=1e-4)
    assert printed.mse == pytest.approx(ours.mse, rel=1e-3)


def test_the_printed_logistic_fit_is_known_by_its_curve_alone():
    printed = SPEED_FITS["logistic"]
    ours = fit_speed(load_profile("paper-qwen2.5-coder-3b").speed_points, "logistic")

    assert not printed.parameters
    assert (printed.r2, printed.mse) == pytest.approx((ours.r2, ours.mse), rel=2e-3)


def test_the_grids_are_those_of_the_replication_package():
    measured = {
        (row["workload"], float(row["rps"]), int(row["max_num_seqs"])): float(row["goodput_pct"])
        for row in rows_of("static_goodput.csv")
    }
    ours = {
        (workload, *cell): goodput
        for workload in ("W1", "W3")
        for cell, goodput in static_goodput_pct(workload).items()
    }
    assert len(ours) == 240
    assert ours == measured


def test_the_series_of_saber_are_those_of_the_replication_package():
    measured = {
        (row["estimator"], row["workload"], float(row["rps"])): float(row["goodput_pct"])
        for row in rows_of("saber_goodput.csv")
    }
    ours = {
        (estimator, workload, rps): goodput
        for estimator in ESTIMATORS
        for workload in ("W1", "W3")
        for rps, goodput in saber_goodput_pct(workload, estimator).items()
    }
    assert ours == measured


def test_the_variation_of_sabers_sla_ratio_is_that_of_its_requests():
    ratios = {}
    for row in rows_of("saber_requests.csv"):
        if row["workload"] == "W1":
            ratio = float(row["total_s"]) / float(row["sla_s"])
            ratios.setdefault(row["rps"], []).append(ratio)
    means = [sum(each) / len(each) for each in ratios.values()]
    mean = sum(means) / len(means)
    spread = (sum((each - mean) ** 2 for each in means) / len(means)) ** 0.5

    assert 100 * spread / mean == pytest.approx(SUMMARY["cv_saber_w1"].value, abs=0.1)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: static_goodput_pct("W4"),
        lambda: saber_goodput_pct("W4"),
        lambda: saber_goodput_pct("W1", "cubic"),
    ],
)
def test_what_the_study_does_not_have_is_an_error(ask):
    with pytest.raises(OptionError, match="expected"):
        ask()
