"""How far the simulation is from the published cells, beside the noise of single runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from policies.catalog import make_policy
from sim.study.published import ESTIMATORS, saber_goodput_pct, static_goodput_pct
from sim.study.reasons import SABER_REASONS
from sim.study.runs import Cell
from sim.study.scores import RESOLUTION_POINTS, Judged, Noise, Score, band, judge, noise, score

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sim.study.runs import CellRuns

WORKLOADS = ("W1", "W3")
"""Those with published cells."""

POOLED = "W1+W3"
STATIC = "static"

READINGS: Mapping[str, str] = {
    "text, lpq one": "lpq=one",
    "text, lpq all": "lpq=all",
    "text, lpq idle": "lpq=idle",
    "artifact": "variant=artifact",
}
"""What SABER may have been: the paper's text under each low-priority rule it leaves open, and what
the replication package does."""

FIRST_SEED = 1000
"""Later than the seeds the bundled profile was fitted with."""

MISSES = 10


@dataclass(frozen=True)
class Row:
    """The score of one policy on one workload, or on both.

    Parameters
    ----------
    workload : str
        "W1", "W3" or `POOLED`.
    group : str
        `STATIC`, or SABER's estimator.
    reading : str
        Of `READINGS`, by workload where `POOLED` takes different ones; empty for static sizes.
    score : Score
    noise : Noise or None
        None from one seed.
    """

    workload: str
    group: str
    reading: str
    score: Score
    noise: Noise | None


@dataclass(frozen=True)
class Miss:
    """A published cell and its simulation.

    Parameters
    ----------
    cell : Cell
    published_pct, mean_pct : float
    low_pct, high_pct : float
        Between these are 95 % of the simulated runs.
    reason : str
        Why they differ, as far as it is known.
    """

    cell: Cell
    published_pct: float
    mean_pct: float
    low_pct: float
    high_pct: float
    reason: str

    @property
    def error_points(self) -> float:
        """Simulated mean less published value."""
        return self.mean_pct - self.published_pct


@dataclass(frozen=True)
class Fidelity:
    """What `fidelity` found.

    Parameters
    ----------
    seeds : int
        Runs of each cell.
    rows : tuple of Row
        Static sizes, then SABER by estimator and reading; each for W1, W3 and both.
    best : tuple of Row
        By estimator: the reading with the least mean absolute error on W1, that on W3, and the two
        together. Picked after the fact.
    misses : tuple of Miss
        The `MISSES` largest of the static sizes, then those of SABER (USL) in its best readings.
    """

    seeds: int
    rows: tuple[Row, ...]
    best: tuple[Row, ...]
    misses: tuple[Miss, ...]


def published_cells(workload: str, group: str, reading: str = "") -> dict[Cell, float]:
    """Return the cells of a group with their published goodput [%].

    Static runs draw their arrivals "uniform" and SABER's "poisson", as in the study.
    """
    if group == STATIC:
        return {
            Cell(workload, rps, f"static({size})", "uniform"): goodput
            for (rps, size), goodput in static_goodput_pct(workload).items()
        }
    policy = saber_policy(group, reading)
    return {
        Cell(workload, rps, policy): goodput
        for rps, goodput in saber_goodput_pct(workload, group).items()
    }


def saber_policy(estimator: str, reading: str) -> str:
    """Return SABER's text with an estimator and in one of `READINGS`."""
    return make_policy(f"saber(estimator={estimator}, {READINGS[reading]})").label


def fidelity_cells() -> tuple[Cell, ...]:
    """Return every cell that `fidelity` needs the runs of."""
    return tuple(
        cell
        for group, reading in _policies()
        for workload in WORKLOADS
        for cell in published_cells(workload, group, reading)
    )


