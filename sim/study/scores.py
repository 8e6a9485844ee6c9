"""Simulated runs against single published runs, and against each other.

A published cell is one run of 100 requests. Even a perfect simulator would miss it by that run's
own noise. What it would score: each simulated run of a cell is taken for the published one and
held against all the others of that cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

BAND_PCT = (2.5, 97.5)
RESOLUTION_POINTS = 1.0
"""One request of 100: the least by which two runs can differ."""

NORMAL_95 = 1.96


@dataclass(frozen=True)
class Score:
    """How near the simulation of some cells comes to a single run of each.

    Parameters
    ----------
    cells : int
    mae_points, bias_points : float
        Means over the cells of the absolute error and of the error: simulated mean less single run.
    inside_pct : float or None
        Share of single runs that are at most `RESOLUTION_POINTS` outside the band that holds 95 %
        of the simulated runs; None from one seed.
    strictly_inside_pct : float or None
        The same without that one point.
    """

    cells: int
    mae_points: float
    bias_points: float
    inside_pct: float | None
    strictly_inside_pct: float | None


@dataclass(frozen=True)
class Noise(Score):
    """What a perfect simulator would score on these cells: averages over the seeds.

    Parameters
    ----------
    mae_low_points, mae_high_points : float
        Between these is its mean absolute error in 95 % of studies of these cells.
    bias_reach_points : float
        In 95 % of such studies its bias is nearer to 0 than this.
    """

    mae_low_points: float
    mae_high_points: float
    bias_reach_points: float


@dataclass(frozen=True, eq=False)
class Judged:
    """A cell held against its published run, and against each of its own runs.

    Parameters
    ----------
    error_points : float
        Simulated mean less published value.
    inside : tuple of bool
        Whether the published value is in the band, with one point to spare and strictly.
    own_errors_points : ndarray, shape (seeds,)
        Mean of the other runs less each run; empty from one seed.
    own_inside : tuple of float
        Share of the runs that are in the band of the others, with one point to spare and strictly.
    """

    error_points: float
    inside: tuple[bool, bool]
    own_errors_points: NDArray[np.float64]
    own_inside: tuple[float, float]


def band(goodput_pct: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ends between which 95 % of the runs along the last axis lie, low and high."""
    ends: NDArray[np.float64] = np.percentile(goodput_pct, BAND_PCT, axis=-1)
    return ends


def judge(goodput_pct: NDArray[np.float64], published_pct: float) -> Judged:
    """Hold the runs of a cell, shape (seeds,), against the published run and each other."""
    seeds = len(goodput_pct)
    inside = _inside(goodput_pct, np.array(published_pct))
    own_errors, own_inside = np.empty(0), (0.0, 0.0)
    if seeds > 1:
        # Row i holds all runs but the i-th.
        square = np.broadcast_to(goodput_pct, (seeds, seeds))
        others = square[~np.eye(seeds, dtype=bool)].reshape(seeds, seeds - 1)
        own_errors = others.mean(axis=1) - goodput_pct
        spared, strictly = _inside(others, goodput_pct)
        own_inside = float(spared.mean()), float(strictly.mean())
    return Judged(
        error_points=float(goodput_pct.mean()) - published_pct,
        inside=(bool(inside[0]), bool(inside[1])),
        own_errors_points=own_errors,
        own_inside=own_inside,
    )


def score(cells: Sequence[Judged]) -> Score:
    """Return the score of some cells against their published runs."""
    errors = np.array([cell.error_points for cell in cells])
    shares = 100 * np.mean([cell.inside for cell in cells], axis=0)
    several = len(cells[0].own_errors_points) > 1
    return Score(
        cells=len(cells),
        mae_points=float(np.abs(errors).mean()),
        bias_points=float(errors.mean()),
        inside_pct=float(shares[0]) if several else None,
        strictly_inside_pct=float(shares[1]) if several else None,
    )


def noise(cells: Sequence[Judged]) -> Noise | None:
    """Return what a perfect simulator of these cells would score; None from one seed.

    The ranges take the runs of different cells for independent, as those of the study were.
    """
    errors = np.array([cell.own_errors_points for cell in cells])
    count, seeds = errors.shape
    if seeds < 2:
        return None
    mae = float(np.abs(errors).mean())
    # A mean over cells that are independent: the variances of its parts add up.
    mae_reach = NORMAL_95 * float(np.sqrt(np.abs(errors).var(axis=1, ddof=1).sum())) / count
    shares = 100 * np.mean([cell.own_inside for cell in cells], axis=0)
    return Noise(
        cells=count,
        mae_points=mae,
        bias_points=0.0,
        inside_pct=float(shares[0]),
        strictly_inside_pct=float(shares[1]),
        mae_low_points=max(mae - mae_reach, 0.0),
        mae_high_points=mae + mae_reach,
        bias_reach_points=NORMAL_95 * float(np.sqrt(errors.var(axis=1, ddof=1).sum())) / count,
    )


def _inside(
    runs: NDArray[np.float64], single: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    low, high = band(runs)
    spare = RESOLUTION_POINTS
    spared = (low - spare <= single) & (single <= high + spare)
    return spared, (low <= single) & (single <= high)
