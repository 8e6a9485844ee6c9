"""Counts of positive numbers in bins of nearly equal ratio, for percentiles in bounded memory.

Bins are linear within each power of two, as in G. Tene's HdrHistogram: a number's bin is the first
bits of its floating-point form, so it takes no logarithm, and edges are exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_MANTISSA_BITS = 52
_KEPT_BITS = 9
_SHIFT = _MANTISSA_BITS - _KEPT_BITS
_FIRST = 1023 << _KEPT_BITS  # the bin that begins at 1
_BINS = 64 << _KEPT_BITS

RELATIVE_ERROR = 1 / (1 << _KEPT_BITS + 1)
"""How far a percentile may be from the true one, at most: half a bin, about 0.1 %."""


class Histogram:
    """Numbers from 1 to 2^64, each with a whole weight.

    Attributes
    ----------
    count : int
        All weights together.
    mean : float
        Exact up to rounding; NaN without any number.
    """

    __slots__ = ("_high", "_low", "_total", "_weights", "count")

    def __init__(self) -> None:
        self._weights = np.zeros(_BINS, dtype=np.int64)
        self._total = 0.0
        self._low, self._high = float("inf"), 0.0
        self.count = 0

    @property
    def mean(self) -> float:
        """The mean of the numbers; NaN without any."""
        return self._total / self.count if self.count else float("nan")

    def add(self, values: NDArray[Any], weights: NDArray[np.int64] | None = None) -> None:
        """Count numbers, each once or with its weight."""
        if not len(values):
            return
        if weights is None:
            weights = np.ones(len(values), dtype=np.int64)
        self._count(_bin_of(values), weights)
        self._note(float(values.min()), float(values.max()), float((values * 1.0) @ weights))

    def add_rising(
        self,
        first: NDArray[np.int64],
        step: NDArray[np.int64],
        terms: NDArray[np.int64],
        weights: NDArray[np.int64],
    ) -> None:
        """Count rows of `terms` numbers that begin with `first` and rise by `step` > 0."""
        if not len(first):
            return
        last = first + step * (terms - 1)
        low, high = _bin_of(first), _bin_of(last)
        spans = high - low + 1
        row = np.repeat(np.arange(len(first)), spans)
        bins = low[row] + np.arange(len(row)) - np.repeat(np.cumsum(spans) - spans, spans)
        # Terms below the upper edge of each bin that the row touches, and then within it.
        below = np.ceil((_edge(bins + 1) - first[row]) / step[row]).astype(np.int64)
        below = np.where(bins == high[row], terms[row], np.clip(below, 0, terms[row]))
        within = np.diff(below, prepend=0)
        begins = np.cumsum(spans) - spans
        within[begins] = below[begins]
        self._count(bins, within * weights[row])
        total = float(((first + last) / 2 * terms) @ weights)
        self._note(float(first.min()), float(last.max()), total)

    def percentiles(self, percent: Sequence[float]) -> list[float]:
        """Return percentiles, interpolated between ranks as `numpy.percentile` does; else NaN."""
        if not self.count:
            return [float("nan")] * len(percent)
        ranks = np.array(percent) / 100 * (self.count - 1)
        below = np.floor(ranks)
        low = self._ranked(below)
        high = self._ranked(np.minimum(below + 1, self.count - 1))
        answers: list[float] = (low + (high - low) * (ranks - below)).tolist()
        return answers

    def _count(self, bins: NDArray[np.int64], weights: NDArray[np.int64]) -> None:
        np.add.at(self._weights, bins, weights)
        self.count += int(weights.sum())

    def _note(self, low: float, high: float, total: float) -> None:
        self._low = min(self._low, low)
        self._high = max(self._high, high)
        self._total += total

    def _ranked(self, ranks: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the numbers at these ranks (from 0), within the error."""
        bins = np.searchsorted(np.cumsum(self._weights), ranks, side="right")
        low, high = _edge(bins), _edge(bins + 1)
        # The number whose relative distance to both edges is the same.
        middle = 2 * low * high / (low + high)
        return np.clip(middle, self._low, self._high)


def _bin_of(values: NDArray[Any]) -> NDArray[np.int64]:
    bits = np.ascontiguousarray(values, dtype=np.float64).view(np.int64)
    bins: NDArray[np.int64] = np.maximum((bits >> _SHIFT) - _FIRST, 0)
    return bins


def _edge(bins: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return where bins begin."""
    return (bins + _FIRST << _SHIFT).view(np.float64)
