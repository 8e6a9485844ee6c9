"""Step costs in picoseconds against the profile's cost model in seconds."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibrate import load_profile
from calibrate.steptime import PiecewiseLinear, StepCost
from policies.protocol import PS_PER_S
from sim.costs import StepCosts

ANY = settings(suppress_health_check=list(HealthCheck))

TABLES = StepCost(
    decode_fixed=PiecewiseLinear((1, 8, 32), (0.0101, 0.0107, 0.0163)),
    decode_context=PiecewiseLinear((1, 16), (3.17e-8, 2.9e-8)),
    prefill=PiecewiseLinear((0, 256, 2048), (0.0007, 0.0123, 0.0911)),
    attention_token2_s=1.7e-11,
    engine_overhead_s=0.00031,
    engine_overhead_request_s=0.0000123,
)
UNKNOWN_OVERHEAD = StepCost.affine(decode_s=0.01, prefill_s=0.002, prompt_token_s=1e-5,
                                   engine_overhead_s=None)  # fmt: skip
COSTS = st.sampled_from([TABLES, UNKNOWN_OVERHEAD, load_profile("paper-qwen2.5-coder-3b").cost])
MOST = 64


@ANY
@given(COSTS, st.integers(1, MOST), st.integers(0, 10**6))
def test_a_decode_step(cost, batch, context):
    costs = StepCosts(cost, MOST)
    step_ps = costs.decode_fixed_ps[batch] + costs.decode_context_ps[batch] * context
    # Each coefficient is rounded once: half a picosecond, and half of one a token.
    assert abs(step_ps - cost.decode_s(batch, context) * PS_PER_S) <= 0.51 * (1 + context)


@ANY
@given(COSTS, st.integers(1, 5000), st.integers(0, 10**8))
def test_a_prefill(cost, tokens, attention2):
    costs = StepCosts(cost, MOST)
    expected_ps = cost.prefill_s(tokens, attention2 / 2) * PS_PER_S
    for _ in range(2):  # the second time from memory
        assert costs.prefill_ps(tokens, attention2) == pytest.approx(expected_ps, abs=1.1, rel=0)
    # Without decodes a mixed step is one.
    assert costs.mixed_ps(0, 0, tokens, attention2) == costs.prefill_ps(tokens, attention2)


@ANY
@given(
    COSTS, st.integers(1, MOST), st.integers(0, 10**5), st.integers(1, 5000), st.integers(0, 10**8)
)
def test_a_mixed_step(cost, batch, context, tokens, attention2):
    costs = StepCosts(cost, MOST)
    expected_ps = cost.mixed_s(batch, context, tokens, attention2 / 2) * PS_PER_S
    for _ in range(2):
        step_ps = costs.mixed_ps(batch, context, tokens, attention2)
        assert abs(step_ps - expected_ps) <= 1.6 + 0.51 * context


def test_costs_are_whole_numbers():
    costs = StepCosts(TABLES, MOST)
    numbers = [*costs.decode_fixed_ps, *costs.decode_context_ps]
    numbers += [costs.prefill_ps(100, 10**4), costs.mixed_ps(3, 100, 50, 2500)]
    assert all(type(number) is int for number in numbers)
    assert len(costs.decode_fixed_ps) == len(costs.decode_context_ps) == MOST + 1


def test_a_decode_step_takes_time_however_fast_the_device():
    costs = StepCosts(StepCost.affine(decode_s=1e-15, prefill_s=0.0), 2)
    assert costs.decode_fixed_ps[1:] == [1, 1]
