"""How long a fitted cost says that a step takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from calibrate.steps import Step
    from calibrate.steptime import StepCost


def predict_s(cost: StepCost, step: Step) -> float:
    """Return the seconds that `cost` gives for `step`, its engine overhead included."""
    if step.kind == "decode":
        return cost.decode_s(step.batch, step.total_context_tokens)
    # Without decodes a mixed step is a prefill, and a chunk is a prefill with a past.
    return cost.mixed_s(
        step.batch, step.total_context_tokens, step.prompt_tokens, step.attention_token2
    )
