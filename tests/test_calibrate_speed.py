"""SABER's estimators: the published fits, the clamps, and data that cannot be fitted."""

import dataclasses
import math
import re
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrate import Profile, ProfileError, load_profile
from calibrate.speed import (
    ESTIMATORS,
    SpeedModel,
    best,
    context_matters,
    fit_all,
    fit_speed,
    read_speed_csv,
    speed_model,
    speed_points_of,
)
from calibrate.steptime import StepCost

PUBLISHED = load_profile("paper-qwen2.5-coder-3b").speed_points
REFERENCE = Path(__file__).parents[2] / "shared/data/saber_artifact/measured_generation_speed.csv"


def model(estimator, *params):
    return SpeedModel(estimator, params, 1.0, 0.0, (1.0, 60.0))


def test_the_published_usl_fit_to_its_printed_digits():
    fitted = fit_speed(PUBLISHED, "usl")
    a, s, k = fitted.params
    assert [round(a, 2), round(s, 4), round(k, 6)] == [102.55, 0.0300, -0.000146]
    assert [round(fitted.r2, 4), round(fitted.mse, 4)] == [0.9922, 1.8724]
    assert fitted.loads == (1.0, 60.0)
    assert fitted.parameters == {"A": a, "s": s, "k": k}


def test_the_published_linear_fit_to_its_printed_digits():
    fitted = fit_speed(PUBLISHED, "linear")
    assert [round(x, 4) for x in fitted.params] == [86.6549, -0.7581]
    assert [round(fitted.r2, 4), round(fitted.mse, 2)] == [0.9126, 21.06]


def test_the_published_logistic_fit_and_the_least_squares_curve():
    fitted = fit_speed(PUBLISHED, "logistic")
    assert [round(fitted.r2, 4), round(fitted.mse, 2)] == [0.9562, 10.55]
    # Its limit for A and L0 at infinity is a plain exponential: an independent least squares.
    from scipy.optimize import least_squares

    x, y = np.array(PUBLISHED).T
    found = least_squares(lambda p: 100 * p[0] * np.exp(-p[1] * x / 60) - y, (1.0, 1.0))
    curve = 100 * found.x[0] * np.exp(-found.x[1] * np.arange(1, 61) / 60)
    np.testing.assert_allclose(fitted.table(60)[1:], curve, atol=0.1)


def test_the_bundled_points_are_the_measured_ones():
    if not REFERENCE.exists():
        pytest.skip("the study's measurements are not beside the checkout")
    measured = read_speed_csv(REFERENCE)
    assert [(load, round(speed, 4)) for load, speed in measured] == list(PUBLISHED)


def test_all_fits_and_the_best_of_them():
    models = fit_all(PUBLISHED)
    assert tuple(models) == ESTIMATORS
    assert best(models) == models["usl"]


@pytest.mark.parametrize(
    "truth",
    [
        model("usl", 100.0, 0.05, 0.001),
        model("usl", 50.0, 0.01, -0.00004),
        model("usl", 100.0, 0.05, 0.0),
        model("logistic", 120.0, -0.1, 30.0),
        model("logistic", 80.0, -0.5, 10.0),
        model("linear", 90.0, -0.5),
    ],
)
def test_a_fit_finds_the_curve_that_made_the_points(truth):
    points = [(load, truth.speed(load)) for load in range(1, 61)]
    fitted = fit_speed(points, truth.estimator)
    assert fitted.params == pytest.approx(truth.params, rel=1e-4, abs=1e-9)
    assert fitted.r2 == pytest.approx(1.0)
    assert fitted.mse == pytest.approx(0.0, abs=1e-6)


def test_the_fit_does_not_depend_on_the_units():
    scaled = fit_speed([(1000 * load, 1e-3 * speed) for load, speed in PUBLISHED])
    plain = fit_speed(PUBLISHED)
    assert scaled.speed(30_000) == pytest.approx(1e-3 * plain.speed(30), rel=1e-6)


