"""What the page's script draws from: counts by cell, curves of the replicas, the worst misses."""

from __future__ import annotations

from dataclasses import asdict
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.report import series
from sim.report.cells import Cells, cells_of, sparse
from sim.report.curves import bins_of
from sim.report.metrics import HEADLINES, difference, sections, shown, value_of
from sim.report.misses import REASONS, misses
from sim.report.pairs import paired
from sim.report.shared import DISTRIBUTIONS, Shared, observed
from sim.report.worst import rows_of, worst

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from sim.runfile import Run
    from sim.timeline import Timeline

    Numbers = NDArray[np.float64]

LIMITED = {"ttft": ("ttft", 1e-3), "tpot": ("tpot", 1.0), "e2e": ("e2el", 1e-3)}
"""The goodput limit on each distribution, and from milliseconds to its unit."""


def data_of(runs: Sequence[Run], shared: Shared) -> dict[str, Any]:
    """Return what the script needs, in JSON's types."""
    unit, unit_s = shared.time_unit
    return {
        "labels": labels(runs),
        "tasks": list(shared.tasks.labels),
        "replicas": list(shared.replicas.labels),
        "reasons": list(REASONS),
        "unit": unit,
        "edges": _times(shared.edges_s / unit_s),
        "binS": float(shared.edges_s[1] - shared.edges_s[0]),
        "curves": {name: _short(values) for name, values in shared.distributions.items()},
        "units": {name: DISTRIBUTIONS[name][1] for name in shared.distributions},
        "slaEdges": _short(shared.sla_edges),
        "runs": [run_data(run, shared) for run in runs],
        "summary": summary_rows(runs),
        "headlines": list(HEADLINES),
        "pairs": {
            f"{a}-{b}": None if (pairs := paired(runs[a], runs[b])) is None else asdict(pairs)
            for a, b in permutations(range(len(runs)), 2)
        },
    }


def labels(runs: Sequence[Run]) -> list[str]:
    """Return what each run is called, numbered where several would be called the same."""
    given = [run.label for run in runs]
    return [
        f"{label} #{given[:place].count(label) + 1}" if given.count(label) > 1 else label
        for place, label in enumerate(given)
    ]


def run_data(run: Run, shared: Shared) -> dict[str, Any]:
    """Return what the script needs of one run."""
    frame = run.requests
    cells = cells_of(frame, shared.tasks, shared.replicas)
    counted = (frame["arrival_s"] >= run.warmup_s).to_numpy()
    promised = frame["met"].notna().to_numpy()
    met = frame["met"].fillna(False).to_numpy(dtype=bool)
    found = misses(run)
    values = observed(run)
    return {
        "cells": {
            "task": cells.task.tolist(),
            "replica": cells.replica.tolist(),
            "requests": cells.totals(counted),
            "finished": cells.totals(~np.isnan(values["e2e"])),
            "promised": cells.totals(counted & promised),
            "met": cells.totals(counted & met),
        },
        "missed": cells.histogram(_reasons_of(found, len(frame)), len(REASONS)),
        "load": _load(frame, cells, shared, promised, met),
        "curves": {
            name: cells.histogram(bins_of(values[name], edges), len(edges))
            for name, edges in shared.distributions.items()
        },
        "sla": cells.histogram(bins_of(values["sla"], shared.sla_edges), len(shared.sla_edges)),
        "limits": limits_of(run),
        "states": None if run.timeline is None else _states(run.timeline, shared),
        "up": None if run.timeline is None else _up(run.timeline, shared),
        "worst": rows_of(worst(found, cells), cells, run),
    }


def limits_of(run: Run) -> dict[str, float]:
    """Return the goodput limit on each distribution, in the unit of its axis."""
    limits = run.configuration["options"]["goodput_ms"] or {}
    return {name: limits[key] * scale for name, (key, scale) in LIMITED.items() if key in limits}


def summary_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return the rows of the summary table, with what each run has more than each other."""
    summaries = [run.summary for run in runs]
    return [
        {
            "section": heading,
            "path": metric.path,
            "label": metric.label,
            "unit": metric.unit,
            "values": [shown(value_of(each, metric), metric) for each in summaries],
            "changes": {
                f"{a}-{b}": asdict(
                    difference(metric, *(value_of(summaries[place], metric) for place in (a, b)))
                )
                for a, b in permutations(range(len(runs)), 2)
            },
        }
        for heading, metrics in sections(summaries)
        for metric in metrics
    ]


def _reasons_of(found: pd.DataFrame, requests: int) -> NDArray[np.int64]:
    """Return for every request the place of its reason, -1 where it did not miss."""
    codes = np.full(requests, -1, dtype=np.int64)
    codes[found.index.to_numpy()] = [REASONS.index(reason) for reason in found["reason"]]
    return codes


def _load(
    frame: pd.DataFrame,
    cells: Cells,
    shared: Shared,
    promised: NDArray[np.bool_],
    met: NDArray[np.bool_],
) -> dict[str, list[list[int]]]:
    """Return counts by bin of arrival, and tokens by bin in which they came."""
    bins = np.searchsorted(shared.edges_s, frame["arrival_s"].to_numpy(), side="right") - 1
    count = len(shared.edges_s) - 1
    tokens = [
        series.tokens_by_bin(frame[cells.of == cell], shared.edges_s)
        for cell in range(len(cells.task))
    ]
    return {
        "offered": cells.histogram(bins, count),
        "promised": cells.histogram(np.where(promised, bins, -1), count),
        "met": cells.histogram(np.where(met, bins, -1), count),
        "tokens": [sparse(np.rint(each).astype(np.int64)) for each in tokens],
    }


def _states(timeline: Timeline, shared: Shared) -> dict[str, Any]:
    """Return the gauges of all replicas together, and of each that can be chosen."""
    _, unit_s = shared.time_unit
    kept = [int(value) for value in shared.replicas.values]
    members: list[list[int]] = [[value] if 0 <= value < timeline.replicas else [] for value in kept]
    if shared.replicas.others:
        members.append(sorted(set(range(timeline.replicas)) - set(kept)))
    start_s = float(shared.edges_s[0])
    everyone = series.gauges(timeline, range(timeline.replicas), start_s)
    return {
        "x": _times(everyone.at_s / unit_s),
        "all": _gauges(everyone),
        "each": [
            _gauges(series.gauges(timeline, some, start_s)) if some else None for some in members
        ],
    }


def _gauges(found: series.Gauges) -> dict[str, list[float | None]]:
    gauges = {"queue": found.queue, "running": found.running, "kv": found.kv_pct}
    columns = {"held": _short(found.held.mean)}
    for name, gauge in gauges.items():
        columns[name] = _short(gauge.mean)
        columns[f"{name}_low"], columns[f"{name}_high"] = _short(gauge.low), _short(gauge.high)
    return columns


def _up(timeline: Timeline, shared: Shared) -> dict[str, Any]:
    at_s, numbers = series.replicas_up(timeline)
    if len(numbers) > 1 and not numbers[-1]:
        numbers[-1] = numbers[-2]  # they are all there until the run ends
    return {"x": _times(at_s / shared.time_unit[1]), "up": numbers.tolist()}


def _times(values: Numbers) -> list[float]:
    """Return instants: few digits would not tell them apart where a trace begins late."""
    return [round(value, 9) for value in values.tolist()]


def _short(values: Numbers, digits: int = 6) -> list[float | None]:
    """Return numbers with few digits, so that they take little room; NaN becomes None."""
    short = [float(f"{value:.{digits}g}") for value in values.tolist()]
    return [None if v != v else int(v) if v == int(v) else v for v in short]
