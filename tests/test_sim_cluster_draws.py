"""Distributions of times: what a text means, and that what is drawn has the moments it names."""

from __future__ import annotations

import numpy as np
import pytest

from sim.cluster.draws import Constant, Exponential, LogNormal, Uniform, parse_draw
from sim.options import OptionError

N = 40_000


@pytest.mark.parametrize(
    ("text", "draw"),
    [
        ("2.5", Constant(2.5)),
        ("0", Constant(0)),
        (" 3 ", Constant(3)),
        ("constant(2.5)", Constant(2.5)),
        ("exponential(2)", Exponential(2)),
        ("exponential(mean=2)", Exponential(2)),
        ("lognormal(mean=2, cv=1)", LogNormal(2, 1)),
        ("lognormal(2, 1)", LogNormal(2, 1)),
        ("uniform(1, 3)", Uniform(1, 3)),
        ("uniform(1, 1)", Uniform(1, 1)),
    ],
)
def test_what_a_text_means(text, draw):
    assert parse_draw("think", text) == draw


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "think distribution '': expected a name such as constant"),
        ("-1", "think=-1: expected times from 0 to 9e6 s, not -1.0"),
        ("nan", "think=nan: expected times from 0 to 9e6 s, not nan"),
        ("inf", "think=inf: expected times from 0 to 9e6 s, not inf"),
        ("9e6", "not 9000000.0"),
        ("exponential", "mean is missing: expected exponential(mean=...)"),
        ("exponential(-1)", "think=exponential(-1): expected times from 0 to 9e6 s, not -1"),
        ("exponential(None)", "not None"),
        ("exponential(x)", "not 'x'"),
        ("exponential(True)", "not True"),
        ("exponential(1, 2)", "2 values for 1 parameters (mean)"),
        ("lognormal(2)", "cv is missing"),
        ("lognormal(2, cv=-1)", "not -1"),
        ("uniform(3, 1)", "think=uniform(3, 1): expected low up to high"),
        ("exponental(2)", "did you mean 'exponential'?"),
        ("gamma(2)", "expected one of exponential, lognormal, uniform, constant"),
        ("exponential(2", "expected a name such as constant"),
        ("__import__('os')", "unknown think distribution"),
    ],
)
def test_what_can_not_be_meant_is_one_clear_line(text, message):
    with pytest.raises(OptionError) as error:
        parse_draw("think", text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("draw", "mean", "cv"),
    [
        (Exponential(2.0), 2.0, 1.0),
        (LogNormal(3.0, 0.5), 3.0, 0.5),
        (Uniform(1.0, 4.0), 2.5, 3 / 12**0.5 / 2.5),  # width / sqrt(12)
    ],
)
def test_mean_and_coefficient_of_variation(draw, mean, cv):
    """Within four standard errors, those of the spread from independent batches."""
    batches = draw(N, np.random.default_rng(0)).reshape(40, -1)
    means, cvs = batches.mean(1), batches.std(1) / batches.mean(1)
    for found, expected in ((means, mean), (cvs, cv)):
        error = found.std(ddof=1) / np.sqrt(len(found))
        assert error < 0.02 * expected
        # A batch of 1000 underestimates the spread of a skewed distribution by about 1 %.
        slack = 0.015 * expected if found is cvs and isinstance(draw, LogNormal) else 0
        assert abs(found.mean() - expected) < 4 * error + slack


@pytest.mark.parametrize(("mean", "cv"), [(0.2, 1.5), (3.0, 0.5)])
def test_the_logarithm_of_a_log_normal_is_normal(mean, cv):
    variance = np.log(1 + cv**2)
    logs = np.log(LogNormal(mean, cv)(N, np.random.default_rng(2)))
    assert abs(logs.mean() - (np.log(mean) - variance / 2)) < 4 * np.sqrt(variance / N)
    assert abs(logs.var() - variance) < 4 * variance * np.sqrt(2 / N)


def test_shapes_beyond_two_moments():
    rng = np.random.default_rng(1)
    # P(X > 2 mean) of an exponential is exp(-2); four standard errors of a share.
    share = (Exponential(5.0)(N, rng) > 10).mean()
    p = np.exp(-2)
    assert abs(share - p) < 4 * np.sqrt(p * (1 - p) / N)
    # The median of a log-normal is mean / sqrt(1 + cv^2).
    share = (LogNormal(2.0, 1.0)(N, rng) > 2 / np.sqrt(2)).mean()
    assert abs(share - 0.5) < 4 * np.sqrt(0.25 / N)
    drawn = Uniform(1.0, 3.0)(N, rng)
    assert drawn.min() >= 1
    assert drawn.max() <= 3
    assert abs((drawn > 2.5).mean() - 0.25) < 4 * np.sqrt(0.1875 / N)


def test_what_does_not_vary():
    rng = np.random.default_rng(0)
    assert Constant(2)(3, rng).tolist() == [2.0, 2.0, 2.0]
    assert LogNormal(2.0, 0.0)(3, rng).tolist() == pytest.approx([2.0] * 3)
    assert LogNormal(0.0, 1.0)(3, rng).tolist() == [0.0] * 3
    assert Exponential(0.0)(2, rng).tolist() == [0.0, 0.0]


def test_the_same_stream_gives_the_same_times():
    for draw in (Exponential(2), LogNormal(2, 1), Uniform(1, 3)):
        first, again = (draw(50, np.random.default_rng(7)) for _ in range(2))
        assert (first == again).all()
        assert len(set(first)) == 50
