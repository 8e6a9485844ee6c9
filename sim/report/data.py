"""What the page's script draws from: counts by cell, curves of the replicas, the worst misses."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.report import series
from sim.report.cells import Cells, Groups, cells_of, replica_groups, sparse, task_groups
from sim.report.curves import bins_of, cdf_edges
from sim.report.metrics import HEADLINES, difference, sections, shown, value_of
from sim.report.misses import REASONS, misses
from sim.report.pairs import paired
from sim.report.worst import rows_of, worst

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from sim.runfile import Run
    from sim.timeline import Timeline

    Numbers = NDArray[np.float64]

DISTRIBUTIONS = {
    "ttft": ("TTFT", "s"),
    "tpot": ("TPOT", "ms"),
    "e2e": ("E2E", "s"),
    "ratio": ("E2E / SLA", "×"),
}
"""What each is called, and its unit."""

LIMITED = {"ttft": ("ttft", 1e-3), "tpot": ("tpot", 1.0), "e2e": ("e2el", 1e-3)}
"""The goodput limit on each distribution, and from milliseconds to its unit."""

MOST_EDGES = 320
WIDE = 20.0
"""An axis whose 99th percentile is this many times its first is logarithmic."""

MOST_DECADES = 4
"""A logarithmic axis over more has a tick a decade only."""

TIME_UNITS = (("s", 1.0), ("min", 60.0), ("h", 3600.0))
LONGEST_AXIS = 600
"""A time axis goes to the next unit beyond this many."""


@dataclass(frozen=True, eq=False)
class Shared:
    """What the runs of a page have in common, so that their charts lie over each other.

    Attributes
    ----------
    tasks, replicas : Groups
        What can be chosen.
    edges_s : ndarray
        Of the bins of arrival [s].
    end_s : float
        When the last thing happens in any run [s].
    distributions : mapping of str to ndarray
        By metric the values at which its distribution is known; metrics without values are absent.
    ticks : mapping of str to (list of float or None)
        By metric the ticks of its axis if that is logarithmic.
    sla_edges : ndarray
        The same of the SLAs [s].
    """

    tasks: Groups
    replicas: Groups
    edges_s: Numbers
    end_s: float
    distributions: Mapping[str, Numbers]
    ticks: Mapping[str, list[float] | None]
    sla_edges: Numbers

    @property
    def time_unit(self) -> tuple[str, float]:
        """Name of the unit of the time axes, and its seconds."""
        span_s = self.edges_s[-1] - self.edges_s[0]
        fitting = [unit for unit in TIME_UNITS if span_s / unit[1] <= LONGEST_AXIS]
        return fitting[0] if fitting else TIME_UNITS[-1]


def shared_by(runs: Sequence[Run]) -> Shared:
    """Return what the charts of some runs share."""
    frames = [run.requests for run in runs]
    found = [observed(run) for run in runs]
    start_s = min((frame["arrival_s"].min() for frame in frames if len(frame)), default=0.0)
    end_s = max(ended_s(run) for run in runs)
    most = max(MOST_EDGES // len(runs), 96)
    edges = {name: cdf_edges([each[name] for each in found], most) for name in DISTRIBUTIONS}
    edges = {name: values for name, values in edges.items() if len(values)}
    return Shared(
        tasks=task_groups(frames),
        replicas=replica_groups(frames),
        edges_s=series.bin_edges(start_s, end_s, max(len(frame) for frame in frames)),
        end_s=end_s,
        distributions=edges,
        ticks={name: _ticks(np.concatenate([each[name] for each in found])) for name in edges},
        sla_edges=cdf_edges([each["sla"] for each in found], most),
    )


def observed(run: Run) -> dict[str, Numbers]:
    """Return by metric what each request took, in the unit of its axis, NaN where left out.

    Left out are those that did not finish, as in the summary, and those before the warm-up.
    """
    frame = run.requests
    arrival, first, last = (
        frame[name].to_numpy() for name in ("arrival_s", "first_token_s", "finished_s")
    )
    counted = ((frame["status"] == "finished") & (frame["arrival_s"] >= run.warmup_s)).to_numpy()
    after_first = np.where(frame["output_tokens"] > 1, frame["output_tokens"] - 1, np.nan)
    values = {
        "ttft": first - arrival,
        "tpot": 1e3 * (last - first) / after_first,
        "e2e": last - arrival,
        "ratio": (last - arrival) / frame["sla_s"].where(frame["sla_s"] > 0).to_numpy(),
        "sla": frame["sla_s"].to_numpy(),
    }
    return {name: np.where(counted, each, np.nan) for name, each in values.items()}


def ended_s(run: Run) -> float:
    """Return when the last thing that is known of a run happened [s]."""
    columns = ("arrival_s", "admitted_s", "first_token_s", "finished_s")
    known = [run.requests[name].max() for name in columns]
    if run.timeline is not None and run.timeline.held.shape[1]:
        known.append(run.timeline.at_s[-1])
    return float(np.nanmax([*known, 0.0]))


def _ticks(values: Numbers) -> list[float] | None:
    """Return the ticks of a logarithmic axis, if the values spread over one."""
    low, high = np.nanpercentile(values, (1, 99))
    least, most = np.nanmin(values), np.nanmax(values)
    if least <= 0 or high <= WIDE * low:
        return None
    decades = range(int(np.floor(np.log10(least))), int(np.ceil(np.log10(most))) + 1)
    steps = (1, 2, 5) if len(decades) <= MOST_DECADES else (1,)
    return [float(f"{step}e{decade}") for decade in decades for step in steps]


def data_of(runs: Sequence[Run], shared: Shared) -> dict[str, Any]:
    """Return what the script needs, in JSON's types."""
    unit, unit_s = shared.time_unit
    return {
        "labels": labels(runs),
        "tasks": list(shared.tasks.labels),
        "replicas": list(shared.replicas.labels),
        "reasons": list(REASONS),
        "unit": unit,
        "edges": _short(shared.edges_s / unit_s),
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
    return {
        name: limits[key] * scale for name, (key, scale) in LIMITED.items() if key in limits
    }


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
    everyone = series.gauges(timeline, range(timeline.replicas))
    return {
        "x": _short(everyone.at_s / unit_s),
        "all": _gauges(everyone),
        "each": [_gauges(series.gauges(timeline, some)) if some else None for some in members],
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
    return {"x": _short(at_s / shared.time_unit[1]), "up": numbers.tolist()}


def _short(values: Numbers, digits: int = 6) -> list[float | None]:
    """Return numbers with few digits, so that they take little room; NaN becomes None."""
    short = [float(f"{value:.{digits}g}") for value in values.tolist()]
    return [None if v != v else int(v) if v == int(v) else v for v in short]
