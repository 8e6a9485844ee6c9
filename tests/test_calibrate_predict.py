"""The seconds of a step by a cost: each kind goes to its own part of the cost."""

import pytest

from calibrate.predict import predict_s
from calibrate.steps import Step
from calibrate.steptime import StepCost

COST = StepCost.affine(
    decode_s=10e-3,
    sequence_s=1e-3,
    context_token_s=1e-6,
    prefill_s=4e-3,
    prompt_token_s=1e-4,
    attention_token2_s=1e-8,
    engine_overhead_s=0.5e-3,
)


@pytest.mark.parametrize(
    ("step", "expected_ms"),
    [
        # 10 + 4 * 1 + 4 * 500 * 0.001 + 0.5
        (Step(batch=4, context_tokens=500), 16.5),
        # 4 + 200 * 0.1 + 200 * 100 * 1e-5 + 0.5
        (Step(prompt_tokens=200), 24.7),
        # 4 + 200 * 0.1 + 200 * (1000 + 100) * 1e-5 + 0.5
        (Step(prompt_tokens=200, past_tokens=1000), 26.7),
        # the decodes 16.5, and what 200 tokens add to 4: 20, and their attention 2.2
        (Step(batch=4, context_tokens=500, prompt_tokens=200, past_tokens=1000), 38.7),
    ],
)
def test_each_kind_of_step(step, expected_ms):
    assert predict_s(COST, step) * 1e3 == pytest.approx(expected_ms)
