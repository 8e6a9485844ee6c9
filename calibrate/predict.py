"""How long a cost says that a step takes, and how far that is from what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from calibrate.steps import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def errors_pct(cost: StepCost, timed: Sequence[tuple[Step, float]]) -> dict[str, list[float]]:
    """Return how far `cost` is from measured (step, seconds), in percent of them, by kind of step.

    Over 0 where the cost is slower. Kinds that were not measured are left out.
    """
    by_kind: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for step, measured_s in timed:
        by_kind[step.kind].append((predict_s(cost, step) / measured_s - 1) * 100)
    return {kind: errors for kind, errors in by_kind.items() if errors}
