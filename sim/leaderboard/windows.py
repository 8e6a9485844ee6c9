"""Cells from trace files: many requests in a row, at rates the engine can and can not serve."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sim.feasible import Unloaded
from sim.leaderboard.cells import Cell, study_cells
from sim.options import OptionError
from traces.seeds import stream
from traces.transform import scale_rate

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from calibrate.profile import Profile
    from sim.options import RunOptions
    from traces.request import Trace

LOADS = (0.6, 0.9, 1.2)
"""Rates as shares of what the engine can serve."""
REQUESTS = 300
"""How many in a row a seed takes from a trace."""
SLA_TIMES_UNLOADED = 3


def cells_of(
    size: str, traces: Mapping[Path, Trace], profile: Profile, options: RunOptions
) -> list[Cell]:
    """Return all cells: those of the study, and three for each trace file."""
    engine = Unloaded(profile, options)
    return [*study_cells(engine, size), *trace_cells(traces, engine)]


def trace_cells(traces: Mapping[Path, Trace], engine: Unloaded) -> list[Cell]:
    """Return three cells for each trace file, one for each of `LOADS`.

    Every seed takes `REQUESTS` in a row from some place of the trace and plays them at the cell's
    mean rate, which keeps the bursts among them; SLAs are three times the unloaded latency.

    Raises
    ------
    OptionError
        For files that cannot be told apart by their names, or that no request of is served.
    TraceError
        For a trace that has no rate: of one request, or all at one instant.
    """
    names = _short_names(traces)
    return [
        cell
        for (path, trace), name in zip(traces.items(), names, strict=True)
        for cell in _cells(path.name, name, trace, engine)
    ]


def _short_names(paths: Mapping[Path, Trace]) -> list[str]:
    """Return the last word of each file's name where that tells them apart, else the names."""
    stems = [path.stem for path in paths]
    for names in ([re.split(r"[_\-. ]", stem)[-1] for stem in stems], stems):
        if len(set(names)) == len(names):
            return names
    twin, _ = Counter(stems).most_common(1)[0]
    raise OptionError(f"two trace files are named {twin}: expected names that tell them apart")


def _cells(file: str, name: str, trace: Trace, engine: Unloaded) -> list[Cell]:
    capacity_rps = saturated_rps(trace, engine)
    timed = trace.with_sla(f"unloaded*{SLA_TIMES_UNLOADED}", profile=engine)
    loads = ", ".join(f"{load:g}" for load in LOADS)
    text = (
        f"rates {loads} of the {capacity_rps:.2g} requests/s the engine can serve; SLAs "
        f"{SLA_TIMES_UNLOADED} times the unloaded latency"
    )
    cells = []
    for load in LOADS:
        rps = float(f"{load * capacity_rps:.2g}")
        source = Windows(timed, rps)
        source(0)  # a trace without a rate is refused before the work starts
        about = f"{file}, {source.size} requests in a row at {rps:g} requests/s"
        group = f"{file}: {source.size} requests in a row, {text}"
        cells.append(Cell(f"{name} @ {rps:g}", group, about, source))
    return cells


@dataclass(frozen=True, eq=False)
class Windows:
    """Requests in a row from some place of a trace, played at a mean rate."""

    trace: Trace
    rps: float

    @property
    def size(self) -> int:
        """How many requests a seed takes."""
        return min(REQUESTS, len(self.trace))

    def __call__(self, seed: int) -> Trace:
        """Return the requests of a seed, the first at 0 s."""
        first = int(stream(seed, "blocks").integers(len(self.trace) - self.size + 1))
        part = self.trace[first : first + self.size]
        return scale_rate(part.replace(arrival_s=part.arrival_s - part.arrival_s[0]), rps=self.rps)


def saturated_rps(trace: Trace, engine: Unloaded) -> float:
    """Return how many requests a second the engine serves when there is never one too few.

    Simulated: `REQUESTS` of them, from all over the trace, that are all there at once, under the
    largest usual batch.
    """
    from sim.simulation import simulate

    rows = np.unique(np.linspace(0, len(trace) - 1, REQUESTS).astype(np.int64))
    part = trace.take(rows)
    part = part.replace(arrival_s=np.zeros(len(part)))
    run = simulate(part, engine.profile, "static(256)", **vars(engine.options)).summary()
    if not run["duration_s"]:
        raise OptionError(
            f"{trace!r}: the engine can serve none of its requests: expected shorter ones, or a "
            "profile with a larger KV cache"
        )
    return float(run["statuses"]["finished"] / run["duration_s"])
