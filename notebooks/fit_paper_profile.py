"""Fit the profile ``paper-qwen2.5-coder-3b`` to the study's measured static grids.

Five numbers (decode a + b*B, prefill c + d*tokens, client round trip) are fitted jointly to the 240
published goodputs of W1 and W3 under static batch sizes: each cell is one run of 100 requests, so
the simulated mean is compared with it in units of the cell's own simulated single-run noise, and
outliers count linearly.  SABER's published series is not looked at.

    python notebooks/fit_paper_profile.py static_goodput.csv --seeds 40 --out fitted.json

Prints every improvement and writes the best profile so far, so it can be stopped at any time.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize

from calibrate import load_profile
from calibrate.steptime import StepCost
from sim import simulate
from traces import workload

if TYPE_CHECKING:
    from calibrate.profile import Profile

START_MS = (10.48, 0.153, 0.54, 0.0861, 1.8)
NAMES = ("decode", "a sequence", "prefill", "a prompt token", "round trip")
FIRST_STEP_MS = (0.2, 0.006, 0.4, 0.002, 2.0)
OUTLIER = 2.0  # in units of the noise

Cell = tuple[str, float, int]


def published(path: Path) -> dict[Cell, float]:
    """Return the measured goodput [%] by workload, rate and batch size."""
    with path.open() as lines:
        return {
            (row["workload"], float(row["rps"]), int(row["max_num_seqs"])): float(
                row["goodput_pct"]
            )
            for row in csv.DictReader(lines)
        }


def with_numbers(base: Profile, numbers_ms: np.ndarray) -> Profile:
    """Return `base` with these five numbers."""
    decode, sequence, prefill, token, round_trip = (float(v) / 1000 for v in numbers_ms)
    cost = StepCost.affine(
        decode_s=decode, sequence_s=sequence, prefill_s=prefill, prompt_token_s=token
    )
    return replace(base, cost=cost, client_overhead_s=round_trip)


def simulated(profile: Profile, cells: dict[Cell, float], seeds: int) -> np.ndarray:
    """Return the goodput [%] of each cell and seed, shape (cells, seeds)."""
    rows = {}
    for name, rps in {(name, rps) for name, rps, _ in cells}:
        traces = [workload(name, rps, seed=seed, arrivals="uniform") for seed in range(seeds)]
        for size in {size for w, r, size in cells if (w, r) == (name, rps)}:
            runs = (simulate(trace, profile, f"static({size})") for trace in traces)
            rows[name, rps, size] = [100 * run.columns.met.mean() for run in runs]
    return np.array([rows[cell] for cell in cells])


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("grid", type=Path, help="workload,rps,max_num_seqs,goodput_pct")
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--evaluations", type=int, default=60)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    cells = published(given.grid)
    measured = np.array(list(cells.values()))
    base = load_profile("paper-qwen2.5-coder-3b")
    best = np.inf

    def loss(numbers_ms: np.ndarray) -> float:
        nonlocal best
        if (numbers_ms < 0).any():
            return 1e6
        profile = with_numbers(base, numbers_ms)
        runs = simulated(profile, cells, given.seeds)
        error = runs.mean(axis=1) - measured
        noise = np.abs(error) / np.hypot(runs.std(axis=1), 1.0)
        value = float(np.where(noise < OUTLIER, noise**2, OUTLIER * (2 * noise - OUTLIER)).mean())
        if value < best:
            best = value
            replace(profile, date=date.today().isoformat()).save(given.out)
            shown = ", ".join(f"{n} {v:.4f}" for n, v in zip(NAMES, numbers_ms, strict=True))
            print(f"loss {value:.4f}, mean error {np.abs(error).mean():.3f} points: {shown} ms")
        return value

    start = np.array(START_MS)
    simplex = np.vstack([start, start + np.diag(FIRST_STEP_MS)])
    settings = {"initial_simplex": simplex, "maxfev": given.evaluations, "fatol": 1e-4}
    minimize(loss, start, method="Nelder-Mead", options=settings)


if __name__ == "__main__":
    main()
