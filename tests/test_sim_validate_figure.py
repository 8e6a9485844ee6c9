"""Measured and simulated latencies over one another."""

import numpy as np
import pytest

from sim.validate.figure import plot_cdfs


def test_a_line_rises_from_0_to_1_at_the_latencies():
    ax = plot_cdfs(np.array([3.0, 1.0, np.nan, 2.0]), np.array([2.0]), "tpot")
    measured, simulated = ax.lines
    assert measured.get_xdata().tolist() == [1000, 1000, 2000, 3000]
    assert measured.get_ydata() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert simulated.get_xdata().tolist() == [2000, 2000]
    assert [line.get_label() for line in ax.lines] == ["measured", "simulated"]
    assert measured.get_linestyle() != simulated.get_linestyle()  # told apart in grey print too
    assert ax.get_xlabel() == "TPOT [ms]"


def test_it_draws_where_it_is_told_and_takes_a_side_without_any():
    from matplotlib.figure import Figure

    ax = Figure().add_subplot()
    assert plot_cdfs(np.array([1.0]), np.array([np.nan]), "e2e", ax) is ax
    assert len(ax.lines) == 1
