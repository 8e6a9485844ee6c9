"""Verdicts: which of three, of which requirement, and how many seeds would settle it."""

import numpy as np
import pytest

from sim.check.bootstrap import LEAST_SEEDS
from sim.check.verdict import MOST_NEEDED, Look, judge


def judged(*slacks, tail=0.01, seed=0):
    arrays = [np.asarray(each, dtype=np.float64) for each in slacks]
    return judge(arrays, Look(len(arrays[0]), tail), np.random.default_rng(seed))


def noise(mean, count=50, seed=1):
    values = np.random.default_rng(seed).normal(size=count)
    return (values - values.mean()) / values.std(ddof=1) + mean


def test_an_interval_above_0_passes():
    verdict = judged(noise(1.0))

    assert verdict.outcome == "pass"
    assert 0 < verdict.low < verdict.mean < verdict.high
    assert verdict.mean == pytest.approx(1.0)
    assert (verdict.seeds, verdict.needed) == (50, None)


def test_an_interval_below_0_fails():
    verdict = judged(noise(-1.0))

    assert verdict.outcome == "fail"
    assert verdict.low < verdict.mean < verdict.high < 0
    assert verdict.needed is None


@pytest.mark.parametrize("mean", [0.2, -0.2])
def test_an_interval_around_0_needs_seeds(mean):
    verdict = judged(noise(mean))

    assert verdict.outcome == "inconclusive"
    assert verdict.low < 0 < verdict.high
    # ((2.326 + 0.842) / 0.2)^2, and what the interval is wider than one of normal values.
    assert 251 < verdict.needed < 320


@pytest.mark.parametrize("mean", [0.3, -0.3])
def test_the_seeds_that_are_needed_settle_it_mostly(mean):
    rng = np.random.default_rng(3)
    needed = judged(noise(mean)).needed
    settled = [judged(rng.normal(mean, 1, needed)).outcome != "inconclusive" for _ in range(60)]

    # Meant is 80 %; standard error 5 %.
    assert np.mean(settled) > 0.65


def test_seeds_are_not_asked_for_where_they_would_not_settle_it():
    assert judged(noise(0.0)).needed is None
    assert judged(noise(0.001)).needed is None
    assert judged(noise(0.02)).needed < MOST_NEEDED


def test_more_seeds_are_needed_than_there_are():
    rng = np.random.default_rng(4)
    for _ in range(40):
        verdict = judged(rng.exponential(size=8) - rng.choice([0.0, 1.0, 2.0]))
        assert verdict.outcome != "inconclusive" or verdict.needed is None or verdict.needed >= 12


def test_too_few_seeds_ask_for_the_least():
    verdict = judged([1.0] * (LEAST_SEEDS - 1))

    assert (verdict.outcome, verdict.needed) == ("inconclusive", LEAST_SEEDS)


@pytest.mark.parametrize(("slack", "outcome"), [(0.0, "pass"), (2.0, "pass"), (-0.5, "fail")])
def test_equal_values_are_decided_at_once(slack, outcome):
    verdict = judged([slack] * LEAST_SEEDS)

    assert (verdict.outcome, verdict.low, verdict.high) == (outcome, slack, slack)


def test_one_broken_requirement_breaks_all_and_is_the_one_told():
    for slacks in ((noise(2.0), noise(-2.0)), (noise(-2.0), noise(2.0)), (noise(-2.0), noise(0.1))):
        verdict = judged(*slacks)
        assert verdict.outcome == "fail"
        assert verdict.mean == pytest.approx(-2.0)


def test_all_requirements_have_to_hold_and_the_closest_is_told():
    verdict = judged(noise(5.0), noise(1.0), noise(3.0))

    assert verdict.outcome == "pass"
    assert verdict.mean == pytest.approx(1.0)


def test_an_undecided_requirement_leaves_all_undecided():
    verdict = judged(noise(5.0), noise(0.2))

    assert verdict.outcome == "inconclusive"
    assert verdict.mean == pytest.approx(0.2)


def test_of_undecided_requirements_the_one_that_seems_broken_is_told():
    wide = 10 * noise(0.2)
    for slacks in ((wide, noise(-0.2)), (noise(-0.2), wide)):
        assert judged(*slacks).mean == pytest.approx(-0.2)


def test_the_order_of_the_seeds_does_not_matter():
    values = np.random.default_rng(5).exponential(size=60) - 0.8
    verdicts = {judged(order, seed=7) for order in (values, values[::-1], np.sort(values))}

    assert len(verdicts) == 1
