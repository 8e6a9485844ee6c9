"""What a guard's numbers say: it holds, it is broken, or there are too few seeds to tell."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sim.check.bootstrap import LEAST_SEEDS, mean_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

Outcome = Literal["pass", "fail", "inconclusive"]

POWER = 0.8
"""Chance that the seeds named as needed do settle it, if the values go on as they began."""

MOST_NEEDED = 100_000
"""Seeds beyond which nobody is told to add more."""


@dataclass(frozen=True)
class Look:
    """A point at which guards are judged.

    Attributes
    ----------
    seeds : int
        How many there are by then.
    tail : float
        Chance, at most, that an interval of this look lies wholly above the mean, and that it lies
        wholly below.
    """

    seeds: int
    tail: float


@dataclass(frozen=True)
class Verdict:
    """What was found of one requirement "the mean slack is at least 0" at one look.

    Attributes
    ----------
    outcome : {"pass", "fail", "inconclusive"}
        The interval lies wholly at or above 0, wholly below, or around it.
    mean, low, high : float
        Mean slack and the interval it was judged by.
    seeds : int
        How many it took.
    needed : int or None
        Where it is inconclusive: about how many seeds would settle it; None if more would not.
    """

    outcome: Outcome
    mean: float
    low: float
    high: float
    seeds: int
    needed: int | None = None


def judge(slacks: Sequence[Numbers], look: Look, rng: np.random.Generator) -> Verdict:
    """Return the verdict on requirements that must all hold: each mean slack is at least 0.

    Parameters
    ----------
    slacks : sequence of ndarray, shape (seeds,)
        Of each requirement, finite, as `Guard.slacks` gives them; at least one.
    look : Look
        With as many seeds as there are values.
    rng : numpy.random.Generator
        Draws the resamples of the intervals.

    Returns
    -------
    Verdict
        Of the requirement that decides: the one that is broken; if all hold, the one with least
        room; otherwise the one that needs seeds, one that seems broken before one that seems to
        hold.
    """
    each = [_judged(values, look, rng) for values in slacks]
    for outcome in ("fail", "inconclusive", "pass"):
        found = [verdict for verdict in each if verdict.outcome == outcome]
        if found:
            break
    # A single broken requirement settles it, but all have to hold.
    return min(found, key=lambda verdict: verdict.mean if verdict.mean < 0 else verdict.low)


def _judged(values: Numbers, look: Look, rng: np.random.Generator) -> Verdict:
    mean = float(values.mean())
    low, high = mean_interval(values, look.tail, rng)
    if low >= 0:
        return Verdict("pass", mean, low, high, len(values))
    if high < 0:
        return Verdict("fail", mean, low, high, len(values))
    needed = _needed(values, look.tail, mean - low if mean > 0 else high - mean)
    return Verdict("inconclusive", mean, low, high, len(values), needed)


def _needed(values: Numbers, tail: float, half: float) -> int | None:
    """Return about how many seeds narrow an interval that reaches `half` so far that it tells."""
    from scipy.special import ndtri, stdtrit

    seeds, mean = len(values), abs(float(values.mean()))
    if seeds < LEAST_SEEDS:
        return LEAST_SEEDS
    if not mean:
        return None
    if not math.isfinite(half):
        half = float(stdtrit(seeds - 1, 1 - tail) * values.std(ddof=1)) / math.sqrt(seeds)
    # At the seeds that bring the edge to 0 on the average, every other time it would not be there.
    margin = 1 - float(ndtri(POWER) / ndtri(tail))
    needed = seeds * max(half * margin / mean, 1.0) ** 2
    return None if needed > MOST_NEEDED else max(math.ceil(needed), seeds + 1)
