"""The runs behind the figures: cells of the study, each simulated over many seeds."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from policies.protocol import PS_PER_S
from sim.options import OptionError
from sim.workers import check_jobs, each

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from calibrate.profile import Profile

REQUESTS = 100
WORKLOADS = ("W1", "W2", "W3")
RATES = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 15.0, 20.0)
SIZES = tuple(range(10, 101, 10))


@dataclass(frozen=True, order=True)
class Cell:
    """One setting of the study, run with 100 requests as the study did.

    Parameters
    ----------
    workload : str
        "W1", "W2" or "W3".
    rps : float
    policy : str
        As `policies.catalog.make_policy` takes it.
    arrivals : str
        The study drew those of its static runs "uniform" and those of SABER "poisson". On the same
        arrivals policies can be compared seed by seed.
    """

    workload: str
    rps: float
    policy: str
    arrivals: str = "poisson"


@dataclass(frozen=True, eq=False)
class CellRuns:
    """What the runs of one cell gave, in the order of the seeds.

    Parameters
    ----------
    goodput_pct : ndarray of float, shape (seeds,)
    sla_ratio_mean, sla_ratio_std : ndarray of float, shape (seeds,)
        Of E2E over SLA, over the finished requests of a run; NaN for a run without any.
    e2e_s : mapping of str to ndarray of float
        By task, completion times of all seeds together; NaN for requests that did not finish.
    """

    goodput_pct: NDArray[np.float64]
    sla_ratio_mean: NDArray[np.float64]
    sla_ratio_std: NDArray[np.float64]
    e2e_s: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


def run_cells(
    cells: Sequence[Cell],
    profile: Profile,
    seeds: Sequence[int],
    *,
    jobs: int = 1,
    on_done: Callable[[int], None] | None = None,
) -> dict[Cell, CellRuns]:
    """Simulate every cell for every seed; each cell once, however often it is named.

    The result does not depend on `jobs`. `on_done` is called with the number of cells finished.

    Raises
    ------
    OptionError
        Without seeds, or for a number of jobs that makes no sense.
    """
    found = {}
    for cell, runs in each_cell(cells, profile, seeds, jobs=jobs):
        found[cell] = runs
        if on_done is not None:
            on_done(len(found))
    return found


def each_cell(
    cells: Sequence[Cell], profile: Profile, seeds: Sequence[int], *, jobs: int = 1
) -> Iterator[tuple[Cell, CellRuns]]:
    """Return the cells with their runs, in order, each as soon as it is there.

    Workers go on with the next cells meanwhile. Raises as `run_cells` does.
    """
    if not seeds:
        raise OptionError("no seed to run: expected at least one")
    check_jobs(jobs)
    wanted = list(dict.fromkeys(cells))
    return zip(
        wanted, each(partial(run_cell, profile=profile, seeds=seeds), wanted, jobs), strict=True
    )


def run_cell(cell: Cell, profile: Profile, seeds: Sequence[int]) -> CellRuns:
    """Simulate one cell for every seed."""
    from sim.simulation import simulate
    from traces.workloads import workload

    goodput, means, stds = [], [], []
    e2e: dict[str, list[NDArray[np.float64]]] = {}
    for seed in seeds:
        trace = workload(cell.workload, cell.rps, REQUESTS, seed, cell.arrivals)
        run = simulate(trace, profile, policy=cell.policy, seed=seed).columns
        e2e_s = np.where(run.e2e_ps >= 0, run.e2e_ps / PS_PER_S, np.nan)
        ratios = e2e_s / (run.sla_ps / PS_PER_S)
        goodput.append(100 * run.met.mean())
        finished = ratios[~np.isnan(ratios)]
        means.append(finished.mean() if len(finished) else np.nan)
        stds.append(finished.std() if len(finished) else np.nan)
        for code, task in enumerate(trace.tasks):
            e2e.setdefault(task, []).append(e2e_s[trace.task_code == code])
    return CellRuns(
        goodput_pct=np.array(goodput, dtype=np.float64),
        sla_ratio_mean=np.array(means, dtype=np.float64),
        sla_ratio_std=np.array(stds, dtype=np.float64),
        e2e_s={task: np.concatenate(parts) for task, parts in e2e.items()},
    )
