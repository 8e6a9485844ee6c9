"""What one engine step costs in seconds: tables over batch and tokens, and attention terms."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from calibrate.schema import ProfileError, block, number, numbers, plain, wrong

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class PiecewiseLinear:
    """A function through measured points, linear between them.

    Above the last point the last slope continues where it rises and is held flat where it
    falls: noise in two last points must not make a large step free. Below the first point the
    first slope continues, but never under 0. A single point is a constant.

    Parameters
    ----------
    x : tuple of float
        Strictly increasing and not negative.
    y : tuple of float
        One value for each `x`.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]

    def __post_init__(self) -> None:
        check_points("x", self.x, "y", self.y)

    @cached_property
    def _slopes(self) -> tuple[float, ...]:
        """The slope to the right of each point."""
        slopes = [
            (y1 - y0) / (x1 - x0)
            for (x0, x1), (y0, y1) in zip(pairwise(self.x), pairwise(self.y), strict=True)
        ]
        return (*slopes, max(0.0, slopes[-1]) if slopes else 0.0)

    def __call__(self, x: float) -> float:
        """Return the value at `x`."""
        i = max(bisect_right(self.x, x) - 1, 0)
        return max(self.y[i] + self._slopes[i] * (x - self.x[i]), 0.0)

    def at(self, x: ArrayLike) -> NDArray[np.float64]:
        """Return the values at every element of `x`; each equals the scalar call."""
        at = np.asarray(x, dtype=np.float64)
        i = np.maximum(np.searchsorted(self.x, at, side="right") - 1, 0)
        values = np.take(self.y, i) + np.take(self._slopes, i) * (at - np.take(self.x, i))
        return np.asarray(np.maximum(values, 0.0))


def check_points(x_path: str, x: object, y_path: str, y: object) -> None:
    """Raise ProfileError unless `x` and `y` make a table; the paths name the two lists."""
    xs, ys = numbers(x_path, x), numbers(y_path, y)
    if len(xs) != len(ys):
        raise ProfileError(
            f"{y_path} has {len(ys)} numbers, expected {len(xs)}: one for each of {x_path}"
        )
    number(f"{x_path}[0]", xs[0], at_least=0)
    for i, (before, value) in enumerate(pairwise(xs), start=1):
        if value <= before:
            raise wrong(f"{x_path}[{i}]", value, f"more than the one before it, {before:g}")


