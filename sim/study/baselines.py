"""The best static size that SABER is compared with, as the study picks it and fairly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sim.study.runs import RATES, SIZES, Cell

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from sim.study.runs import CellRuns


def static_cells(workload: str, arrivals: str = "uniform") -> tuple[Cell, ...]:
    """Return the cells of the static sizes: all sizes of the first rate, then of the next."""
    return tuple(
        Cell(workload, rps, f"static({size})", arrivals) for rps in RATES for size in SIZES
    )


def saber_cells(workload: str, policy: str = "saber") -> tuple[Cell, ...]:
    """Return the cells of SABER, a rate after the other."""
    return tuple(Cell(workload, rps, policy) for rps in RATES)


@dataclass(frozen=True, eq=False)
class Studies:
    """As many studies as there are seeds, each with ONE run of every cell, as the published one.

    Parameters
    ----------
    saber_pct, static_pct : ndarray of float, shape (rates, studies)
        Goodput of SABER, and of the static size that did best in that study at that rate.
    saber_ratio, static_ratio : ndarray of float, shape (rates, studies)
        Mean SLA ratio of the same runs.
    saber_ratio_std, static_ratio_std : ndarray of float, shape (rates, studies)
        Its standard deviation over the requests of a run.
    """

    saber_pct: NDArray[np.float64]
    static_pct: NDArray[np.float64]
    saber_ratio: NDArray[np.float64]
    static_ratio: NDArray[np.float64]
    saber_ratio_std: NDArray[np.float64]
    static_ratio_std: NDArray[np.float64]


def studies(runs: Mapping[Cell, CellRuns], workload: str, policy: str = "saber") -> Studies:
    """Return the studies that can be made of the runs, every run being part of one.

    Study i takes run i + k of its k-th cell, since the published cells shared no arrivals.
    Static sizes run on uniform arrivals and SABER on Poisson arrivals. Of equal sizes the
    smallest is the best.
    """
    cells = (*saber_cells(workload, policy), *static_cells(workload))
    saber_pct, sizes_pct = _parts([runs[cell].goodput_pct for cell in cells])
    saber_ratio, sizes_ratio = _parts([runs[cell].sla_ratio_mean for cell in cells])
    saber_std, sizes_std = _parts([runs[cell].sla_ratio_std for cell in cells])
    best = sizes_pct.argmax(axis=1, keepdims=True)
    return Studies(
        saber_pct=saber_pct,
        static_pct=np.take_along_axis(sizes_pct, best, axis=1)[:, 0],
        saber_ratio=saber_ratio,
        static_ratio=np.take_along_axis(sizes_ratio, best, axis=1)[:, 0],
        saber_ratio_std=saber_std,
        static_ratio_std=np.take_along_axis(sizes_std, best, axis=1)[:, 0],
    )


def _parts(rows: list[NDArray[np.float64]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return SABER's runs (rates, studies) and those of static sizes (rates, sizes, studies)."""
    apart = np.stack([np.roll(row, -place) for place, row in enumerate(rows)])
    saber, static = np.split(apart, [len(RATES)])
    return saber, static.reshape(len(RATES), len(SIZES), -1)


def fair_static_pct(
    runs: Mapping[Cell, CellRuns], workload: str
) -> tuple[NDArray[np.float64], NDArray[np.int_]]:
    """Return the goodput [%] of static sizes chosen on other seeds, and these sizes.

    Every other seed is one half. The size of a rate is the best by its mean on one half and
    judged on the other, and the other way round, on the Poisson arrivals that SABER gets.

    Returns
    -------
    goodput_pct, sizes : ndarray, shape (rates, seeds)

    Raises
    ------
    ValueError
        From one seed, which leaves none to choose on.
    """
    cells = static_cells(workload, "poisson")
    seeds = len(runs[cells[0]].goodput_pct)
    if seeds < 2:
        raise ValueError("one seed: expected at least two, to choose on one and judge on the other")
    sizes_pct = np.stack([runs[cell].goodput_pct for cell in cells])
    sizes_pct = sizes_pct.reshape(len(RATES), len(SIZES), seeds)
    odd = np.arange(seeds) % 2 == 1
    chosen = np.empty((len(RATES), seeds), dtype=np.int_)
    for judged in (odd, ~odd):
        chosen[:, judged] = sizes_pct[..., ~judged].mean(axis=2).argmax(axis=1)[:, None]
    goodput = np.take_along_axis(sizes_pct, chosen[:, None], axis=1)[:, 0]
    return goodput, np.array(SIZES)[chosen]


def variation_pct(ratios: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the cross-load variation [%] of mean SLA ratios of shape (rates, studies).

    The population standard deviation over the rates, over their mean.
    """
    variation: NDArray[np.float64] = 100 * ratios.std(axis=0) / ratios.mean(axis=0)
    return variation
