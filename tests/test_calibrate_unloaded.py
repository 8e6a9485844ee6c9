"""The closed form of an unloaded request against the steps it stands for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrate.profile import Profile, ProfileError
from calibrate.steptime import PiecewiseLinear, StepCost

COST = StepCost(
    decode_fixed=PiecewiseLinear((1.0, 8.0), (0.010, 0.012)),
    decode_context=PiecewiseLinear((1.0, 8.0), (2e-7, 1e-7)),
    prefill=PiecewiseLinear((16.0, 256.0, 1024.0), (0.010, 0.011, 0.040)),
    attention_token2_s=1e-9,
    engine_overhead_s=0.0005,
)


def make(discipline):
    return Profile(
        name="p",
        method="simulated",
        cost=COST,
        kv_tokens=1000,
        kv_source="chosen",
        discipline=discipline,
        client_overhead_s=0.002,
    )


def step_by_step(discipline, prompt, output, budget):
    """Add up the request's engine steps one by one."""
    total, past = 0.002, 0
    while past < prompt:
        piece = prompt if discipline == "prefill-first" else min(budget, prompt - past)
        total += COST.prefill_s(piece, piece * (past + piece / 2))
        past += piece
    for generated in range(1, output):
        total += COST.decode_s(1, prompt + generated)
    return total


@pytest.mark.parametrize("discipline", ["prefill-first", "chunked"])
@given(st.integers(1, 5000), st.integers(1, 300), st.integers(1, 3000))
def test_closed_form_equals_the_steps_added_up(discipline, prompt, output, budget):
    exact = step_by_step(discipline, prompt, output, budget)
    closed = make(discipline).unloaded_s(prompt, output, budget)
    assert closed == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("discipline", ["prefill-first", "chunked"])
def test_arrays_give_each_request_its_own_time(discipline):
    prompts, outputs = np.array([1, 512, 513, 4000]), np.array([1, 2, 50, 7])
    profile = make(discipline)
    times = profile.unloaded_s(prompts, outputs, 512)
    assert times.shape == (4,)
    expected = [step_by_step(discipline, *pair, 512) for pair in zip(prompts, outputs, strict=True)]
    np.testing.assert_allclose(times, expected, rtol=1e-12)


def test_the_budget_default_is_2048_and_does_not_touch_prefill_first():
    chunked, whole = make("chunked"), make("prefill-first")
    assert chunked.unloaded_s(5000, 2) == chunked.unloaded_s(5000, 2, 2048)
    assert chunked.unloaded_s(5000, 2) != chunked.unloaded_s(5000, 2, 4096)
    assert whole.unloaded_s(5000, 2, 64) == whole.unloaded_s(5000, 2)


def test_a_long_request_needs_no_loop():
    # 10^9 decode steps would never end one by one.
    a, c = COST.decode_coefficients(1)
    steps = 10**9
    time = make("prefill-first").unloaded_s(1, steps + 1)
    assert time == pytest.approx(steps * a + c * (steps + steps * (steps + 1) / 2), rel=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 5), "prompt_tokens is 0.0, expected at least 1 token"),
        (([5, 6], [1, -3]), "output_tokens is -3.0, expected at least 1 token"),
        ((5, 5, 0), "max_num_batched_tokens is 0, expected an integer >= 1"),
    ],
)
def test_impossible_requests_are_refused(arguments, message):
    with pytest.raises(ProfileError, match=message):
        make("chunked").unloaded_s(*arguments)
