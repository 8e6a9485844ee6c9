"""Searches that ask little: generators that yield where to look and are sent the strain there.

A strain up to 1 meets the target.  They know nothing of simulations: whoever drives one answers
what it asks, from a cache, from a pool of processes, or from a formula.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

FIRST_STEP = 1.25
FARTHEST = 1024.0
WIDE = 1.1


def least(cap: int, start: int = 1) -> Generator[int, float, int | None]:
    """Find the least number that meets the target; None where not even `cap` does.

    The strain is taken to fall with the number, up to noise: the numbers asked for go up or down
    from `start` in doubling steps, then the gap is halved.  Below the answer, two are looked at:
    where the second meets what the first did not, the search goes on from there.

    Parameters
    ----------
    cap : int
        The largest number.
    start : int
        A guess, from 1 to `cap`.
    """
    misses, meets, step = 0, start, 1
    while not (yield meets) <= 1:
        if meets == cap:
            return None
        misses, meets, step = meets, min(meets + step, cap), 2 * step
    while not misses and step < meets:  # a guess may be far too high
        if not (yield meets - step) <= 1:
            misses = meets - step
            break
        meets, step = meets - step, 2 * step
    while True:
        while meets - misses > 1:
            middle = (misses + meets) // 2
            if (yield middle) <= 1:
                meets = middle
            else:
                misses = middle
        if meets <= 2 or not (yield meets - 2) <= 1:
            return meets
        meets, misses = meets - 2, max(meets - 4, 0)
        if misses and (yield misses) <= 1:
            meets, misses = misses, 0


@dataclass(frozen=True)
class Crossing:
    """Where a rising strain passes 1.

    Attributes
    ----------
    meets : float or None
        The highest place that meets the target; None where none does.
    misses : float or None
        The next place that does not; None where none was found.
    slope : float or None
        How much faster than the place the strain rises there: d log strain / d log place, over
        the `WIDE` stretch around the crossing; None where it is not known.
    """

    meets: float | None
    misses: float | None
    slope: float | None = None


def highest(
    start: float = 1.0,
    tolerance: float = 0.01,
    slope: float | None = None,
    farthest: float = FARTHEST,
) -> Generator[float, float, Crossing]:
    """Find the highest place that meets the target, to within `tolerance` of it.

    The strain is taken to rise, up to noise.  From `start` the search strides up or down until it
    has one place of either kind, then halves the gap, or does better where a straight line through
    the logarithms says so.  At the end it looks a little below the answer: where the target is
    missed there, it takes the lower crossing, which is the cautious one.

    Parameters
    ----------
    start : float
        A guess above 0.
    tolerance : float
        Of the answer, relative.
    slope : float, optional
        What an earlier search found: says how far to go from `start`.
    farthest : float
        How many times above or below `start` to look.
    """
    known: dict[float, float] = {start: (yield start)}
    low, high = (start, None) if known[start] <= 1 else (None, start)
    stride = _predicted(known[start], slope, tolerance)
    while True:
        while low is None or high is None:
            place = high / stride if high is not None else (low or start) * stride
            place = min(max(place, start / farthest), start * farthest)
            if place in known:
                return Crossing(low, high, _slope(known, low, high))
            known[place] = yield place
            low, high = (place, high) if known[place] <= 1 else (low, place)
            stride = max(stride, FIRST_STEP) ** 1.5 if stride >= FIRST_STEP else FIRST_STEP
        steps = 0
        while high / low > 1 + tolerance:
            steps += 1
            place = _between(low, high, known[low], known[high], tolerance, halve=steps % 4 == 0)
            known[place] = yield place
            low, high = (place, high) if known[place] <= 1 else (low, place)
        beside = [place for place in known if low / (1 + 5 * tolerance) <= place < low]
        if not beside:
            beside = [low / (1 + 2 * tolerance)]
            known[beside[0]] = yield beside[0]
        missed = [place for place in beside if not known[place] <= 1]
        if not missed:
            return Crossing(low, high, _slope(known, low, high))
        low, high, stride = None, min(missed), 1 + 2 * tolerance


def _predicted(strain: float, slope: float | None, tolerance: float) -> float:
    """Return by how much to stride to be just past the crossing."""
    if slope is None or not 0 < strain < math.inf:
        return FIRST_STEP
    factor = math.exp(abs(math.log(strain)) / slope) * (1 + tolerance / 2)
    return min(factor, FIRST_STEP)


def _slope(known: dict[float, float], low: float | None, high: float | None) -> float | None:
    """Return the slope over the shortest stretch around a crossing that is wide enough."""
    if low is None or high is None:
        return None
    a = max((place for place in known if place <= high / WIDE), default=min(known))
    b = min((place for place in known if place >= a * WIDE), default=max(known))
    if not (a < b and 0 < known[a] < known[b] < math.inf):
        return None
    return math.log(known[b] / known[a]) / math.log(b / a)


def _between(
    low: float, high: float, strain_low: float, strain_high: float, tolerance: float, halve: bool
) -> float:
    """Return where to look next: near where a line through both reaches 1, or half way."""
    a, b = math.log(low), math.log(high)
    middle = (a + b) / 2
    if halve or not (0 < strain_low < math.inf and strain_low < strain_high < math.inf):
        return math.exp(middle)
    share = -math.log(strain_low) / (math.log(strain_high) - math.log(strain_low))
    # A step short of the tolerance from either end, so that the next look may close the gap.
    margin = min(0.8 * math.log1p(tolerance), (b - a) / 2)
    return math.exp(min(max(a + share * (b - a), a + margin), b - margin))


def best(sizes: Sequence[int], start: int) -> Generator[int, float, int]:
    """Find the size with the least strain, which has one valley up to level ground.

    Walks down from `start` in strides of two sizes, then of one; goes on over level ground.

    Parameters
    ----------
    sizes : sequence of int
        Ascending.
    start : int
        One of them.
    """
    at = sizes.index(start)
    known = {at: (yield start)}
    for stride in (2, 1):
        for direction in (-stride, stride):
            place = at + direction
            while 0 <= place < len(sizes):
                if place not in known:
                    known[place] = yield sizes[place]
                if known[place] > known[at]:
                    break
                if known[place] < known[at]:
                    at = place
                place += direction
    return sizes[at]
