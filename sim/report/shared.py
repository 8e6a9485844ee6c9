"""What the runs of a page have in common, so that their charts lie over each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sim.report import series
from sim.report.cells import Groups, replica_groups, task_groups
from sim.report.curves import cdf_edges

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from sim.runfile import Run

    Numbers = NDArray[np.float64]

DISTRIBUTIONS = {
    "ttft": ("TTFT", "s"),
    "tpot": ("TPOT", "ms"),
    "e2e": ("E2E", "s"),
    "ratio": ("E2E / SLA", "ratio"),
}
"""What each is called, and its unit."""

MOST_EDGES = 512
EDGES_OF_ALL = 1280
WIDE = 20.0
"""An axis whose 99th percentile is this many times its first is logarithmic."""

STEPS = ((2, (1, 2, 5)), (4, (1, 3)))
"""Ticks of each decade on logarithmic axes of up to so many; beyond, one: on a phone they fit."""

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
    most = min(MOST_EDGES, max(EDGES_OF_ALL // len(runs), 128))
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
    # What a request took is a difference of floats: equal times should not differ by their noise.
    return {
        name: np.asarray(np.where(counted, each, np.nan).round(9), dtype=np.float64)
        for name, each in values.items()
    }


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
    spread = np.log10(most / least)
    steps = next((steps for up_to, steps in STEPS if spread <= up_to), (1,))
    return [float(f"{step}e{decade}") for decade in decades for step in steps]
