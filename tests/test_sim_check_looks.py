"""Looks: the error adds up, no look is wasted, and the last one keeps its power."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import t as student

from sim.check.looks import looks
from sim.check.verdict import Look

SPANS = [(20, 200), (25, 200), (10, 1000), (30, 40), (20, 70), (7, 8), (5, 100_000)]


@pytest.mark.parametrize(("first", "most"), SPANS)
def test_the_tails_add_up_to_the_whole(first, most):
    planned = looks(first, most, 0.0125)

    assert math.fsum(look.tail for look in planned) == pytest.approx(0.0125, rel=1e-12)
    assert all(look.tail > 0 for look in planned)


@pytest.mark.parametrize(("first", "most"), SPANS)
def test_looks_go_from_the_first_to_the_most_in_even_steps_near_a_doubling(first, most):
    seeds = [look.seeds for look in looks(first, most, 0.0125)]

    assert (seeds[0], seeds[-1]) == (first, most)
    steps = [after / before for before, after in pairwise(seeds)]
    assert max(steps) < 1.1 * min(steps)
    assert max(steps) <= 2**1.5 * 1.05
    assert most < 1.5 * first or min(steps) >= 1.35


def test_doubling_is_exact_where_it_can_be():
    assert [look.seeds for look in looks(25, 200, 0.05)] == [25, 50, 100, 200]


def test_without_more_seeds_one_look_has_all_of_it():
    assert looks(30, 30, 0.025) == (Look(30, 0.025),)


def power(planned, mean, rng, runs=20_000):
    """Return how often normal values are told from 0, and with how many seeds, by Student's t."""
    total, squares, before = np.zeros(runs), np.zeros(runs), 0
    decided, seeds = np.zeros(runs, dtype=bool), np.zeros(runs)
    for look in planned:
        new, before = look.seeds - before, look.seeds
        added = rng.normal(mean * new, math.sqrt(new), runs)
        total += added
        squares += added**2 / new + rng.chisquare(new - 1, runs)
        at = total / look.seeds
        error = np.sqrt((squares - look.seeds * at**2) / (look.seeds - 1) / look.seeds)
        seeds[~decided] += new
        decided |= np.abs(at) > student.ppf(1 - look.tail, look.seeds - 1) * error
    return decided.mean(), seeds.mean()


def test_a_difference_that_needs_all_seeds_is_told_more_often_than_by_doubling_in_proportion():
    shares = np.diff([0, 20, 40, 80, 160, 200]) / 200
    doubling = [Look(n, 0.025 * s) for n, s in zip((20, 40, 80, 160, 200), shares, strict=True)]
    rng = np.random.default_rng(1)

    told, seeds = power(looks(20, 200, 0.025), 0.2, rng)
    usual, usual_seeds = power(doubling, 0.2, rng)

    # Standard error of either: 0.3 %.
    assert told == pytest.approx(0.76, abs=0.012)
    assert usual == pytest.approx(0.67, abs=0.012)
    assert seeds < 1.1 * usual_seeds


def test_the_error_is_held_over_all_looks():
    wrong, _ = power(looks(20, 200, 0.025), 0.0, np.random.default_rng(2))

    assert wrong <= 0.05
