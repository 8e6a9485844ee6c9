"""The cost of one step: tables, their ends, and how decode and prefill make a mixed step."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrate.profile import ProfileError
from calibrate.steptime import PiecewiseLinear, StepCost

COST = StepCost(
    decode_fixed=PiecewiseLinear((1.0, 8.0, 64.0), (0.010, 0.010, 0.024)),
    decode_context=PiecewiseLinear((1.0, 8.0), (2e-7, 1e-7)),
    prefill=PiecewiseLinear((16.0, 256.0, 1024.0), (0.010, 0.010, 0.040)),
    attention_token2_s=1e-10,
    engine_overhead_s=0.001,
)


def test_points_are_met_exactly_and_joined_by_straight_lines():
    table = PiecewiseLinear((1.0, 3.0, 7.0), (10.0, 20.0, 60.0))
    assert [table(x) for x in (1, 3, 7)] == [10.0, 20.0, 60.0]
    assert table(2) == 15.0
    assert table(5) == 40.0


def test_beyond_the_points_a_rise_continues_and_a_fall_does_not():
    assert PiecewiseLinear((1.0, 2.0), (1.0, 3.0))(5) == 9.0
    assert PiecewiseLinear((1.0, 2.0), (3.0, 1.0))(50) == 1.0
    assert PiecewiseLinear((4.0,), (7.0,))(0) == PiecewiseLinear((4.0,), (7.0,))(99) == 7.0


def test_below_the_points_the_first_slope_continues_but_not_under_zero():
    assert PiecewiseLinear((2.0, 4.0), (5.0, 7.0))(1) == 4.0
    assert PiecewiseLinear((2.0, 4.0), (5.0, 1.0))(1) == 7.0
    assert PiecewiseLinear((10.0, 11.0), (2.0, 4.0))(1) == 0.0


tables = st.lists(
    st.tuples(st.floats(0, 1e4), st.floats(0, 1e3)),
    min_size=1,
    max_size=6,
    unique_by=lambda p: p[0],
).map(sorted)


@given(tables, st.lists(st.floats(0, 3e4), min_size=1))
def test_array_and_scalar_values_are_the_same_numbers(points, xs):
    table = PiecewiseLinear(*map(tuple, zip(*points, strict=True)))
    with np.errstate(all="ignore"):  # points a denormal apart have infinite slopes
        values = table.at(np.array(xs))
    np.testing.assert_array_equal(values, [table(x) for x in xs])


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ((1.0, 1.0), (1.0, 2.0), r"x\[1\] is 1\.0, expected more than the one before it, 1"),
        ((2.0, 1.0), (1.0, 2.0), r"x\[1\] is 1\.0"),
        ((1.0,), (1.0, 2.0), "y has 2 numbers, expected 1"),
        ((), (), r"x is \(\), expected at least one number"),
        ((-1.0,), (1.0,), r"x\[0\] is -1\.0, expected a finite number >= 0"),
        ((1.0,), (float("nan"),), r"y\[0\] is nan, expected a finite number"),
    ],
)
def test_points_that_are_no_table_are_refused(x, y, message):
    with pytest.raises(ProfileError, match=message):
        PiecewiseLinear(x, y)


def test_decode_is_affine_in_context_and_holds_the_engine_overhead():
    a, c = COST.decode_coefficients(36)
    assert a == pytest.approx(0.017 + 0.001)
    assert c == 1e-7
    assert COST.decode_s(36, 5000) == a + c * 5000


def test_prefill_adds_attention_and_overhead_to_the_table():
    assert COST.prefill_s(640, 2e6) == pytest.approx(0.025 + 2e-4 + 0.001)


def test_a_chunk_that_fits_under_the_flat_part_costs_a_decode_step_nothing():
    assert COST.mixed_s(8, 4000, 248) == COST.decode_s(8, 4000)


def test_beyond_the_flat_part_a_chunk_costs_what_the_table_rises():
    # The decodes take room in the flat part: the chunk pays for what both together rise.
    extra = COST.mixed_s(8, 4000, 640, 1e6) - COST.decode_s(8, 4000)
    assert COST.prefill_s(8) == COST.prefill_s(1)
    assert extra == pytest.approx(COST.prefill_s(648) - COST.prefill_s(8) + 1e-10 * 1e6)
    rise = COST.mixed_s(300, 4000, 256) - COST.decode_s(300, 4000)
    assert rise == pytest.approx(256 * 0.030 / 768)


def test_a_mixed_step_pays_the_engine_overhead_once():
    without = StepCost(COST.decode_fixed, COST.decode_context, COST.prefill, 1e-10, 0.0)
    assert COST.mixed_s(4, 100, 640) - without.mixed_s(4, 100, 640) == pytest.approx(0.001)


def test_a_mixed_step_with_one_half_empty_is_the_other_half():
    assert COST.mixed_s(0, 0, 640, 1e6) == COST.prefill_s(640, 1e6)
    assert COST.mixed_s(8, 4000, 0) == COST.decode_s(8, 4000)


def test_an_unknown_engine_overhead_counts_as_zero():
    cost = StepCost.affine(decode_s=0.01, prefill_s=0.002, engine_overhead_s=None)
    assert cost.engine_overhead_s is None
    assert cost.decode_s(3, 100) == 0.01
    assert cost.prefill_s(3) == 0.002


def test_the_overhead_of_a_request_is_paid_for_each_decoded_sequence_and_for_no_prompt():
    cost = replace(COST, engine_overhead_request_s=1e-4)
    assert cost.decode_coefficients(36)[0] == pytest.approx(COST.decode_coefficients(36)[0] + 36e-4)
    assert cost.decode_coefficients(36)[1] == COST.decode_coefficients(36)[1]
    assert cost.mixed_s(8, 4000, 640) - COST.mixed_s(8, 4000, 640) == pytest.approx(8e-4)
    assert cost.prefill_s(640, 2e6) == COST.prefill_s(640, 2e6)
    assert cost.mixed_s(0, 0, 640, 2e6) == COST.prefill_s(640, 2e6)


def test_affine_is_the_straight_lines_it_names():
    cost = StepCost.affine(
        decode_s=0.01,
        sequence_s=1e-4,
        context_token_s=1e-7,
        prefill_s=0.002,
        prompt_token_s=1e-5,
        attention_token2_s=1e-9,
        engine_overhead_s=0.003,
        engine_overhead_request_s=2e-5,
    )
    assert cost.decode_s(50, 1000) == pytest.approx(0.01 + 50e-4 + 1e-4 + 0.003 + 50 * 2e-5)
    assert cost.prefill_s(700, 1e5) == pytest.approx(0.002 + 7e-3 + 1e-4 + 0.003)


LINE = PiecewiseLinear((1.0,), (0.01,))
ZERO = PiecewiseLinear((1.0,), (0.0,))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((ZERO, ZERO, LINE), r"cost\.decode\.step_s\[0\] is 0\.0, expected a finite number > 0"),
        (
            (PiecewiseLinear((4.0, 5.0), (0.01, 0.02)), ZERO, LINE),
            r"cost\.decode\.step_s at batch 1 is 0\.0, expected more than 0",
        ),
        (
            (LINE, PiecewiseLinear((1.0, 2.0), (0.0, -1.0)), LINE),
            r"cost\.decode\.context_token_s\[1\] is -1\.0, expected a finite number >= 0",
        ),
        (
            (LINE, ZERO, PiecewiseLinear((1.0, 2.0), (0.2, 0.1))),
            r"cost\.prefill\.step_s\[1\] is 0\.1, expected at least the one before it, 0\.2",
        ),
        (
            (LINE, ZERO, PiecewiseLinear((1.0,), (-0.1,))),
            r"cost\.prefill\.step_s\[0\] is -0\.1",
        ),
        ((LINE, ZERO, LINE, -1.0), r"cost\.prefill\.attention_token2_s is -1\.0"),
        ((LINE, ZERO, LINE, 0.0, -2.0), r"engine_overhead_s is -2\.0"),
        ((LINE, ZERO, LINE, 0.0, float("inf")), r"engine_overhead_s is inf"),
        ((LINE, ZERO, LINE, 0.0, 0.0, -3.0), r"engine_overhead_request_s is -3\.0"),
        (
            (LINE, ZERO, LINE, 0.0, None, 1e-5),
            r"engine_overhead_request_s is 1e-05, expected 0, as engine_overhead_s is unknown",
        ),
    ],
)
def test_impossible_costs_are_refused(arguments, message):
    with pytest.raises(ProfileError, match=message):
        StepCost(*arguments)


@given(st.integers(1, 100_000))
def test_no_decode_step_is_ever_free(batch):
    falling = PiecewiseLinear((1.0, 100.0, 128.0), (0.02, 0.03, 0.001))
    assert StepCost(falling, ZERO, LINE).decode_s(batch, 0) > 0
