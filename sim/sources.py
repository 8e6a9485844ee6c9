"""Where the requests of a comparison come from: for each seed a trace."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from traces.request import Trace, UnloadedLatency


@dataclass(frozen=True)
class Recorded:
    """The same requests for every seed: a trace file."""

    path: str
    trace: Trace
    fixed = True

    def __call__(self, seed: int) -> Trace:
        """Return the trace."""
        return self.trace

    def describe(self) -> dict[str, Any]:
        """Return what a reader of results should know of it."""
        return {"trace": self.path, "n": len(self.trace)}

    @property
    def title(self) -> str:
        """One line for tables and figures."""
        return f"{Path(self.path).name}, {len(self.trace):,} requests"


@dataclass(frozen=True)
class Timed:
    """A file of lengths without times: each seed draws the arrivals anew."""

    path: str
    lengths: Trace
    rps: float
    arrivals: str
    fixed = False

    def __call__(self, seed: int) -> Trace:
        """Return the requests with the arrivals of `seed`, as `traces.formats.load` draws them."""
        from traces.arrivals import parse_arrivals
        from traces.seeds import stream

        n = len(self.lengths)
        arrival_s = parse_arrivals(self.arrivals)(n, self.rps, stream(seed, "arrivals"))
        return self.lengths.replace(arrival_s=arrival_s)

    def describe(self) -> dict[str, Any]:
        """Return what a reader of results should know of it."""
        return {
            "trace": self.path,
            "n": len(self.lengths),
            "rps": self.rps,
            "arrivals": self.arrivals,
        }

    @property
    def title(self) -> str:
        """One line for tables and figures."""
        n = len(self.lengths)
        return f"{Path(self.path).name}, {n:,} requests at {self.rps:g} requests/s, {self.arrivals}"


@dataclass(frozen=True)
class Drawn:
    """A new draw of a workload for each seed."""

    workload: str
    rps: float
    n: int
    arrivals: str
    sla: float | str | Mapping[str, float | str] | None
    engine: UnloadedLatency
    fixed = False

    def __call__(self, seed: int) -> Trace:
        """Return the draw of `seed`."""
        from traces.workloads import workload

        trace = workload(self.workload, rps=self.rps, n=self.n, seed=seed, arrivals=self.arrivals)
        return trace if self.sla is None else trace.with_sla(self.sla, profile=self.engine)

    def describe(self) -> dict[str, Any]:
        """Return what a reader of results should know of it."""
        return {
            "workload": self.workload,
            "rps": self.rps,
            "n": self.n,
            "arrivals": self.arrivals,
        }

    @property
    def title(self) -> str:
        """One line for tables and figures."""
        return f"{self.workload} at {self.rps:g} requests/s, {self.n:,} requests, {self.arrivals}"


Source = Recorded | Timed | Drawn
