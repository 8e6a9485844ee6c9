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


def mean_within(
    values: Sequence[float | None], highest: float, lowest: float = 0.0
) -> Estimate | None:
    """Return mean and interval, cut off where no mean can be; None among the values is left out."""
    estimate = mean_and_interval([value for value in values if value is not None])
    if estimate is None or estimate.low is None or estimate.high is None:
        return estimate
    return Estimate(estimate.mean, max(estimate.low, lowest), min(estimate.high, highest))


def mean_difference(
    values: Sequence[float | None], others: Sequence[float | None]
) -> Estimate | None:
    """Return the mean of `values` less `others`, paired place by place; None drops its pair."""
    pairs = zip(values, others, strict=True)
    return mean_and_interval([a - b for a, b in pairs if a is not None and b is not None])
