"""The scalers a cluster can use: how many replicas a load asks for."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, cast

from policies.function import FunctionScaler
from policies.guarded import GuardedScaler
from policies.naming import Kind
from policies.parameters import check_number, check_whole
from policies.scalers_schedule import Schedule
from policies.text import call_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from policies.scaling import Load, Scaler

EXACT = 1e-9
"""What rounding may add to a number before it counts as more."""


@dataclass(frozen=True)
class Utilisation:
    """As many replicas as bring the utilisation to a target, like Kubernetes' autoscaler.

    ceil(replicas that serve * utilisation / target), and no change while that is within a band
    around them (the algorithm of the horizontal pod autoscaler).  Replicas that start count as
    idle ones when the cluster is to grow: what is on its way is not asked for again.

    An engine is busy while it has a single request, so the utilisation says little about how many
    more would fit into a batch; and it ends at 1: however long the queue, the cluster grows by a
    factor of 1/target a look.

    Attributes
    ----------
    target : float
        Busy share of the replicas' time.
    tolerance : float
        Half the width of the band, as a share of the replicas.
    """

    target: float = 0.6
    tolerance: float = 0.1

    def __post_init__(self) -> None:
        check_number("utilisation", "target", self.target, above=0, at_most=1)
        check_number("utilisation", "tolerance", self.tolerance, at_least=0, at_most=1)

    @property
    def label(self) -> str:
        """Canonical text of this scaler."""
        return call_text("utilisation", self)

    def desired(self, load: Load) -> int:
        """Return how many replicas would have the target utilisation."""
        current = load.taking + load.starting
        needed = load.taking * load.utilisation / self.target
        if not load.taking or abs(needed - load.taking) <= self.tolerance * load.taking + EXACT:
            return max(current, _least(load))
        if needed > load.taking and needed <= current * (1 + self.tolerance):
            return current
        return max(ceil(needed - EXACT), _least(load))


@dataclass(frozen=True)
class QueueLength:
    """As many replicas as leave each a tolerable number of waiting requests.

    Above the target ceil(waiting / target); below it no change; and one replica fewer at a look at
    which nobody waits.  In proportion, as it grows, it could not shrink: an empty queue does not
    say who is being served, and all replicas but one would go at once.

    Attributes
    ----------
    target : float
        Waiting requests a replica: those that hold no seat in an engine.
    """

    target: float = 4

    def __post_init__(self) -> None:
        check_number("queue", "target", self.target, above=0, at_most=1e9)

    @property
    def label(self) -> str:
        """Canonical text of this scaler."""
        return call_text("queue", self)

    def desired(self, load: Load) -> int:
        """Return how many replicas would have the target number of waiting requests."""
        current = load.taking + load.starting
        if not load.waiting and not load.starting:
            return max(current - 1, _least(load))
        return max(current, ceil(load.waiting / self.target - EXACT), _least(load))


@dataclass(frozen=True)
class Goodput:
    """More replicas while too few requests meet their objective, fewer while there is time left.

    Grows when, of the requests that ended since the last look, too small a share met their
    objective; shrinks when enough did and the replicas were mostly idle.  While replicas start it
    waits for what they change.  A look at which nothing ended says nothing about objectives: the
    cluster then can only shrink, and only if nobody waits.

    What ended was decided a while ago, so this comes late for sudden load; and it never grows for
    requests without an objective.

    Attributes
    ----------
    target : float
        Share of requests that should meet their objective.
    step : int
        Replicas to add or remove at a look.
    idle : float
        Shrinks below this busy share of the replicas' time.
    """

    target: float = 0.95
    step: int = 1
    idle: float = 0.5

    def __post_init__(self) -> None:
        check_number("goodput", "target", self.target, above=0, at_most=1)
        check_whole("goodput", "step", self.step, 1)
        check_number("goodput", "idle", self.idle, at_least=0, at_most=1)

    @property
    def label(self) -> str:
        """Canonical text of this scaler."""
        return call_text("goodput", self)

    def desired(self, load: Load) -> int:
        """Return one step more, one step fewer, or what there is."""
        current = max(load.taking + load.starting, _least(load))
        if load.starting:
            return current
        if load.met < self.target * load.ended - EXACT:
            return current + self.step
        if load.utilisation < self.idle and not load.waiting:
            return max(current - self.step, _least(load))
        return current


def _least(load: Load) -> int:
    """Return 1 while there is anybody to serve, 0 otherwise."""
    return 1 if load.arrived or load.waiting or load.running else 0


SCALERS: Mapping[str, type[Any]] = {
    "schedule": Schedule,
    "goodput": Goodput,
    "queue": QueueLength,
    "utilisation": Utilisation,
}
"""Scalers by name; the parameters are the fields of each class, in order."""

_SCALER = Kind("scaler", SCALERS, "desired(load)", ("load",), FunctionScaler, GuardedScaler)


def make_scaler(source: object) -> Scaler:
    """Return the scaler that `source` means.

    Parameters
    ----------
    source : str, Scaler or callable
        ``name``, ``name(value, parameter=value)``, ``module:object``, a scaler, or a function that
        takes a load and returns how many replicas there should be.

    Raises
    ------
    PolicyError
        If the name, a parameter or a value is not known, or the object is no scaler.
    """
    return cast("Scaler", _SCALER.make(source))
