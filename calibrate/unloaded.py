"""How long a request takes that is alone on an idle engine, in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from calibrate.schema import integer, wrong

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from calibrate.steptime import StepCost


def unloaded_s(
    cost: StepCost,
    discipline: str,
    prompt_tokens: ArrayLike,
    output_tokens: ArrayLike,
    max_num_batched_tokens: int = 2048,
    client_overhead_s: float = 0.0,
) -> NDArray[np.float64]:
    """Return the end-to-end seconds of requests, each alone on an idle engine.

    "prefill-first" prefills the whole prompt in one step, "chunked" in chunks of
    `max_num_batched_tokens`; then come output - 1 decode steps of batch 1 with contexts
    prompt + 1 to prompt + output - 1. The client overhead is added once.

    Parameters
    ----------
    cost : StepCost
    discipline : str
        "prefill-first" or "chunked".
    prompt_tokens, output_tokens : int or array of int
        At least 1; broadcast together.
    max_num_batched_tokens : int
        The step's token budget; only "chunked" depends on it.
    client_overhead_s : float

    Returns
    -------
    ndarray
        Seconds, in the broadcast shape.

    Raises
    ------
    ProfileError
        If a number of tokens is under 1.
    """
    # float64 holds the squares and sums below exactly up to 90 million tokens.
    prompt = _counts("prompt_tokens", prompt_tokens)
    output = _counts("output_tokens", output_tokens)
    budget = integer("max_num_batched_tokens", max_num_batched_tokens, at_least=1)
    if discipline == "chunked":
        full, rest = np.divmod(prompt, budget)
        last_s = np.where(rest > 0, cost.prefill.at(rest) + cost.overhead_s, 0.0)
        prefill_s = full * cost.prefill_s(budget) + last_s
    else:
        prefill_s = cost.prefill.at(prompt) + cost.overhead_s
    # However a prompt is cut, the terms p * (past + p/2) of its pieces add up to prompt^2/2.
    attention_s = cost.attention_token2_s * (prompt * prompt / 2)
    a_s, c_s = cost.decode_coefficients(1)
    steps = output - 1
    decode_s = steps * a_s + c_s * (steps * prompt + steps * (steps + 1) / 2)
    return np.asarray(prefill_s + attention_s + decode_s + client_overhead_s)


def _counts(name: str, value: ArrayLike) -> NDArray[np.float64]:
    counts = np.asarray(value, dtype=np.float64)
    bad = counts[~(counts >= 1)]
    if bad.size:
        raise wrong(name, float(bad.flat[0]), "at least 1 token")
    return counts
