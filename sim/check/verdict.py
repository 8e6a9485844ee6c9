"""What a guard's numbers say: it holds, it is broken, or there are too few seeds to tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["pass", "fail", "inconclusive"]


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
