"""The linear problem behind a fit: its unknowns, and what every measured step says of them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from calibrate.schema import ProfileError
from calibrate.steptime import PiecewiseLinear, StepCost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from calibrate.steps import Step

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Design:
    """The cost of steps as a linear function of coefficients, and those of increments.

    A coefficient is a value of a table at one of its knots, or the attention term. The order is
    `decode_fixed`, `decode_context`, `prefill`, attention. An increment is what such a value adds
    to the one before; all are at least 0, which makes the tables non-negative and monotone.

    Parameters
    ----------
    batch, context_batch, tokens : tuple of float
        The knots of the three tables.
    steps_of_coefficients : ndarray of shape (steps, coefficients)
        Seconds of each step = this @ coefficients.
    coefficients_of_increments : ndarray of shape (coefficients, increments)
        Coefficients = this @ increments.
    """

    batch: tuple[float, ...]
    context_batch: tuple[float, ...]
    tokens: tuple[float, ...]
    steps_of_coefficients: Floats
    coefficients_of_increments: Floats

    def split(self, coefficients: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Return the values of the three tables and of the attention term, on the first axis."""
        ends = np.cumsum([len(self.batch), len(self.context_batch), len(self.tokens)])
        fixed, context, prefill, attention = np.split(coefficients, ends)
        return fixed, context, prefill, attention

    def cost(self, coefficients: Floats) -> StepCost:
        """Return the step cost, without engine overhead, that has these coefficients."""
        fixed, context, prefill, attention = self.split(coefficients)
        return StepCost(
            PiecewiseLinear(self.batch, tuple(fixed.tolist())),
            PiecewiseLinear(self.context_batch, tuple(context.tolist())),
            PiecewiseLinear(self.tokens, tuple(prefill.tolist())),
            float(attention[0]),
        )


def design(steps: Sequence[Step]) -> Design:
    """Return the problem that measurements of `steps` pose.

    Decode and prefill tables have a knot at every batch and every prompt that was measured alone.
    The context table has fewer, from batch to batch at least a factor of two apart: its values are
    differences of step times, small and noisy at small batches. A batch at a single context only
    cannot tell its context's cost from its own and makes no knot there.

    Every table starts at 1, with the value of the smallest size measured: there the weights are
    what is read, and a straight line would run below them.

    The attention term follows from prompts of one size with and without a past. With no past in
    any step it is 0, and the prefill table holds the attention of whole prompts.

    Raises
    ------
    ProfileError
        If the steps cannot determine the coefficients at all.
    """
    contexts: dict[int, set[int]] = defaultdict(set)
    for step in steps:
        if step.kind == "decode":
            contexts[step.batch].add(step.context_tokens)
    batches = sorted(contexts)
    prompts = sorted({step.prompt_tokens for step in steps if step.kind == "prefill"})
    with_slope = [batch for batch in batches if len(contexts[batch]) > 1]
    if len(batches) < 2 or not with_slope or len(prompts) < 2:
        raise ProfileError(
            f"there are decode steps of {len(batches)} batch sizes, {len(with_slope)} of them at "
            f"two contexts or more, and prefills of {len(prompts)} sizes, expected at least 2, 1 "
            "and 2 to fit a step cost: measure more steps"
        )
    batch_of = np.array([step.batch for step in steps], dtype=np.float64)
    prompt_of = np.array([step.prompt_tokens for step in steps], dtype=np.float64)
    context_of = np.array([step.total_context_tokens for step in steps], dtype=np.float64)
    attention_of = np.array([step.attention_token2 for step in steps], dtype=np.float64)

    context_batches = np.array(_thinned(with_slope), dtype=np.float64)
    fixed_x, fixed = _extended(batches, _sums(len(batches)))
    # What rises with the batch is the context's cost for a sequence of each, not for a token.
    context_x, context = _extended(
        context_batches, _sums(len(context_batches)) / context_batches[:, None], batch_of.max()
    )
    prefill_x, prefill = _extended(prompts, _sums(len(prompts)))
    attention = np.array([[float(any(step.past_tokens for step in steps))]])

    decodes, prompted = batch_of > 0, prompt_of > 0
    at_batch, at_tokens = np.maximum(batch_of, 1), np.maximum(batch_of + prompt_of, 1)
    # As in `StepCost.mixed_s`: the decodes have paid for their own tokens.
    paid = _weights(prefill_x, at_batch) * decodes[:, None]
    rows = (
        _weights(fixed_x, at_batch) * decodes[:, None],
        _weights(context_x, at_batch) * context_of[:, None],
        (_weights(prefill_x, at_tokens) - paid) * prompted[:, None],
        attention_of[:, None],
    )
    return Design(
        batch=fixed_x,
        context_batch=context_x,
        tokens=prefill_x,
        steps_of_coefficients=np.hstack(rows),
        coefficients_of_increments=_block_diagonal(fixed, context, prefill, attention),
    )


def _thinned(batches: Sequence[int]) -> list[int]:
    """Return the first of rising `batches`, each that is at least twice the one kept before."""
    kept = [batches[0]]
    for batch in batches[1:]:
        if batch >= 2 * kept[-1] or batch == batches[-1]:
            kept.append(batch)
    return kept


def _sums(n: int) -> Floats:
    """Return the matrix that makes n values of n increments: each adds to all that follow."""
    return np.tril(np.ones((n, n)))


def _extended(
    measured: Sequence[float] | Floats, values: Floats, last: float = 0.0
) -> tuple[tuple[float, ...], Floats]:
    """Return a table's knots, and its values there as a matrix of increments.

    Where the measured sizes begin after 1 or end before `last` a knot there repeats their value.
    """
    x = [float(size) for size in measured]
    if x[0] > 1:
        x, values = [1.0, *x], np.vstack([values[:1], values])
    if x[-1] < last:
        x, values = [*x, float(last)], np.vstack([values, values[-1:]])
    return tuple(x), values


def _weights(knots: tuple[float, ...], at: Floats) -> Floats:
    """Return the matrix that takes a table's values at its knots to those at every `at` >= 1.

    The same straight lines as `PiecewiseLinear`, the last one continued beyond the last knot.
    """
    x = np.array(knots)
    left = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(x) - 2)
    share = (at - x[left]) / (x[left + 1] - x[left])
    weights = np.zeros((len(at), len(x)))
    each = np.arange(len(at))
    weights[each, left] = 1 - share
    weights[each, left + 1] = share
    return weights


def _block_diagonal(*blocks: Floats) -> Floats:
    whole = np.zeros((sum(len(b) for b in blocks), sum(b.shape[1] for b in blocks)))
    row = column = 0
    for part in blocks:
        whole[row : row + len(part), column : column + part.shape[1]] = part
        row, column = row + len(part), column + part.shape[1]
    return whole