def fidelity(runs: Mapping[Cell, CellRuns]) -> Fidelity:
    """Return how far the runs of `fidelity_cells` are from the published cells."""
    judged = {
        (workload, group, reading): [
            judge(runs[cell].goodput_pct, goodput)
            for cell, goodput in published_cells(workload, group, reading).items()
        ]
        for group, reading in _policies()
        for workload in WORKLOADS
    }
    rows = []
    for group, reading in _policies():
        both = [judged[workload, group, reading] for workload in WORKLOADS]
        rows += [
            _row(workload, group, reading, cells)
            for workload, cells in zip(WORKLOADS, both, strict=True)
        ]
        rows.append(_row(POOLED, group, reading, [*chain(*both)]))
    best: list[Row] = []
    misses = _largest_misses(runs, dict.fromkeys(WORKLOADS, (STATIC, "")))
    for estimator in ESTIMATORS:
        nearest = [_nearest(rows, workload, estimator) for workload in WORKLOADS]
        both = [judged[row.workload, estimator, row.reading] for row in nearest]
        best += [*nearest, _row(POOLED, estimator, _readings(nearest), [*chain(*both)])]
        if estimator == "usl":
            misses += _largest_misses(runs, {r.workload: (estimator, r.reading) for r in nearest})
    seeds = len(runs[fidelity_cells()[0]].goodput_pct)
    return Fidelity(seeds, tuple(rows), tuple(best), tuple(misses))


def _policies() -> Iterator[tuple[str, str]]:
    yield STATIC, ""
    yield from ((estimator, reading) for estimator in ESTIMATORS for reading in READINGS)


def _row(workload: str, group: str, reading: str, cells: list[Judged]) -> Row:
    return Row(workload, group, reading, score(cells), noise(cells))


def _nearest(rows: list[Row], workload: str, group: str) -> Row:
    mine = [row for row in rows if (row.workload, row.group) == (workload, group)]
    return min(mine, key=lambda row: row.score.mae_points)


def _readings(rows: list[Row]) -> str:
    """Return the reading of all rows, or that of each workload where they differ."""
    if len({row.reading for row in rows}) == 1:
        return rows[0].reading
    return "; ".join(f"{row.workload} {row.reading}" for row in rows)


def _largest_misses(
    runs: Mapping[Cell, CellRuns], policies: Mapping[str, tuple[str, str]]
) -> list[Miss]:
    """Return the largest misses of a policy (group, reading) by workload."""
    found = []
    for workload, (group, reading) in policies.items():
        for cell, published in published_cells(workload, group, reading).items():
            goodput = runs[cell].goodput_pct
            low, high = map(float, band(goodput))
            reason = _reason(runs, cell, group, published)
            found.append(Miss(cell, published, float(goodput.mean()), low, high, reason))
    # Of equal misses the first in the study's order.
    return sorted(found, key=lambda miss: -abs(miss.error_points))[:MISSES]


def _reason(runs: Mapping[Cell, CellRuns], cell: Cell, group: str, published: float) -> str:
    """Say what the runs, and the study's own records, tell about a miss."""
    told = []
    if group == STATIC:
        same = _same_cells(runs, cell)
        if len(same) > 1:
            measured = ", ".join(f"{value:.0f}" for value in same)
            told.append(
                f"the batch never gets so large: {len(same)} sizes are one and the same, "
                f"measured {measured}"
            )
    else:
        if all(published > _high_end(runs, cell, group, reading) for reading in READINGS):
            told.append("open: published above the band of every reading of the algorithm")
        if group == "usl" and (cell.workload, cell.rps) in SABER_REASONS:
            told.append(SABER_REASONS[cell.workload, cell.rps])
    if told:
        return "; ".join(told)
    low, high = band(runs[cell].goodput_pct)
    within = low - RESOLUTION_POINTS <= published <= high + RESOLUTION_POINTS
    return "a single run may fall there" if within else "not known"


def _same_cells(runs: Mapping[Cell, CellRuns], cell: Cell) -> list[float]:
    """Return what was measured at this rate with every size that makes no difference to it."""
    ratios = runs[cell].sla_ratio_mean
    return [
        published
        for other, published in published_cells(cell.workload, STATIC).items()
        if other.rps == cell.rps and np.array_equal(runs[other].sla_ratio_mean, ratios)
    ]


def _high_end(runs: Mapping[Cell, CellRuns], cell: Cell, estimator: str, reading: str) -> float:
    other = replace(cell, policy=saber_policy(estimator, reading))
    return float(band(runs[other].goodput_pct)[1]) + RESOLUTION_POINTS
