"""Errors and intervals of a cost's numbers."""

import pytest

from calibrate.quality import FitError, checked_intervals, coefficients, over_limit
from calibrate.schema import ProfileError
from calibrate.steptime import PiecewiseLinear, StepCost

COST = StepCost(
    PiecewiseLinear((1.0, 2.0, 4.0), (0.01, 0.011, 0.013)),
    PiecewiseLinear((1.0, 4.0), (1e-7, 2e-7)),
    PiecewiseLinear((16.0, 256.0), (0.01, 0.02)),
    1e-10,
)


def test_the_error_of_a_fit_by_hand():
    # The 95th percentile of 21 values, linear between them, is the 20th.
    assert FitError.of([*[1.0] * 19, 4.0, 8.5]) == FitError(mape=31.5 / 21, p95=4.0, max=8.5)
    assert FitError.of([3.0]) == FitError(3.0, 3.0, 3.0)


def test_only_mean_errors_over_five_percent_count():
    errors = {"decode": FitError(5.0, 50, 90), "mixed": FitError(5.1, 6, 7)}
    assert over_limit(errors) == {"mixed": 5.1}


def test_the_coefficients_are_those_of_the_file():
    assert coefficients(COST) == {
        "cost.decode.step_s": (0.01, 0.011, 0.013),
        "cost.decode.context_token_s": (1e-7, 2e-7),
        "cost.prefill.step_s": (0.01, 0.02),
        "cost.prefill.attention_token2_s": (1e-10,),
    }


def test_intervals_become_pairs_of_floats():
    given = {"cost.prefill.step_s": [[0, 1], (2, 3)]}
    assert checked_intervals(given, COST) == {"cost.prefill.step_s": ((0.0, 1.0), (2.0, 3.0))}


@pytest.mark.parametrize(
    ("intervals", "message"),
    [
        ({"cost.prefill": []}, "intervals has the unknown key 'cost.prefill'"),
        ({"cost.prefill.step_s": [[0, 1]]}, "intervals.cost.prefill.step_s has 1 pairs, expected"),
        ({"cost.prefill.step_s": [[0, 1], [3, 2]]}, r"step_s\[1\]\[1\] is 2, expected a finite nu"),
    ],
)
def test_intervals_of_another_cost_are_refused(intervals, message):
    with pytest.raises(ProfileError, match=message):
        checked_intervals(intervals, COST)
