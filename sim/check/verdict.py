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

WIDER = 1.1
"""By how much the interval of some hundred seeds is wider than one of normal values."""

LEAST_MORE = 1.5
"""Fewer more than this share of the seeds that did not tell would not tell either."""

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
    return min(found, key=lambda v: (v.mean >= 0, v.mean if v.mean < 0 else v.low))


def _judged(values: Numbers, look: Look, rng: np.random.Generator) -> Verdict:
    mean = math.fsum(values) / len(values)
    low, high = mean_interval(values, look.tail, rng)
    if low >= 0:
        return Verdict("pass", mean, low, high, len(values))
    if high < 0:
        return Verdict("fail", mean, low, high, len(values))
    needed = _needed(values, mean, look.tail)
    return Verdict("inconclusive", mean, low, high, len(values), needed)


def _needed(values: Numbers, mean: float, tail: float) -> int | None:
    """Return about how many seeds would tell this mean from 0."""
    from scipy.special import ndtri

    seeds = len(values)
    if seeds < LEAST_SEEDS:
        return LEAST_SEEDS
    if not mean:
        return None
    errors = WIDER * -float(ndtri(tail)) + float(ndtri(POWER))
    needed = max((errors * float(values.std(ddof=1)) / mean) ** 2, LEAST_MORE * seeds)
    return None if needed > MOST_NEEDED else math.ceil(needed)
