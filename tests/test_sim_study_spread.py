"""Means over seeds, their intervals, and the band of single runs."""

import numpy as np
import pytest

from sim.study.spread import PERCENT, spread


def test_the_interval_is_students_and_the_band_is_of_single_runs():
    columns = spread(np.array([[40.0, 50.0, 60.0], [7.0, 7.0, 7.0]]), "goodput_pct")

    assert list(columns) == ["goodput_pct", "low", "high", "band_low", "band_high"]
    assert columns["goodput_pct"].tolist() == [50, 7]
    half = 4.302653 * 10 / np.sqrt(3)  # t of two degrees of freedom at 97.5 %
    assert columns["low"] == pytest.approx([50 - half, 7], abs=1e-5)
    assert columns["high"] == pytest.approx([50 + half, 7], abs=1e-5)
    assert columns["band_low"] == pytest.approx([40.5, 7])
    assert columns["band_high"] == pytest.approx([59.5, 7])


def test_an_interval_ends_where_values_can_be():
    columns = spread(np.array([[0.0, 100.0]]), "goodput_pct", PERCENT)

    assert (columns["low"][0], columns["high"][0]) == (0, 100)


def test_one_seed_has_a_mean_and_nothing_else():
    columns = spread(np.array([[40.0], [50.0]]), "value")

    assert columns.pop("value").tolist() == [40, 50]
    assert all(np.isnan(column).all() for column in columns.values())
