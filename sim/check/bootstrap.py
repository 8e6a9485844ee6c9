"""How sure a mean over seeds is when nothing is known of how the values scatter."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

LEAST_SEEDS = 5
"""With fewer values no interval is given, not even of equal ones."""

RESAMPLES = 2_500
"""Resamples as the values are; as many again are tilted towards each tail."""

CHUNK = 1 << 17
"""Numbers drawn at a time: what they need stays within the processor's cache."""

TILTED_SD = 2.5
"""Standard deviations from the mean beyond which the tilt is no stronger."""

COPIES = 64
"""How finely the chances of a tilted draw are graded."""

NO_SPREAD = 1e-12
"""A resample with less than this share of the variance counts as one without any."""


def mean_interval(values: Numbers, tail: float, rng: np.random.Generator) -> tuple[float, float]:
    """Return an interval of the mean: studentised bootstrap, never narrower than Student's t.

    Parameters
    ----------
    values : ndarray, shape (seeds,)
        Independent and finite.
    tail : float
        Chance that the interval lies wholly above the mean, and that it lies wholly below; above 0
        and below 0.5.
    rng : numpy.random.Generator
        Draws the resamples.

    Returns
    -------
    low, high : float
        Minus and plus infinity where the values do not bound the mean on that side.

    Notes
    -----
    The studentised bootstrap, or bootstrap-t (B. Efron and R. J. Tibshirani, "An Introduction to
    the Bootstrap", 1993, chapter 12), follows skewed values, where Student's t alone is wrong in
    the order of 1/sqrt(n) and it in 1/n (P. Hall, "The Bootstrap and Edgeworth Expansion", 1992,
    chapter 3).  Tails that plain resampling would hardly meet are met by drawing a third of the
    resamples tilted towards each tail and weighing all of them by how likely they are untilted
    (importance resampling: A. C. Davison and D. V. Hinkley, "Bootstrap Methods and their
    Application", 1997, section 9.4).

    Where the values say too little, the interval is wide rather than clever.  Each side is at least
    as far from the mean as Student's t has it.  A resample without spread lies infinitely far on
    its side.  As that would leave many equal values with a few others among them without any bound,
    the mean is then bounded as `_if_rare` says.  Fewer than `LEAST_SEEDS` values bound nothing.

    Equal values are taken at their word: the interval is that point, because a change that leaves
    every seed alike, or moves all by the same, needs no statistics.  No interval can speak of what
    no seed has shown (R. R. Bahadur and L. J. Savage, 1956): what happens on one seed in a hundred
    is likely to be missed by fifty.
    """
    seeds = len(values)
    if seeds < LEAST_SEEDS:
        return -math.inf, math.inf
    if values.min() == values.max():
        return float(values[0]), float(values[0])
    mean = float(values.mean())
    from_mean = values - mean
    spread = float(np.sqrt(np.mean(from_mean**2)))
    error = spread / math.sqrt(seeds - 1)
    below, above = _studentised(from_mean / spread, tail, rng)
    from scipy.special import stdtrit

    student = float(stdtrit(seeds - 1, 1 - tail)) * error
    rare_low, rare_high = _if_rare(values, tail)
    down = max(min(above * error, mean - rare_low), student)
    up = max(min(-below * error, rare_high - mean), student)
    return mean - down, mean + up


def _if_rare(values: Numbers, tail: float) -> tuple[float, float]:
    """Return bounds of the mean where at least half the values are one and the same.

    The share of values below that one is at most the bound of C. J. Clopper and E. S. Pearson
    ("The Use of Confidence or Fiducial Limits", 1934), and none is taken to be lower than the
    lowest seen; likewise above.  Without such a value there are no bounds.
    """
    from scipy.special import betaincinv

    seeds = len(values)
    distinct, counts = np.unique(values, return_counts=True)
    if 2 * counts.max() < seeds:
        return -math.inf, math.inf
    common = distinct[counts.argmax()]

    def share(others: int) -> float:
        return float(betaincinv(others + 1, seeds - others, 1 - tail))

    below, above = int(np.sum(values < common)), int(np.sum(values > common))
    low = common - share(below) * (common - values.min())
    return float(low), float(common + share(above) * (values.max() - common))


def _studentised(scores: Numbers, tail: float, rng: np.random.Generator) -> tuple[float, float]:
    """Return the lower and upper quantile of the studentised mean of resampled scores.

    `scores` have mean 0 and variance 1 (with n as the divisor).
    """
    from scipy.special import ndtri

    seeds = len(scores)
    # Tilted by this much, the studentised mean lies about where the tail begins.
    tilt = np.clip(scores, -TILTED_SD, TILTED_SD) * (-float(ndtri(tail)) / math.sqrt(seeds))
    designs = [_copies(np.zeros(seeds)), _copies(-tilt), _copies(tilt)]
    # What a value adds to the sum, the sum of squares, and the logarithm of the chance of its
    # resample in either tilted design over that in the plain one.
    terms = np.stack(
        [scores, scores**2, *(np.log(copies * (seeds / copies.sum())) for copies in designs[1:])]
    )
    sums = np.concatenate([_sums(terms, copies, rng) for copies in designs], axis=1)
    mean, variance = sums[0] / seeds, sums[1] / seeds - (sums[0] / seeds) ** 2
    flat = variance < NO_SPREAD
    with np.errstate(divide="ignore", invalid="ignore"):
        studentised = mean * math.sqrt(seeds - 1) / np.sqrt(np.where(flat, 0.0, variance))
    studentised[np.isnan(studentised)] = 0.0  # without spread, and at the mean itself
    weight = 1 / (1 + np.exp(sums[2]) + np.exp(sums[3])) / RESAMPLES
    order = np.argsort(studentised, kind="stable")
    ordered, weight = studentised[order], weight[order]
    return _first_beyond(ordered, weight, tail), _first_beyond(ordered[::-1], weight[::-1], tail)


def _first_beyond(ordered: Numbers, weight: Numbers, tail: float) -> float:
    """Return the first number up to which, it included, lies the chance `tail`."""
    place = int(np.searchsorted(np.cumsum(weight), tail))
    return float(ordered[min(place, len(ordered) - 1)])


def _copies(tilt: Numbers) -> NDArray[np.int64]:
    """Return how often each value stands in the urn it is drawn from: as exp(tilt), rounded."""
    if not tilt.any():
        return np.ones(len(tilt), dtype=np.int64)
    copies: NDArray[np.int64] = np.maximum(np.rint(COPIES * np.exp(tilt)), 1).astype(np.int64)
    return copies


def _sums(terms: Numbers, copies: NDArray[np.int64], rng: np.random.Generator) -> Numbers:
    """Return the sum of each row of `terms` over each of `RESAMPLES` resamples, a row a term."""
    seeds = terms.shape[1]
    urn = np.repeat(np.arange(seeds), copies)
    sums = np.empty((len(terms), RESAMPLES))
    rows = max(1, CHUNK // seeds)
    for start in range(0, RESAMPLES, rows):
        count = min(rows, RESAMPLES - start)
        drawn = urn[rng.integers(len(urn), size=(count, seeds), dtype=np.uint32)]
        for term, total in zip(terms, sums, strict=True):
            total[start : start + count] = term[drawn].sum(axis=1)
    return sums
