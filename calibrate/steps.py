"""What one engine step works on, and how long such a step was measured to take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from calibrate.schema import free_block, integer, number, one_of, wrong

if TYPE_CHECKING:
    from collections.abc import Sequence

KINDS = ("decode", "prefill", "chunk", "mixed")


@dataclass(frozen=True, order=True)
class Step:
    """The work of one engine step: some sequences decode, and one prompt is prefilled, or either.

    Parameters
    ----------
    batch : int
        Sequences that decode one token each.
    context_tokens : int
        Tokens that each of them attends to, its own included; 0 without decodes.
    prompt_tokens : int
        Tokens of the prompt that are prefilled in this step.
    past_tokens : int
        Tokens of that prompt that are already in the cache; 0 without a prompt.
    """

    batch: int = 0
    context_tokens: int = 0
    prompt_tokens: int = 0
    past_tokens: int = 0

    def __post_init__(self) -> None:
        for name in ("batch", "context_tokens", "prompt_tokens", "past_tokens"):
            integer(f"step.{name}", getattr(self, name), at_least=0)
        if not self.batch and not self.prompt_tokens:
            raise wrong("step", self, "a batch, prompt tokens, or both")
        if bool(self.batch) != bool(self.context_tokens):
            raise wrong("step.context_tokens", self.context_tokens, "at least 1 with a batch only")
        if self.past_tokens and not self.prompt_tokens:
            raise wrong("step.past_tokens", self.past_tokens, "0 without prompt tokens")

    @property
    def kind(self) -> str:
        """One of `KINDS`: decodes alone, a whole prompt, a prompt's chunk, decodes and a prompt."""
        if not self.prompt_tokens:
            return "decode"
        if self.batch:
            return "mixed"
        return "chunk" if self.past_tokens else "prefill"

    @property
    def tokens(self) -> int:
        """Tokens that go through the model: one for each decode, and the prompt's."""
        return self.batch + self.prompt_tokens

    @property
    def total_context_tokens(self) -> int:
        """Context of all decodes together."""
        return self.batch * self.context_tokens

    @property
    def attention_token2(self) -> float:
        """Prefill attention work: p * (past + p/2), in token^2."""
        return self.prompt_tokens * (self.past_tokens + self.prompt_tokens / 2)

    def covers(self, other: Step) -> bool:
        """Whether this step is of the same kind as `other` and at least as large in all it has."""
        return (
            self.kind == other.kind
            and self.batch >= other.batch
            and self.context_tokens >= other.context_tokens
            and self.prompt_tokens >= other.prompt_tokens
            and self.past_tokens >= other.past_tokens
        )


@dataclass(frozen=True)
class Measurement:
    """How long one step took, every repeat of it; or why it could not be run.

    Parameters
    ----------
    step : Step
    samples_s : tuple of float
        Seconds of each repeat; empty where the step could not be run.
    problem : str
        Why there are no samples, such as "out of memory"; empty where there are.
    floor_s : float, optional
        The least the hardware needs for this step, see `calibrate.work.floor_s`.
    """

    step: Step
    samples_s: tuple[float, ...] = ()
    problem: str = ""
    floor_s: float | None = None

    def __post_init__(self) -> None:
        if bool(self.samples_s) == bool(self.problem):
            raise wrong("samples_s", self.samples_s, "samples, or a problem, and not both")
        for sample_s in self.samples_s:
            number("samples_s", sample_s, above=0)

    @property
    def median_s(self) -> float:
        """The median over the repeats; NaN without any."""
        return self.quantile_s(0.5)

    def quantile_s(self, share: float) -> float:
        """Return the quantile over the repeats, linear between them; NaN without any."""
        return float(np.quantile(self.samples_s, share)) if self.samples_s else float("nan")

    def to_raw(self) -> dict[str, Any]:
        """Return the entry of a profile's `raw` list."""
        step = self.step
        entry: dict[str, Any] = {"kind": step.kind}
        sizes = ("batch", "context_tokens", "prompt_tokens", "past_tokens")
        entry |= {name: getattr(step, name) for name in sizes if getattr(step, name)}
        if self.problem:
            return entry | {"problem": self.problem}
        entry |= {"median_s": _short(self.median_s)}
        entry |= {"p10_s": _short(self.quantile_s(0.1)), "p90_s": _short(self.quantile_s(0.9))}
        entry |= {"repeats": len(self.samples_s)}
        if self.floor_s is not None:
            entry |= {"floor_s": _short(self.floor_s)}
            entry |= {"over_floor": float(f"{self.median_s / self.floor_s:.4g}")}
        return entry


@dataclass(frozen=True)
class RawPoint:
    """One entry of a profile's `raw` list, as `Measurement.to_raw` writes it, checked.

    `median_s`, `p10_s` and `p90_s` are None where the step could not be run (`problem` says why);
    `floor_s` is None where no floor is known.
    """

    step: Step
    median_s: float | None = None
    p10_s: float | None = None
    p90_s: float | None = None
    floor_s: float | None = None
    problem: str = ""


def raw_points(raw: Sequence[object]) -> list[RawPoint]:
    """Return the steps in a profile's `raw` list; ProfileError names a wrong entry."""
    return [_raw_point(f"raw[{i}]", free_block(f"raw[{i}]", entry)) for i, entry in enumerate(raw)]


def _raw_point(path: str, entry: dict[str, Any]) -> RawPoint:
    one_of(f"{path}.kind", entry.get("kind"), KINDS)
    sizes = ("batch", "context_tokens", "prompt_tokens", "past_tokens")
    step = Step(**{name: entry.get(name, 0) for name in sizes})
    if entry.get("problem"):
        return RawPoint(step, problem=str(entry["problem"]))
    median_s, p10_s, p90_s = (
        number(f"{path}.{name}", entry.get(name), above=0)
        for name in ("median_s", "p10_s", "p90_s")
    )
    floor_s = entry.get("floor_s")
    if floor_s is not None:
        floor_s = number(f"{path}.floor_s", floor_s, above=0)
    return RawPoint(step, median_s, p10_s, p90_s, floor_s)


def _short(seconds: float) -> float:
    """Return seconds to six digits: more is noise, and makes files hard to read."""
    return float(f"{seconds:.6g}")