def test_a_usl_that_turns_upward_is_held_at_its_lowest():
    fitted = fit_speed(PUBLISHED, "usl")
    a, s, k = fitted.params
    turn = -s / (2 * k)
    assert 102 < turn < 103
    lowest = a / (1 + s * turn + k * turn * turn)
    assert fitted.speed(turn) == lowest
    # Unclamped it would rise at 150 and be negative at 250, where the denominator is under 0.
    assert 1 + s * 250 + k * 250**2 < 0
    assert [fitted.speed(load) for load in (103, 150, 250, 10**6)] == [lowest] * 4


def test_curves_that_only_rise_are_held_at_load_one():
    assert model("usl", 50.0, -0.01, -0.001).speed(40) == 50 / (1 - 0.01 - 0.001)
    assert model("usl", 50.0, -0.01, 0.0).speed(40) == 50 / 0.99
    assert model("linear", 50.0, 2.0).table(3) == (52.0,) * 4
    assert model("logistic", 50.0, 0.1, 0.0).speed(40) == model("logistic", 50.0, 0.1, 0.0).speed(1)


def test_a_usl_that_first_rises_is_held_at_its_top_until_there():
    rises = model("usl", 50.0, -0.02, 0.001)  # fastest at load 10
    top = 50 / (1 - 0.2 + 0.1)
    assert rises.speed(1) == rises.speed(10) == pytest.approx(top)
    assert rises.speed(20) == pytest.approx(50 / (1 - 0.4 + 0.4))


def test_a_line_is_never_negative():
    line = model("linear", 86.65, -0.7581)
    assert line.speed(114) > 0
    assert line.speed(115) == line.speed(10**6) == 0.0
    assert model("logistic", 90.0, -0.5, 10.0).speed(10**6) == 0.0


def test_the_table_is_the_speeds():
    for fitted in fit_all(PUBLISHED).values():
        assert fitted.table(150) == tuple(fitted.speed(load) for load in range(151))


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(1, 300), st.floats(0.01, 1000)), min_size=4, max_size=12).filter(
        lambda points: len({load for load, _ in points}) >= 3
    )
)
def test_any_points_give_falling_finite_speeds_or_one_clear_line(points):
    for estimator in ESTIMATORS:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                fitted = fit_speed(points, estimator)
            except ProfileError as error:
                assert re.match(rf"points give no {estimator} curve", str(error))
                continue
        speeds = fitted.table(600)[1:]
        assert all(math.isfinite(speed) and speed >= 0 for speed in speeds)
        assert all(a >= b - 1e-9 * a for a, b in pairwise(speeds))
        assert fitted.r2 <= 1


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_equal_speeds_are_fitted_by_every_form(estimator):
    fitted = fit_speed([(load, 40.0) for load in range(1, 9)], estimator)
    assert fitted.speed(5) == pytest.approx(40.0)
    assert fitted.r2 == 1.0


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([], "points.load is [], expected at least 3 different loads"),
        ([(1, 90), (2, 80)], "points.load is [1, 2], expected at least 3 different loads"),
        ([(8, 90), (8, 80), (8, 70)], "points.load is [8], expected at least 3 different loads"),
        ([(1, 90), (2, math.nan)], "points[1][1] is nan, expected a finite number > 0"),
        ([(1, 90), (math.inf, 80)], "points[1][0] is inf, expected a finite number >= 1"),
        ([(0, 90), (2, 80)], "points[0][0] is 0, expected a finite number >= 1"),
        ([(1, 90), (2, -80)], "points[1][1] is -80, expected a finite number > 0"),
        ([(1, 90, 3)], "points[0] is (1, 90, 3), expected a pair [load, tokens_per_s]"),
    ],
)
def test_points_that_cannot_be_fitted(points, message):
    with pytest.raises(ProfileError, match=re.escape(message)):
        fit_speed(points)


def test_an_unknown_estimator_gets_the_nearest():
    with pytest.raises(ProfileError, match=r"estimator is 'lineal', .*did you mean 'linear'"):
        fit_speed(PUBLISHED, "lineal")


def test_fit_all_leaves_out_what_the_points_do_not_allow():
    assert tuple(fit_all([(1, 90), (4, 60)])) == ("linear",)
    with pytest.raises(ProfileError, match=r"points\.load is \[4\], expected at least 2"):
        fit_all([(4, 60)])


