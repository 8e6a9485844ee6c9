"""Who leads, who is behind, and means over cells, from made-up numbers."""

import math

import pytest
from leaderboard_cases import BIG, SMALL, made_board, made_cell

from sim.interval import Estimate
from sim.leaderboard.board import BEST_STATIC, Told

CELL = made_cell(
    "A",
    {
        SMALL: [10, 20, 30],
        BIG: [50, 40, 60],
        "saber": [56, 44, 65],
        "edf": [70, 20, 70],
        "sjf": [10, 12, 11],
    },
)


def test_static_sizes_are_one_row_the_best_of_them():
    assert list(CELL.rows) == [BEST_STATIC, "saber", "edf", "sjf"]
    assert CELL.rows[BEST_STATIC].policy == BIG


def test_the_best_leads_and_so_does_whom_noise_may_have_put_behind():
    # saber has the highest mean, 55; edf, 53.3, is ahead on two seeds and far behind on one;
    # the best static size is 5 behind on every seed, give or take one.
    assert CELL.leaders == ("saber", "edf")
    assert CELL.is_behind(BEST_STATIC, "saber")
    assert not CELL.is_behind("saber", BEST_STATIC)
    assert not CELL.is_behind("edf", "saber")


def test_leads_are_paired_by_seed():
    # By hand: 6, 4, 5; mean 5, standard error 1/sqrt(3), Student's t(2) at 97.5 %.
    lead = CELL.lead("saber", BEST_STATIC)
    half = 4.302652729911275 / math.sqrt(3)
    assert (lead.mean, lead.low, lead.high) == pytest.approx((5, 5 - half, 5 + half))


def test_with_one_seed_the_mean_alone_counts():
    cell = made_cell("A", {"saber": [50.0], "edf": [51.0], "sjf": [51.0]})
    assert cell.leaders == ("edf", "sjf")
    assert cell.is_behind("saber", "edf")


def test_the_board_is_ordered_by_the_mean_over_cells():
    board = made_board(
        made_cell("A", {BIG: [10, 10], "saber": [20, 30], "edf": [30, 30]}),
        made_cell("B", {BIG: [50, 60], "saber": [90, 90], "edf": [10, 30]}),
    )
    assert board.names == ("saber", BEST_STATIC, "edf")
    assert board.average("saber") == 57.5
    assert board.average(BEST_STATIC) == 32.5


def test_changes_are_means_over_the_cells_they_were_told_in():
    told = [
        Told("noisy lengths", "saber", "A", Estimate(-4.0, None, None)),
        Told("noisy lengths", "saber", "B", Estimate(-8.0, None, None)),
        Told("noisy lengths", "edf", "A", Estimate(1.0, None, None)),
    ]
    board = made_board(CELL, told=told)
    assert board.change("noisy lengths", "saber") == -6
    assert board.change("noisy lengths", "edf") == 1
    assert board.change("noisy lengths", "sjf") is None


def test_fairness_is_missing_where_there_are_no_groups():
    board = made_board(CELL)
    assert board.fairness("saber", "task") == pytest.approx(0.9)
    assert board.fairness("saber", "tenant") is None


def test_the_oracle_is_paired_on_the_seeds_it_was_asked_on():
    cell = made_cell(
        "A", {"saber": [50, 40, 0], "edf": [1, 2, 3]}, oracle=([60, 60, None], [70, 80, None])
    )
    assert cell.of_oracle("oracle best found").goodput_by_seed == (60, 60, None)
    assert cell.of_oracle("nobody") is None
