"""A mean over seeds and how sure it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and its interval by Student's t; no interval from one seed."""

    mean: float
    low: float | None
    high: float | None


def mean_and_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Estimate | None:
    """Return the mean of independent numbers and its interval by Student's t.

    None without any number; no interval from one, nor from some of which one is infinite.
    """
    count = len(values)
    if not count:
        return None
    mean = math.fsum(values) / count
    if count == 1 or not math.isfinite(mean):
        return Estimate(mean, None, None)
    from scipy.special import stdtrit

    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    half = float(stdtrit(count - 1, (1 + confidence) / 2)) * math.sqrt(variance / count)
    return Estimate(mean, mean - half, mean + half)
