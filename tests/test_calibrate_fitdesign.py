"""The linear problem of a fit says the same seconds as the cost it is the problem of."""

import numpy as np
import pytest
from fit_cases import CHUNKS, DECODES, GRID, MIXED, PREFILLS
from hypothesis import given
from hypothesis import strategies as st

from calibrate.fitdesign import design
from calibrate.predict import predict_s
from calibrate.schema import ProfileError
from calibrate.steps import Step

sizes = st.integers(1, 400)
decodes = st.builds(Step, sizes, sizes)
prompts = st.builds(lambda p, past: Step(prompt_tokens=p, past_tokens=past), sizes, sizes)
both = st.builds(Step, sizes, sizes, sizes, sizes)
# At batches and prompts that no table has a knot for, beyond the last one too.
steps_with_extras = st.lists(prompts | both, max_size=20).map(
    lambda more: [Step(2, 10), Step(2, 30), Step(7, 10), Step(100, 20), Step(100, 30),
                  Step(prompt_tokens=16), Step(prompt_tokens=90), *more]
)  # fmt: skip


@given(steps_with_extras, st.integers(0, 2**32))
def test_every_step_is_the_sum_that_the_cost_itself_says(steps, seed):
    problem = design(steps)
    increments = np.random.default_rng(seed).uniform(
        0.1, 1, problem.coefficients_of_increments.shape[1]
    )
    coefficients = problem.coefficients_of_increments @ increments
    cost = problem.cost(coefficients)
    np.testing.assert_allclose(
        problem.steps_of_coefficients @ coefficients,
        [predict_s(cost, step) for step in steps],
        rtol=1e-9,
    )


@given(steps_with_extras, st.integers(0, 2**32))
def test_increments_of_at_least_zero_make_tables_that_never_fall(steps, seed):
    problem = design(steps)
    rng = np.random.default_rng(seed)
    some = rng.uniform(0, 1, problem.coefficients_of_increments.shape[1]) * rng.integers(0, 2)
    fixed, context, prefill, attention = problem.split(problem.coefficients_of_increments @ some)
    for values in (fixed, context * problem.context_batch, prefill):
        assert np.all(np.diff(values) >= -1e-12)
        assert values[0] >= 0
    assert attention >= 0


def test_decode_and_prefill_have_a_knot_at_each_measured_size_and_context_at_some():
    problem = design(GRID)
    assert problem.batch == (1, 2, 4, 8, 16, 32)
    assert problem.tokens == (1, 16, 64, 128, 256, 512, 1024, 2048)
    dense = design([*[Step(b, c) for b in range(1, 18) for c in (10, 20)], *PREFILLS])
    assert dense.batch == tuple(range(1, 18))
    assert dense.context_batch == (1, 2, 4, 8, 16, 17)
    # The last one too is of its own measurements: six increments over its batch.
    assert dense.cost(dense.coefficients_of_increments.sum(axis=1)).decode_context.y[
        -1
    ] * 17 == pytest.approx(6)


def test_a_batch_at_one_context_has_no_context_knot_of_its_own():
    steps = [Step(1, 10), Step(4, 10), Step(4, 20), Step(16, 10), *PREFILLS]
    problem = design(steps)
    assert problem.batch == (1, 4, 16)
    assert problem.context_batch == (1, 4, 16)
    # Before and after the one batch that tells, its value holds.
    cost = problem.cost(problem.coefficients_of_increments.sum(axis=1))
    assert cost.decode_context.y == (0.25, 0.25, 0.25)


def test_tables_start_at_one_with_the_smallest_value_measured():
    steps = [Step(2, 10), Step(4, 10), Step(4, 20), *PREFILLS[2:]]
    problem = design(steps)
    cost = problem.cost(problem.coefficients_of_increments.sum(axis=1))
    assert cost.decode_fixed.x[0] == cost.decode_context.x[0] == cost.prefill.x[0] == 1
    assert cost.decode_fixed(1) == cost.decode_fixed(2)
    assert cost.prefill(1) == cost.prefill(64) < cost.prefill(128)


def test_the_context_table_reaches_the_largest_batch_of_mixed_steps():
    assert design([*GRID, Step(500, 10, prompt_tokens=5)]).context_batch[-1] == 500


def test_without_a_past_there_is_no_attention_term():
    def attention(steps):
        problem = design(steps)
        return problem.split(problem.coefficients_of_increments.sum(axis=1))[3].tolist()

    assert attention([*DECODES, *PREFILLS, *MIXED]) == [0]
    assert attention([*DECODES, *PREFILLS, *CHUNKS]) == [1]


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        ([], "0 batch sizes, 0 of them at two contexts or more, and prefills of 0 sizes"),
        (DECODES, "6 batch sizes, 6 of them at two contexts or more, and prefills of 0 sizes"),
        ([*DECODES, PREFILLS[0], *CHUNKS], "prefills of 1 sizes"),
        ([*DECODES[:4], *PREFILLS], "1 batch sizes, 1 of them"),
        ([*DECODES[::4], *PREFILLS], "6 batch sizes, 0 of them"),
        ([*PREFILLS, *MIXED], "0 batch sizes"),
    ],
)
def test_too_few_steps_are_refused_in_one_line_that_says_what_is_needed(steps, found):
    with pytest.raises(ProfileError) as caught:
        design(steps)
    assert found in str(caught.value)
    assert "expected at least 2, 1 and 2" in str(caught.value)
    assert "\n" not in str(caught.value)
