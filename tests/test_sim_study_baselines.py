"""The best static size of single runs, and the one that is chosen on other seeds."""

import numpy as np
import pytest
from study_cases import runs_of, size_of

from sim.study.baselines import (
    fair_static_pct,
    saber_cells,
    static_cells,
    studies,
    variation_pct,
)
from sim.study.runs import RATES, SIZES, Cell

CELLS = (*saber_cells("W1"), *static_cells("W1"), *static_cells("W1", "poisson"))


def two_lucky_sizes(cell):
    """Two sizes are equally good and each lucky on one of two seeds; the others never are."""
    return {None: 70, 10: [40, 60], 20: [60, 40]}.get(size_of(cell), 10)


def test_static_cells_go_through_the_sizes_of_one_rate_after_the_other():
    cells = static_cells("W3", "poisson")

    assert cells[0] == Cell("W3", 1.0, "static(10)", "poisson")
    assert cells[11] == Cell("W3", 2.0, "static(20)", "poisson")
    assert len(cells) == len(RATES) * len(SIZES)


def test_every_cell_of_a_study_has_a_run_of_its_own():
    one = studies(runs_of(CELLS, two_lucky_sizes), "W1")

    assert one.saber_pct.shape == one.static_pct.shape == (len(RATES), 2)
    # On one seed both would never be unlucky together, and the best would always have 60.
    assert np.sort(one.static_pct, axis=1).tolist() == [[40, 60]] * len(RATES)


def test_the_study_reads_ratios_from_the_very_runs_it_picked():
    def ratio(cell):
        return {None: 3, 10: [1, 2], 20: [2, 1]}.get(size_of(cell), 9)

    one = studies(runs_of(CELLS, two_lucky_sizes, ratio=ratio, std=0.25), "W1")

    assert (one.static_ratio == np.where(one.static_pct == 60, 2, 1)).all()
    assert (one.saber_ratio == 3).all()
    assert (one.saber_ratio_std == 0.25).all()
    assert (one.static_ratio_std == 0.25).all()


def test_of_equal_sizes_the_smallest_is_best():
    runs = runs_of(CELLS, lambda cell: 100, ratio=lambda cell: size_of(cell) or 0)

    assert (studies(runs, "W1").static_ratio == 10).all()


def test_the_fair_size_is_chosen_on_other_seeds_than_it_is_judged_on():
    goodput, sizes = fair_static_pct(runs_of(CELLS, two_lucky_sizes), "W1")

    # The lucky size of one seed is the unlucky one of the other.
    assert goodput.tolist() == [[40, 40]] * len(RATES)
    assert sizes.tolist() == [[10, 20]] * len(RATES)


def test_the_fair_size_is_that_of_the_best_mean_of_every_other_seed():
    def goodput(cell):
        # Size 30 is the best on the first and third seed, size 40 on the second and fourth.
        return {30: [80, 11, 60, 12], 40: [79, 90, 59, 30]}.get(size_of(cell), 0)

    fair, sizes = fair_static_pct(runs_of(CELLS, goodput, seeds=4), "W1")

    assert sizes[0].tolist() == [40, 30, 40, 30]
    assert fair[0].tolist() == [79, 11, 59, 12]


def test_the_fair_size_runs_on_the_arrivals_of_saber():
    runs = runs_of(CELLS, lambda cell: 80 if cell.arrivals == "poisson" else 20)

    assert (fair_static_pct(runs, "W1")[0] == 80).all()
    assert (studies(runs, "W1").static_pct == 20).all()


def test_one_seed_leaves_none_to_choose_on():
    with pytest.raises(ValueError, match="one seed"):
        fair_static_pct(runs_of(CELLS, lambda cell: 50, seeds=1), "W1")


def test_variation_is_the_population_deviation_over_the_rates_by_their_mean():
    ratios = np.array([[1.0, 2.0], [3.0, 2.0]])

    assert variation_pct(ratios).tolist() == [50, 0]
