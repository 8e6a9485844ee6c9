"""How well a sweep keeps its workers busy: 1,000 cells of 1,000 requests on two of them.

``python tests/bench_sweep.py`` prints it; ``--quick`` takes a tenth of the cells.  Processor time
over wall time says how much of the cores the workers had; on a machine that others use too, the
time they were ready to run and waited for a core belongs to the others, and is told apart where
the system counts it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from sim.sweep.cells import cells_of
from sim.sweep.grid import read_grid
from sim.sweep.inputs import Inputs
from sim.sweep.pools import opened_pool
from sim.sweep.store import opened
from sim.sweep.sweep import run_sweep

AT_LEAST = 0.90
GRID = """
workload = ["W1", "W3"]
rps = [2, 4, 6, 8, 10]
n = {requests}
policy = ["static(16)", "static(32)", "static(64)", "static(100)", "saber"]
seeds = {seeds}
"""
CELLS_A_SEED = 50


@dataclass(frozen=True)
class Utilisation:
    """How a sweep used its workers.

    Attributes
    ----------
    cells : int
    wall_s : float
        From handing out the first cell, before any worker runs, to the last result.
    total_s : float
        With the reading of the grid and the writing of the table.
    cpu_share : float
        Processor time of the workers over workers times wall time.
    wanted_share : float or None
        The same with the time they waited for a core that others had.
    busy_share : float
        Time in which they ran cells, over workers times wall time.
    """

    cells: int
    wall_s: float
    total_s: float
    cpu_share: float
    wanted_share: float | None
    busy_share: float


def utilisation(cells: int = 1000, requests: int = 1000, jobs: int = 2) -> Utilisation:
    """Run a sweep on worker processes that start with it, and return how it used them."""
    from joblib.externals.loky import get_reusable_executor

    start_s = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        grid = Path(folder) / "grid.toml"
        grid.write_text(GRID.format(requests=requests, seeds=max(1, cells // CELLS_A_SEED)))
        inputs = Inputs(grid.parent)
        made, _ = cells_of(read_grid(grid), inputs)
        with (
            opened(Path(folder) / "results") as store,
            opened_pool("loky", jobs, None, inputs.objects) as pool,
        ):
            report = run_sweep(made, inputs, store, pool)
    total_s = time.perf_counter() - start_s
    cpu_s, waited_s = _of_children()
    get_reusable_executor().shutdown(wait=True)
    available_s = jobs * report.wall_s
    return Utilisation(
        cells=report.ran,
        wall_s=report.wall_s,
        total_s=total_s,
        cpu_share=cpu_s / available_s,
        wanted_share=None if waited_s is None else (cpu_s + waited_s) / available_s,
        busy_share=report.busy_s / available_s,
    )


def _of_children() -> tuple[float, float | None]:
    """Return the processor time of this process's children, and how long they waited for it [s]."""
    ticks = os.sysconf("SC_CLK_TCK")
    cpu_s, waited_s, counted = 0.0, 0.0, False
    for process in Path("/proc").glob("[0-9]*"):
        try:
            stat = (process / "stat").read_text().rpartition(")")[2].split()
            if int(stat[1]) != os.getpid():
                continue
            cpu_s += (int(stat[11]) + int(stat[12])) / ticks
            for task in (process / "task").iterdir():
                waited_s += int((task / "schedstat").read_text().split()[1]) / 1e9
                counted = True
        except (FileNotFoundError, ProcessLookupError):
            continue
    return cpu_s, waited_s if counted else None


def sweeps(scale: int) -> None:
    """Measure 1,000 cells / `scale`, and print."""
    found = utilisation(cells=1000 // scale)
    print(
        f"{found.cells:,} cells in {found.wall_s:.1f} s ({found.total_s:.1f} s with reading and "
        f"writing); of two workers' time {found.cpu_share:.1%} processor, {found.busy_share:.1%} "
        f"in cells, at least {AT_LEAST:.0%} expected on a machine of their own"
    )
    if found.wanted_share is not None:
        print(f"with the time they waited for a core that others had: {found.wanted_share:.1%}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the cells")
    sweeps(10 if parser.parse_args().quick else 1)


if __name__ == "__main__":
    main()
