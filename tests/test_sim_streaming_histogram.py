"""Percentiles from bins are within the stated error of those from all numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.gaps import pooled_mean, pooled_percentiles
from sim.streaming.histogram import RELATIVE_ERROR, Histogram

PERCENT = (0, 1, 50, 90, 95, 99, 100)


def test_the_error_is_below_half_a_percent():
    assert RELATIVE_ERROR < 0.005


@given(st.lists(st.integers(1, 2**52), min_size=1, max_size=200), st.integers(1, 5))
def test_numbers_as_numpy_has_them(numbers, parts):
    histogram = Histogram()
    for part in np.array_split(np.array(numbers), parts):
        histogram.add(part)
    wanted = np.percentile(numbers, PERCENT)
    assert histogram.percentiles(PERCENT) == pytest.approx(wanted, rel=RELATIVE_ERROR * 1.0001)
    assert histogram.mean == pytest.approx(np.mean(numbers))
    assert histogram.count == len(numbers)


@given(
    st.lists(
        st.tuples(
            st.integers(1, 10**12), st.integers(1, 10**9), st.integers(1, 400), st.integers(1, 9)
        ),
        min_size=1,
        max_size=20,
    )
)
def test_rows_that_rise_as_if_written_out(rows):
    first, step, terms, weights = np.array(rows).T
    histogram = Histogram()
    histogram.add_rising(first, step, terms, weights)
    gaps = np.stack([first * 0, first, step, terms, weights], axis=1)
    wanted = pooled_percentiles(gaps, PERCENT)
    assert histogram.percentiles(PERCENT) == pytest.approx(wanted, rel=RELATIVE_ERROR * 1.0001)
    assert histogram.mean == pytest.approx(pooled_mean(gaps), rel=1e-12)
    assert histogram.count == terms @ weights


def test_weights_count_as_often():
    once, often = Histogram(), Histogram()
    once.add(np.array([5.0, 5, 5, 80]))
    often.add(np.array([5.0, 80]), np.array([3, 1]))
    assert once.percentiles(PERCENT) == often.percentiles(PERCENT)
    assert once.mean == often.mean == 23.75


def test_nothing_has_no_percentile():
    assert np.isnan(Histogram().percentiles(PERCENT)).all()
    assert np.isnan(Histogram().mean)
