"""The interval of a mean: as resampling gives it, and wide where the values say little."""

import math
import tracemalloc

import numpy as np
import pytest
from scipy.stats import beta
from scipy.stats import t as student

from sim.check.bootstrap import LEAST_SEEDS, mean_interval


def interval(values, tail=0.01, seed=0):
    return mean_interval(np.asarray(values, dtype=np.float64), tail, np.random.default_rng(seed))


def by_student(values, tail):
    half = student.ppf(1 - tail, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return values.mean() - half, values.mean() + half


def plainly(values, tail, resamples=400_000):
    """Return the upper end from plain resamples of the values and one more."""
    _, at_least = by_student(values, tail)
    values = np.append(values, values.mean() + np.abs(values - values.mean()).max())
    rng = np.random.default_rng(9)
    count = len(values)
    found = []
    for _ in range(resamples // 20_000):
        drawn = values[rng.integers(count, size=(20_000, count))]
        error = drawn.std(axis=1, ddof=1) / math.sqrt(count)
        found.append((drawn.mean(axis=1) - values.mean()) / error)
    below = np.quantile(np.concatenate(found), tail)
    return max(at_least, values.mean() - below * values.std(ddof=1) / math.sqrt(count))


DRAWS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "skewed up": lambda rng, n: rng.exponential(size=n),
    "skewed down": lambda rng, n: -rng.lognormal(size=n),
    "heavy tails": lambda rng, n: rng.standard_t(3, size=n),
    "whole numbers": lambda rng, n: rng.binomial(5, 0.5, size=n) * 1.0,
}


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize(("tail", "within"), [(0.0125, 0.015), (0.001, 0.04)])
def test_an_end_is_what_plain_resampling_gives(draw, tail, within):
    values = DRAWS[draw](np.random.default_rng(1), 14)
    low, high = np.mean([interval(values, tail, seed) for seed in range(10)], axis=0)
    mean = values.mean()

    assert high - mean == pytest.approx(plainly(values, tail) - mean, rel=within)
    assert mean - low == pytest.approx(plainly(-values, tail) + mean, rel=within)


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("count", [6, 20, 200])
@pytest.mark.parametrize("tail", [0.2, 0.0125, 1e-5])
def test_it_is_never_narrower_than_students(draw, count, tail):
    values = DRAWS[draw](np.random.default_rng(2), count)
    low, high = interval(values, tail)
    student_low, student_high = by_student(values, tail)

    rounding = 1e-12 * (student_high - student_low)
    assert low <= student_low + rounding
    assert high >= student_high - rounding


def test_many_normal_values_have_about_students_interval():
    values = np.random.default_rng(3).normal(size=200)
    low, high = interval(values, 0.0125)
    student_low, student_high = by_student(values, 0.0125)

    assert 1.0 < (high - low) / (student_high - student_low) < 1.15


def test_skewed_values_have_more_room_where_their_tail_is():
    values = np.random.default_rng(4).lognormal(size=60)
    low, high = interval(values)

    assert high - values.mean() > 1.3 * (values.mean() - low)


def test_a_smaller_tail_is_a_wider_interval():
    values = np.random.default_rng(5).exponential(size=50)
    widths = [np.diff(interval(values, tail))[0] for tail in (0.05, 0.01, 1e-3, 1e-4, 1e-5)]

    assert widths == sorted(widths)
    assert len(set(widths)) == 5


def test_it_moves_and_stretches_with_the_values():
    values = np.random.default_rng(6).exponential(size=30)
    low, high = interval(values)
    moved = interval(4 * values - 64)

    assert moved == pytest.approx((4 * low - 64, 4 * high - 64), rel=1e-9)


def test_it_is_mirrored_with_the_values():
    values = np.random.default_rng(7).exponential(size=80)
    low, high = interval(values)
    mirrored_low, mirrored_high = interval(-values)

    half = (high - low) / 2
    assert -mirrored_high == pytest.approx(low, abs=0.05 * half)
    assert -mirrored_low == pytest.approx(high, abs=0.05 * half)


def test_it_hangs_on_values_and_seed_alone():
    values = np.random.default_rng(8).normal(size=40)

    assert interval(values) == interval(values[::-1]) == interval(np.sort(values))
    assert interval(values, seed=1) != interval(values, seed=2)


def test_resamples_change_it_little():
    values = np.random.default_rng(9).exponential(size=40)
    ends = np.array([interval(values, 1e-3, seed) for seed in range(20)])

    assert (ends.std(axis=0) < 0.03 * np.diff(ends.mean(axis=0))).all()


@pytest.mark.parametrize("value", [0.0, 1.0, -2.5, 1 / 3])
def test_equal_values_are_a_point(value):
    assert interval([value] * LEAST_SEEDS) == (value, value)


@pytest.mark.parametrize("values", [[], [1.0], [1.0] * (LEAST_SEEDS - 1), [1.0, 2.0, 3.0, 4.0]])
def test_few_values_bound_nothing(values):
    assert interval(values) == (-math.inf, math.inf)


def test_one_value_among_many_equal_ones_leaves_an_interval():
    low, high = interval([1.0] * 199 + [0.0])

    share = beta.ppf(0.99, 2, 199)  # Clopper and Pearson, 1 of 200
    assert low == pytest.approx(1 - share)
    assert 1 < high < 1.05


def test_a_few_gains_do_not_show_that_there_are_no_losses():
    low, _ = interval([0.0] * 23 + [1.0] * 2, 0.005)

    assert low < 0


def test_two_values_far_apart_bound_nothing_where_resamples_are_often_without_spread():
    low, high = interval([-1.0, -1.0, 0.5, 1.0, 1.0], 0.001)

    assert (low, high) == (-math.inf, math.inf)


def test_a_value_that_is_the_mean_itself_does_no_harm():
    low, high = interval([-1.0, 0.0, 1.0, -2.0, 2.0], 0.01)

    assert low < 0 < high
    assert not math.isnan(low + high)


def test_memory_does_not_grow_with_the_values():
    values = np.random.default_rng(10).normal(size=5_000)
    tracemalloc.start()
    try:
        interval(values)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 15e6  # all resamples at once: 80 MB for each of their terms
