"""Cumulative distributions in few points: where to count, and what falls where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

DIGITS = 4
"""Significant digits of an edge; a distribution is exact at its edges."""


def cdf_edges(columns: Sequence[Numbers], most: int) -> Numbers:
    """Return at most about `most` ascending values at which to count, for some runs together.

    All distinct values where they are few; else quantiles, closer together towards the tail, and
    values at equal ratios, so that no stretch is coarse in either direction.  The last edge is at
    least the largest value.
    """
    pooled = np.concatenate(columns) if columns else np.zeros(0)
    pooled = pooled[~np.isnan(pooled)]
    if not len(pooled):
        return np.zeros(0)
    distinct = np.unique(_rounded_up(np.unique(pooled)))
    if len(distinct) <= most:
        return distinct
    body = np.linspace(0, 1, most // 2)
    tail = 1 - np.geomspace(0.5, 1 / len(pooled), most // 4)
    spread = np.zeros(0)
    if distinct[0] > 0:
        spread = np.geomspace(distinct[0], distinct[-1], most // 4)
    quantiles = np.quantile(pooled, np.concatenate((body, tail)))
    return np.unique(np.append(_rounded_up(np.concatenate((quantiles, spread))), distinct[-1]))


def bins_of(values: Numbers, edges: Numbers) -> NDArray[np.int64]:
    """Return the first edge that is at least each value; -1 for NaN."""
    return np.where(np.isnan(values), -1, np.searchsorted(edges, values, side="left"))


def _rounded_up(values: Numbers) -> Numbers:
    """Return values with `DIGITS` significant digits, none less than it was."""
    size = np.floor(np.log10(np.abs(values), where=values != 0, out=np.zeros_like(values)))
    scale = 10.0 ** (DIGITS - 1 - size)
    # Decimal text and back: what JSON will say is what was counted with.
    rounded = np.array([float(f"{v:.{DIGITS + 6}g}") for v in np.ceil(values * scale) / scale])
    return np.where(rounded < values, np.nextafter(values, np.inf), rounded)
