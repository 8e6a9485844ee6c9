"""Runs of the study's cells made by hand, for what is drawn of them."""

import re

import numpy as np

from sim.study.runs import CellRuns
from traces.workloads import TASKS, WORKLOADS, counts


def size_of(cell):
    """Return the static size of a cell, None for SABER."""
    found = re.fullmatch(r"static\((\d+)\)", cell.policy)
    return None if found is None else int(found[1])


def runs_of(cells, goodput, *, seeds=2, ratio=lambda cell: 1.0, std=0.5, e2e_s=None):
    """Return runs with `goodput(cell)`, a number or one for each seed, and likewise `ratio`."""

    def each(value):
        return np.broadcast_to(np.array(value, dtype=float), seeds).copy()

    def times(cell):
        if e2e_s is not None:
            return {task: np.array(values, dtype=float) for task, values in e2e_s(cell).items()}
        rng = np.random.default_rng(round(cell.rps))
        return {
            task.name: task.sla_s * rng.uniform(0.5, 1.5, seeds * share)
            for task, share in zip(TASKS, counts(WORKLOADS[cell.workload], 100), strict=True)
        }

    return {
        cell: CellRuns(each(goodput(cell)), each(ratio(cell)), each(std), times(cell))
        for cell in cells
    }


def plausible(cells, seeds):
    """Return noisy runs: goodput falls with the rate, and no size or policy is best everywhere."""
    rng = np.random.default_rng(0)

    def goodput(cell):
        size = size_of(cell) or 45
        middle = 100 * np.exp(-((cell.rps / (4 + size / 12)) ** 2)) + size / 12 * (cell.rps < 12)
        return np.clip(middle + rng.normal(0, 9, seeds), 0, 100).round()

    def ratio(cell):
        return 0.5 + cell.rps / 8 * rng.uniform(0.8, 1.2, seeds)

    return runs_of(cells, goodput, seeds=seeds, ratio=ratio)