@dataclass(frozen=True)
class StepCost:
    """The cost of one engine step in seconds.

    Every step additionally costs `engine_overhead_s`, the time the serving engine itself takes;
    None means that it is unknown and counts as 0: the profile is then "kernel-only". What the
    engine does for each request apart (scheduling it, copying its sampled token, turning that
    into text) grows with the batch and is `engine_overhead_request_s`: a decode step costs it
    once for each of its sequences. Prompts are known here by their tokens only, so the one token
    that the end of a prompt yields goes without it.

    Parameters
    ----------
    decode_fixed : PiecewiseLinear
        Seconds of a decode step over its batch (number of sequences), without context.
    decode_context : PiecewiseLinear
        Seconds for each token of context over the batch.
    prefill : PiecewiseLinear
        Seconds of a prefill step over its number of prompt tokens, without attention. Not
        decreasing.
    attention_token2_s : float
        Seconds for each token^2 of prefill attention.
    engine_overhead_s : float or None
        Seconds added to every step; None = unknown.
    engine_overhead_request_s : float
        Seconds added to a step for each sequence that it decodes; with a known
        `engine_overhead_s` only.

    Raises
    ------
    ProfileError
        If a decode step of one sequence or more could take no time, or a number is negative,
        not finite, or the prefill table falls.
    """

    decode_fixed: PiecewiseLinear
    decode_context: PiecewiseLinear
    prefill: PiecewiseLinear
    attention_token2_s: float = 0.0
    engine_overhead_s: float | None = 0.0
    engine_overhead_request_s: float = 0.0

    def __post_init__(self) -> None:
        fixed = self.decode_fixed
        for i, (batch, step_s) in enumerate(zip(fixed.x, fixed.y, strict=True)):
            path = f"cost.decode.step_s[{i}]"
            # A point at batch 0 is only the line's intercept; no such step is ever run.
            number(path, step_s, above=0) if batch >= 1 else number(path, step_s, at_least=0)
        if fixed(1) <= 0:
            raise wrong("cost.decode.step_s at batch 1", fixed(1), "more than 0; add that point")
        for i, token_s in enumerate(self.decode_context.y):
            number(f"cost.decode.context_token_s[{i}]", token_s, at_least=0)
        for i, step_s in enumerate(self.prefill.y):
            number(f"cost.prefill.step_s[{i}]", step_s, at_least=0)
        for i, (before, step_s) in enumerate(pairwise(self.prefill.y), start=1):
            if step_s < before:
                raise wrong(
                    f"cost.prefill.step_s[{i}]", step_s, f"at least the one before it, {before:g}"
                )
        number("cost.prefill.attention_token2_s", self.attention_token2_s, at_least=0)
        if self.engine_overhead_s is not None:
            number("engine_overhead_s", self.engine_overhead_s, at_least=0)
        request_s = number("engine_overhead_request_s", self.engine_overhead_request_s, at_least=0)
        if request_s and self.engine_overhead_s is None:
            raise wrong(
                "engine_overhead_request_s",
                request_s,
                "0, as engine_overhead_s is unknown; give both",
            )

    @classmethod
    def affine(
        cls,
        *,
        decode_s: float,
        prefill_s: float,
        sequence_s: float = 0.0,
        prompt_token_s: float = 0.0,
        context_token_s: float = 0.0,
        attention_token2_s: float = 0.0,
        engine_overhead_s: float | None = 0.0,
        engine_overhead_request_s: float = 0.0,
    ) -> StepCost:
        """Return the cost made of straight lines.

        A decode step takes `decode_s + sequence_s * batch + context_token_s * context`, a
        prefill `prefill_s + prompt_token_s * tokens + attention_token2_s * attention`.
        """
        return cls(
            PiecewiseLinear((0.0, 1.0), (decode_s, decode_s + sequence_s)),
            PiecewiseLinear((1.0,), (context_token_s,)),
            PiecewiseLinear((0.0, 1.0), (prefill_s, prefill_s + prompt_token_s)),
            attention_token2_s,
            engine_overhead_s,
            engine_overhead_request_s,
        )

    @property
    def overhead_s(self) -> float:
        """Seconds added to every step: `engine_overhead_s`, or 0 where it is unknown."""
        return self.engine_overhead_s or 0.0

    def decode_coefficients(self, batch: int) -> tuple[float, float]:
        """Return (a, c): a decode step of `batch` sequences takes a + c * context tokens.

        `a` is in seconds and holds the engine overhead, `c` in seconds for a token of context.
        """
        overhead_s = self.overhead_s + self.engine_overhead_request_s * batch
        return self.decode_fixed(batch) + overhead_s, self.decode_context(batch)

    def decode_s(self, batch: int, context_tokens: float) -> float:
        """Return the seconds of a decode step.

        `context_tokens` is the sum over its `batch` sequences of the tokens each attends to.
        """
        a_s, c_s = self.decode_coefficients(batch)
        return a_s + c_s * context_tokens

    def prefill_s(self, tokens: int, attention_token2: float = 0.0) -> float:
        """Return the seconds of a prefill step of `tokens` prompt tokens.

        `attention_token2` is the sum over its prompts of p * (past + p/2), with p the tokens of
        the prompt in this step and `past` those of it already in the cache.
        """
        attention_s = self.attention_token2_s * attention_token2
        return self.prefill(tokens) + self.overhead_s + attention_s

    def mixed_s(
        self, batch: int, context_tokens: float, tokens: int, attention_token2: float = 0.0
    ) -> float:
        """Return the seconds of a step that decodes `batch` sequences and prefills a chunk.

        It is the decode step plus what the prompt tokens add on top of its `batch` tokens: both
        kinds go through the model together, so the weights are read once, and the decode step has
        paid for that. While the prefill table is flat (memory-bound) at `batch + tokens`, a chunk
        is nearly free; where it rises, a chunk costs that rise. With no decodes it is a prefill,
        without prompt tokens a decode step.
        """
        if batch == 0:
            return self.prefill_s(tokens, attention_token2)
        attention_s = self.attention_token2_s * attention_token2
        added_s = self.prefill(batch + tokens) - self.prefill(batch)
        return self.decode_s(batch, context_tokens) + added_s + attention_s

    @classmethod
    def from_dict(
        cls,
        data: object,
        engine_overhead_s: float | None,
        engine_overhead_request_s: float = 0.0,
    ) -> StepCost:
        """Return the cost in a profile's `cost` block; ProfileError names what is wrong."""
        cost = block("cost", data, required=("decode", "prefill"))
        decode = block(
            "cost.decode",
            cost["decode"],
            required=("batch", "step_s"),
            optional=("context_batch", "context_token_s"),
        )
        prefill = block(
            "cost.prefill",
            cost["prefill"],
            required=("tokens", "step_s"),
            optional=("attention_token2_s",),
        )
        if ("context_batch" in decode) != ("context_token_s" in decode):
            raise ProfileError("cost.decode has one of context_batch and context_token_s, not both")
        context = {"context_batch": [1], "context_token_s": [0], **decode}
        attention_s = number(
            "cost.prefill.attention_token2_s", prefill.get("attention_token2_s", 0.0), at_least=0
        )
        return cls(
            _table("cost.decode", decode, "batch", "step_s"),
            _table("cost.decode", context, "context_batch", "context_token_s"),
            _table("cost.prefill", prefill, "tokens", "step_s"),
            attention_s,
            engine_overhead_s,
            engine_overhead_request_s,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the `cost` block of a profile's JSON; `from_dict` reads it back."""
        return {
            "decode": {
                "batch": [plain(x) for x in self.decode_fixed.x],
                "step_s": list(self.decode_fixed.y),
                "context_batch": [plain(x) for x in self.decode_context.x],
                "context_token_s": list(self.decode_context.y),
            },
            "prefill": {
                "tokens": [plain(x) for x in self.prefill.x],
                "step_s": list(self.prefill.y),
                "attention_token2_s": self.attention_token2_s,
            },
        }


def _table(path: str, data: Mapping[str, Any], x: str, y: str) -> PiecewiseLinear:
    """Return the table of the lists `x` and `y` of the block at `path`."""
    check_points(f"{path}.{x}", data[x], f"{path}.{y}", data[y])
    return PiecewiseLinear(tuple(map(float, data[x])), tuple(map(float, data[y])))
