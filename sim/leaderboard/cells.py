"""The settings of the leaderboard: what arrives in each, for every seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.options import OptionError
from sim.sources import Drawn
from traces.seeds import stream
from traces.tenancy import with_tenants

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sim.feasible import Unloaded
    from traces.request import Trace

STUDY_RATES = (5.0, 8.0, 10.0, 15.0)
STUDY_REQUESTS = 100
BURSTS = (("W1", 8.0, "mmpp(ratio=8, cycle_s=12)"), ("W3", 10.0, "gamma(cv=3)"))
TENANT_SHARES: Mapping[str, float] = {"large": 6, "middle": 3, "small": 1}
OTHERS = (
    "bursts and tenants: W1 as mmpp(ratio=8, cycle_s=12), W3 as gamma(cv=3), W3 sent by three "
    "tenants as 6:3:1"
)
SIZES = ("full", "quick")


@dataclass(frozen=True)
class Cell:
    """One setting.

    Attributes
    ----------
    name : str
        Short, for tables.
    group : str
        What cells that share a table have in common, in one line.
    about : str
        What arrives, in one line.
    draw : callable
        The requests of a seed; every policy sees the same.
    """

    name: str
    group: str
    about: str
    draw: Callable[[int], Trace]


def study_cells(engine: Unloaded, size: str = "full") -> list[Cell]:
    """Return the cells that need no trace file.

    The study's workloads at four rates, two of them in bursts, and one shared by tenants who send
    6, 3 and 1 of ten requests.  "quick" is one of each.

    Raises
    ------
    OptionError
        For a size that is neither "full" nor "quick".
    """
    if size not in SIZES:
        raise OptionError(f"cells {size!r}: expected {' or '.join(SIZES)}")
    steady = [(name, rps) for name in ("W1", "W2", "W3") for rps in STUDY_RATES]
    bursts = list(BURSTS)
    if size == "quick":
        steady, bursts = [("W1", 8.0), ("W3", 10.0)], bursts[-1:]
    found = []
    for name, rps in steady:
        source = Drawn(name, rps, STUDY_REQUESTS, "poisson", None, engine)
        group = f"{name}: {STUDY_REQUESTS} requests of the study, poisson"
        found.append(Cell(f"{name} @ {rps:g}", group, source.title, source))
    for name, rps, arrivals in bursts:
        source = Drawn(name, rps, STUDY_REQUESTS, arrivals, None, engine)
        found.append(Cell(f"{name} @ {rps:g}, bursts", OTHERS, source.title, source))
    source = Drawn("W3", 10.0, STUDY_REQUESTS, "poisson", None, engine)
    shares = ":".join(f"{share:g}" for share in TENANT_SHARES.values())
    about = f"{source.title}, tenants {shares}"
    found.append(Cell("W3 @ 10, tenants", OTHERS, about, Shared(source)))
    return found


@dataclass(frozen=True)
class Shared:
    """Requests that belong to tenants, by lot and in unequal numbers."""

    source: Drawn

    def __call__(self, seed: int) -> Trace:
        """Return the requests of a seed."""
        return with_tenants(self.source(seed), TENANT_SHARES, stream(seed, "tenants"))
