"""Step costs in integer picoseconds: a profile's cost model, rounded once on entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.protocol import PS_PER_S

if TYPE_CHECKING:
    from calibrate.steptime import StepCost


class StepCosts:
    """What a step costs, in the simulator's unit of time.

    Both ways to advance an engine (leaps and single steps) read the same integers, so that no
    rounding can tell them apart.

    Attributes
    ----------
    decode_fixed_ps, decode_context_ps : list of int
        By batch size B: a decode step costs ``decode_fixed_ps[B] + decode_context_ps[B] * C`` for
        a total context of C tokens [ps, ps per token].
    """

    __slots__ = (
        "_attention_token2_ps",
        "_cost",
        "_prefill",
        "decode_context_ps",
        "decode_fixed_ps",
    )

    def __init__(self, cost: StepCost, max_num_seqs: int) -> None:
        self._cost = cost
        self._prefill: dict[int, int] = {}
        self._attention_token2_ps = cost.attention_token2_s * PS_PER_S
        self.decode_fixed_ps = [0]
        self.decode_context_ps = [0]
        for batch in range(1, max_num_seqs + 1):
            fixed_s, context_s = cost.decode_coefficients(batch)
            # A step takes time, however fast the device: at least one picosecond.
            self.decode_fixed_ps.append(max(1, round(fixed_s * PS_PER_S)))
            self.decode_context_ps.append(round(context_s * PS_PER_S))

    def prefill_ps(self, tokens: int, attention2: int) -> int:
        """Cost of a step of prompts alone.

        Parameters
        ----------
        tokens : int
            Prompt tokens in the step.
        attention2 : int
            Twice the attention work: the sum over prompts of p * (2 * past + p) [token^2].
        """
        cost_ps = self._without_attention(tokens)
        if self._attention_token2_ps:
            cost_ps += round(self._attention_token2_ps * (attention2 / 2))
        return cost_ps

    def mixed_ps(self, batch: int, context_tokens: int, tokens: int, attention2: int) -> int:
        """Cost of a step that decodes `batch` sequences and prefills `tokens` prompt tokens.

        Parameters are those of `prefill_ps`, with the decodes' batch size and total context.
        """
        cost_ps = self.prefill_ps(batch + tokens, attention2)
        if not batch:
            return cost_ps
        # The decodes' own tokens are in the decode step, see `StepCost.mixed_s`.
        cost_ps -= self._without_attention(batch)
        return (
            cost_ps + self.decode_fixed_ps[batch] + self.decode_context_ps[batch] * context_tokens
        )

    def _without_attention(self, tokens: int) -> int:
        cost_ps = self._prefill.get(tokens)
        if cost_ps is None:
            cost_ps = self._prefill[tokens] = round(self._cost.prefill_s(tokens) * PS_PER_S)
        return cost_ps