def make(context_token_s=0.0, **changes):
    cost = StepCost.affine(
        decode_s=0.01, sequence_s=1e-4, prefill_s=0.0, context_token_s=context_token_s
    )
    known = {"name": "p", "method": "torch", "kv_tokens": 9, "kv_source": "chosen"}
    return Profile(**known, cost=cost, discipline="chunked", **changes)


def test_a_profile_gives_its_own_speed_points_first():
    own = ((1.0, 50.0), (2.0, 40.0), (3.0, 35.0))
    assert speed_points_of(make(speed_points=own)) == own


def test_a_profile_without_speed_points_gives_the_speeds_of_its_steps():
    points = speed_points_of(make(), max_load=3)
    assert [load for load, _ in points] == [1.0, 2.0, 3.0]
    assert points[2][1] == pytest.approx(1 / (0.01 + 3e-4))
    assert len(speed_points_of(make())) == 256


def test_a_context_term_needs_the_mean_context():
    profile = make(context_token_s=1e-6)
    with pytest.raises(ProfileError, match="p: speeds depend on the context"):
        speed_points_of(profile)
    assert context_matters(profile)
    assert not context_matters(make())
    assert not context_matters(make(context_token_s=1e-6, speed_points=((1.0, 9.0),)))
    hinted = dataclasses.replace(profile, mean_context_tokens=500.0)
    assert speed_points_of(hinted, 2)[1][1] == pytest.approx(1 / (0.01 + 2e-4 + 1e-6 * 1000))


def test_the_model_of_a_profile_is_the_fit_of_its_points_and_is_remembered():
    profile = make()
    assert speed_model(profile, "linear") == fit_speed(speed_points_of(profile), "linear")
    assert speed_model(make(), "linear") is speed_model(profile, "linear")
    other = dataclasses.replace(profile, speed_points=((1.0, 9.0), (2.0, 8.0), (3.0, 7.0)))
    assert speed_model(other, "linear").speed(2) == pytest.approx(8.0)


@pytest.mark.parametrize(
    "content",
    [
        "1,90.5\n2,80\n",
        "load,speed\n1,90.5\n2,80\n",
        "Batch Size;Generation Speed\r\n1;90.5\r\n\r\n2;80\r\n",
        "\ufeff1\t90.5\n2\t80",
    ],
)
def test_two_columns_are_read_with_or_without_a_header(content, tmp_path):
    (tmp_path / "s.csv").write_bytes(content.encode())
    assert read_speed_csv(tmp_path / "s.csv") == ((1.0, 90.5), (2.0, 80.0))
    assert read_speed_csv(str(tmp_path / "s.csv")) == ((1.0, 90.5), (2.0, 80.0))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no points, expected two columns"),
        (b"load,speed\n", "holds no points, expected two columns"),
        (b"load,speed\n1,x\n", ":2: '1,x', expected two numbers: load and tokens/s"),
        (b"1,90,3\n", ":1: '1,90,3', expected two numbers"),
        (b"load,speed,more\n1,2,3\n", ":1: 'load,speed,more', expected two numbers"),
        (b"1,90\n\n2,nan\n", ":3: speed is nan, expected a finite number > 0"),
        (b"1,90\n0,80\n", ":2: load is 0.0, expected a finite number >= 1"),
        (b"\xff\xfe", "not a CSV file: it is not UTF-8 text"),
    ],
)
def test_a_bad_csv_is_refused_with_its_line(content, message, tmp_path):
    file = tmp_path / "s.csv"
    file.write_bytes(content)
    with pytest.raises(ProfileError, match=re.escape(message)) as caught:
        read_speed_csv(file)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


def test_a_missing_csv_is_named(tmp_path):
    with pytest.raises(ProfileError, match=r"absent\.csv: cannot read the speeds: No such file"):
        read_speed_csv(tmp_path / "absent.csv")


def test_points_beyond_any_speed_are_refused():
    with pytest.raises(ProfileError, match=r"load 1 with speed 1e\+308: expected numbers up to"):
        fit_speed([(1, 1e308), (2, 1e307), (3, 1e300), (4, 1.0)], "usl")
