"""Scores by hand, and a perfect simulator that scores what it should."""

import numpy as np
import pytest
from scipy import stats

from sim.study.scores import band, judge, noise, score

RUNS = np.array([40.0, 50.0, 60.0])


def test_the_error_is_the_simulated_mean_less_the_published_run():
    found = score([judge(RUNS, 47.0), judge(RUNS, 56.0)])

    assert found.cells == 2
    assert found.mae_points == pytest.approx((3 + 6) / 2)
    assert found.bias_points == pytest.approx((3 - 6) / 2)


def test_noise_holds_each_run_against_the_others():
    cell = judge(RUNS, 47.0)

    # 40 against the mean of 50 and 60, 50 against that of 40 and 60, 60 against that of 40 and 50.
    assert cell.own_errors_points.tolist() == [15, 0, -15]
    found = noise([cell])
    assert found.mae_points == pytest.approx(10)
    assert found.bias_points == 0
    reach = 1.96 * np.std([15, 0, 15], ddof=1)
    assert found.mae_low_points == max(0, 10 - reach)
    assert found.mae_high_points == pytest.approx(10 + reach)
    assert found.bias_reach_points == pytest.approx(1.96 * 15)
    # Only the middle run is between the two others.
    assert (found.inside_pct, found.strictly_inside_pct) == pytest.approx((100 / 3, 100 / 3))


def test_ranges_shrink_with_the_root_of_the_number_of_cells():
    one, four = noise([judge(RUNS, 0.0)]), noise([judge(RUNS, 0.0)] * 4)

    assert four.mae_points == one.mae_points
    assert four.mae_high_points - four.mae_points == pytest.approx(
        (one.mae_high_points - one.mae_points) / 2
    )
    assert four.bias_reach_points == pytest.approx(one.bias_reach_points / 2)


@pytest.mark.parametrize(
    ("published", "inside", "strictly"),
    [(50, 100, 100), (59.5, 100, 100), (60.4, 100, 0), (60.6, 0, 0), (39.6, 100, 0), (39, 0, 0)],
)
def test_one_point_outside_the_band_still_counts_as_inside(published, inside, strictly):
    low, high = band(RUNS)
    assert (low, high) == pytest.approx((40.5, 59.5))

    found = score([judge(RUNS, float(published))])
    assert (found.inside_pct, found.strictly_inside_pct) == (inside, strictly)


def test_one_seed_has_an_error_and_nothing_else():
    cells = [judge(np.array([40.0]), 47.0)]

    assert score(cells).mae_points == 7
    assert score(cells).inside_pct is score(cells).strictly_inside_pct is None
    assert noise(cells) is None


def test_a_perfect_simulator_scores_the_noise():
    """Published runs drawn as the simulated ones are: the scores agree within their own error."""
    rng = np.random.default_rng(0)
    chances = rng.uniform(0.2, 0.8, size=(2000, 1))
    simulated = rng.binomial(100, chances, size=(2000, 60)).astype(float)
    published = rng.binomial(100, chances[:, 0]).astype(float)
    cells = [judge(runs, one) for runs, one in zip(simulated, published, strict=True)]
    found, perfect = score(cells), noise(cells)

    assert perfect.mae_low_points < found.mae_points < perfect.mae_high_points
    assert abs(found.bias_points) < perfect.bias_reach_points
    # Mean of |a single run less a mean of 60|, in theory.
    sigma = 100 * np.sqrt(chances * (1 - chances) / 100)
    theory = np.sqrt(2 / np.pi) * np.mean(sigma * np.sqrt(1 + 1 / 59))
    assert perfect.mae_points == pytest.approx(theory, rel=0.01)
    for mine, ideal in (
        (found.inside_pct, perfect.inside_pct),
        (found.strictly_inside_pct, perfect.strictly_inside_pct),
    ):
        share = ideal / 100
        assert abs(mine - ideal) < 100 * 4 * np.sqrt(share * (1 - share) / 2000)
    assert 90 < perfect.strictly_inside_pct < perfect.inside_pct


def test_ranges_hold_as_often_as_they_say():
    rng = np.random.default_rng(1)
    simulated = rng.normal(50, rng.uniform(1, 9, size=(60, 1)), size=(60, 60))
    perfect = noise([judge(runs, 50.0) for runs in simulated])
    sigma = simulated.std(axis=1, ddof=1)
    errors = simulated.mean(axis=1) - rng.normal(50, sigma, size=(4000, 60))
    mae, bias = np.abs(errors).mean(axis=1), errors.mean(axis=1)

    within = [
        np.mean((perfect.mae_low_points < mae) & (mae < perfect.mae_high_points)),
        np.mean(np.abs(bias) < perfect.bias_reach_points),
    ]
    # 95 %, give or take what 60 seeds leave open about the noise itself.
    low, high = stats.binom.ppf([1e-4, 1 - 1e-4], 4000, 0.95) / 4000
    assert all(low - 0.02 < share < high + 0.02 for share in within)
