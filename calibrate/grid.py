"""Which steps are timed, and in which order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from calibrate.schema import ProfileError
from calibrate.steps import Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True)
class Axes:
    """The sizes a grid is made of; every combination within a kind of step is a point.

    Parameters
    ----------
    batches, contexts : tuple of int
        Of decode steps: sequences, and tokens that each attends to.
    prompts : tuple of int
        Tokens of prompts that are prefilled alone.
    chunks, pasts : tuple of int
        Tokens of a prompt's chunk, and those already in the cache.
    mixed_batches, mixed_prompts, mixed_contexts : tuple of int
        Of steps that decode and prefill together.
    """

    batches: tuple[int, ...]
    contexts: tuple[int, ...]
    prompts: tuple[int, ...]
    chunks: tuple[int, ...]
    pasts: tuple[int, ...]
    mixed_batches: tuple[int, ...]
    mixed_prompts: tuple[int, ...]
    mixed_contexts: tuple[int, ...]


FULL = Axes(
    # Dense where small batches matter most, then powers of two and their midpoints.
    batches=(*range(1, 17), 24, 32, 48, 64, 96, 128, 192, 256),
    contexts=(128, 512, 1024, 2048, 4096, 8192, 16384),
    prompts=(
        *(1, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072),
        *(4096, 6144, 8192, 12288, 16384),
    ),
    chunks=(64, 256, 512, 1024, 2048),
    pasts=(512, 1024, 2048, 4096, 8192, 14336),
    mixed_batches=(1, 4, 16, 64, 128, 256),
    mixed_prompts=(32, 128, 512, 1024, 2048),
    mixed_contexts=(512, 2048),
)
QUICK = Axes(
    batches=(1, 2, 4, 8, 16, 32, 64, 128, 256),
    contexts=(128, 1024, 4096),
    prompts=(1, 4, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192),
    chunks=(64, 512, 2048),
    pasts=(512, 1024, 2048, 4096),
    mixed_batches=(1, 8, 32, 128),
    mixed_prompts=(64, 512, 1024, 2048),
    mixed_contexts=(1024,),
)
CPU_FULL = Axes(
    batches=(1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64),
    contexts=(64, 256, 512, 1024, 2048),
    prompts=(1, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048),
    chunks=(32, 128, 512),
    pasts=(128, 256, 512, 1024),
    mixed_batches=(1, 4, 16, 48),
    mixed_prompts=(32, 128, 256, 512),
    mixed_contexts=(256, 1024),
)
CPU_QUICK = Axes(
    batches=(1, 2, 3, 4, 6, 8, 12, 16, 24, 32),
    contexts=(64, 256, 1024),
    prompts=(1, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
    chunks=(64, 256),
    pasts=(128, 256, 512, 1024),
    mixed_batches=(1, 4, 16, 32),
    mixed_prompts=(32, 128, 512),
    mixed_contexts=(256,),
)


def axes_for(device_type: str, *, quick: bool) -> Axes:
    """Return the sizes to time on a "cuda" or "cpu" device."""
    if device_type == "cpu":
        return CPU_QUICK if quick else CPU_FULL
    return QUICK if quick else FULL


def grid(axes: Axes, max_context_tokens: int) -> tuple[Step, ...]:
    """Return the steps to time, coarsest first, with the kinds taking turns.

    Whatever part of it has been timed when a budget ends, from the first few steps on, spans the
    whole range: corners come first, then the points halfway between, and so on.

    Parameters
    ----------
    axes : Axes
    max_context_tokens : int
        The longest sequence the model knows; steps beyond it are left out.

    Raises
    ------
    ProfileError
        If nothing is left.
    """
    kinds: tuple[list[tuple[Step, tuple[int, ...]]], ...] = (
        [(Step(b, c), (b, c)) for b in axes.batches for c in axes.contexts],
        [(Step(prompt_tokens=p), (p,)) for p in axes.prompts],
        [
            (Step(prompt_tokens=p, past_tokens=past), (p, past))
            for p in axes.chunks
            for past in axes.pasts
        ],
        [
            (Step(b, c, prompt_tokens=p), (b, p, c))
            for b in axes.mixed_batches
            for p in axes.mixed_prompts
            for c in axes.mixed_contexts
        ],
    )
    keyed = []
    for kind, points in enumerate(kinds):
        known = [point for point in points if _longest(point[0]) <= max_context_tokens]
        # Within a kind by level; across kinds by the share of the kind that is done.
        ordered = sorted(known, key=lambda point: _levels(point[1], [p[1] for p in known]))
        keyed += [(place / len(ordered), kind, step) for place, (step, _) in enumerate(ordered)]
    if not keyed:
        raise ProfileError(
            f"no step of the grid fits into {max_context_tokens} tokens of context, expected a "
            "model for longer sequences"
        )
    return tuple(step for *_, step in sorted(keyed))


def _longest(step: Step) -> int:
    """Tokens of the longest sequence in a step."""
    return max(step.context_tokens, step.past_tokens + step.prompt_tokens)


def _levels(sizes: Sequence[int], all_sizes: Iterable[Sequence[int]]) -> tuple[int, ...]:
    """Return the place of a point in the order of refinement: its levels' sum first."""
    axes = [sorted(set(axis)) for axis in zip(*all_sizes, strict=True)]
    levels = [_level(axis.index(size), len(axis)) for axis, size in zip(axes, sizes, strict=True)]
    return (sum(levels), *levels)


def _level(index: int, n: int) -> int:
    """Return how often n sizes must be halved before the one at `index` is reached.

    0 for the first and last, 1 for the middle, 2 for the quarters, and so on.
    """
    low, high, level = 0, n - 1, 0
    while index not in (low, high):
        middle = (low + high) // 2
        low, high = (low, middle) if index <= middle else (middle, high)
        level += 1
    return level
