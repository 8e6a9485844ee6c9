"""Small sweeps for tests, run in this process or as a user runs them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from sim.sweep.cells import cells_of
from sim.sweep.grid import read_grid
from sim.sweep.inputs import Inputs
from sim.sweep.pools import opened_pool
from sim.sweep.store import opened
from sim.sweep.sweep import run_sweep

ROOT = Path(__file__).parents[1]

GRID = """
workload = ["W1", "W3"]
rps = [5, 10]
n = [20, 60]
policy = ["static(16)", "saber"]
seeds = 2
[clients]
timeout_s = [5, "none"]
"""

TRACES = """
trace = ["a.csv", "b.csv"]
scale = [1, 2]
sla = ["unloaded*3", 5]
profile = ["paper-qwen2.5-coder-3b", "roofline-h100-qwen2.5-coder-7b"]
policy = ["static(16)", "saber"]
"""

POISON = """
import os

def dies(view):
    os._exit(9)

def raises(view):
    raise RuntimeError("no\\nway")

def leaves(view):
    raise SystemExit(3)
"""


def written(folder, text=GRID):
    """Write a grid, and the traces and policies the others name; return the path of the grid."""
    path = folder / "grid.toml"
    path.write_text(text)
    rows = "".join(f"{i / 4},{50 + 7 * i},{20 + i % 5},5\n" for i in range(30))
    head = "arrival_s,prompt_tokens,output_tokens,sla_s\n"
    (folder / "a.csv").write_text(head + rows)
    (folder / "b.csv").write_text(head + rows.replace(",5\n", ",9\n"))
    (folder / "poison_of_the_tests.py").write_text(POISON)
    return path


def swept(folder, text=GRID, backend="loky", jobs=1, address=None, out="results", on_progress=None):
    """Run a sweep; return its report."""
    path = written(folder, text)
    inputs = Inputs(folder)
    cells, _ = cells_of(read_grid(path), inputs)
    with (
        opened(folder / out) as store,
        opened_pool(backend, jobs, address, inputs.objects) as pool,
    ):
        return run_sweep(cells, inputs, store, pool, on_progress)


def saber(*argv, cwd):
    """Run the command in a process of its own; return exit code, stdout and stderr."""
    process = started(*argv, cwd=cwd)
    return process.wait(), *said(cwd)


def started(*argv, cwd):
    """Start the command in a process, and a process group, of its own.

    What it says goes to files: pipes would stay open for as long as its workers outlive it.
    """
    with (cwd / "stdout").open("w") as out, (cwd / "stderr").open("w") as err:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "sim.cli", *map(str, argv)],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=out,
            stderr=err,
            start_new_session=True,
        )


def said(folder):
    """Return what the last command started in a folder wrote to stdout and stderr."""
    return (folder / "stdout").read_text(), (folder / "stderr").read_text()


def killed(process):
    """Kill a process, then what is left of its group."""
    process.kill()
    process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
