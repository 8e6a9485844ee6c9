"""Who wins and who loses, in words from made-up numbers."""

from leaderboard_cases import BIG, made_board, made_cell

from sim.interval import Estimate
from sim.leaderboard.board import Told
from sim.leaderboard.words import words

WON = made_cell("won", {BIG: [40, 41, 42], "saber": [60, 61, 63], "edf": [50, 50, 52]})
LOST = made_cell("lost", {BIG: [40, 41, 43], "saber": [20, 22, 21], "edf": [50, 52, 50]})
OPEN = made_cell("open", {BIG: [40, 60, 50], "saber": [50, 50, 51], "edf": [30, 30, 30]})


def said(*cells, **others):
    return words(made_board(*cells, **others))


def test_who_wins_in_how_many_cells():
    text = said(WON, LOST, OPEN)
    assert (
        "SABER is best, or not told apart from the best, in 2 of 3 cells; it alone in 1 cell (won)."
    ) in text
    assert (
        "edf is best, or not told apart from the best, in 1 of 3 cells; it alone in 1 cell (lost)."
    ) in text
    assert "Never alone, but not told apart from the best: in 1 cell (best static)." in text


def test_saber_against_the_best_static_size():
    assert (
        "SABER beats the best static size of a cell in 1 cell (won), loses to it in 1 cell (lost), "
        "and can not be told apart from it in 1 cell (open)."
    ) in said(WON, LOST, OPEN)


def test_where_saber_loses_and_to_whom():
    text = said(WON, LOST, OPEN)
    # By hand: 30, 30, 29, mean 29.7, Student's t(2) at 97.5 % times a standard error of 1/3.
    assert (
        "SABER loses in lost: to edf by 29.7 points (95 % interval 28.2 to 31.1), and to best "
        "static."
    ) in text
    assert not any(line.startswith("SABER loses in won") for line in text)
    assert not any(line.startswith("SABER loses in open") for line in text)


def test_where_saber_never_loses_that_is_said():
    assert "SABER loses nowhere: no other policy is ahead of it by more than noise." in said(WON)


def test_without_saber_nothing_is_said_of_it():
    cell = made_cell("A", {"edf": [50, 52, 51], "sjf": [40, 41, 42]})
    assert not any("SABER" in line for line in said(cell))


def test_what_is_left_to_gain_and_who_gains_it():
    cell = made_cell(
        "A",
        {"saber": [50, 52, 70], "saber+": [70, 68, 70], "edf": [40, 40, 40]},
        oracle=([90, 88, None], [100, 94, None]),
    )
    text = said(cell, oracle_seeds=2)
    # Gaps: saber 40 and 36, mean 38; saber+ 20 and 20, so 18 of 38 are closed; the cap is 46 off.
    assert (
        "Left to gain: the best schedule found by one who knows everything is 38.0 points above "
        "SABER on average, at most 38.0 (A); the provable cap is 46.0 above it."
    ) in text
    assert (
        "Where that gap exceeds 5 points (1 cell), saber+ closes 47 % of it on average, more than "
        "any other policy."
    ) in text
    assert any(line.startswith("The oracle was asked on the first 2 of 3 seeds") for line in text)


def test_small_gaps_are_not_shared_out():
    cell = made_cell("A", {"saber": [90, 92], "saber+": [91, 92]}, oracle=([93, 94], [100, 100]))
    text = said(cell, oracle_seeds=2)
    assert any("is 2.5 points above SABER" in line for line in text)
    assert not any("closes" in line for line in text)


def test_what_an_untruth_costs():
    told = [
        Told("noisy lengths", "saber", "won", Estimate(-4.0, None, None)),
        Told("noisy lengths", "edf", "won", Estimate(-9.0, None, None)),
    ]
    assert (
        "Told wrong (noisy lengths: made-up noise): edf loses most, -9.0 points; SABER -4.0."
    ) in said(WON, told=told)


def test_an_untruth_that_costs_nobody_anything():
    told = [Told("noisy lengths", "saber", "won", Estimate(0.0, None, None))]
    assert "Told wrong (noisy lengths: made-up noise): nobody loses by it." in said(WON, told=told)


def test_caveats():
    several = said(WON)
    assert any("after the fact" in line for line in several)
    assert any("of twenty such differences" in line for line in several)
    one = said(made_cell("A", {BIG: [40], "saber": [60]}))
    assert any(line.startswith("One seed has no interval") for line in one)
    assert not any("of twenty" in line for line in one)
