"""Everything about one run of a cluster that is decided before it starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from policies.protocol import NEVER_PS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np

    from policies.routing import Fleet, Route
    from sim.cluster.autoscale import Autoscale
    from sim.cluster.clientele import Habits
    from sim.cluster.failures import Failures
    from sim.spec import ReplicaSpec


@dataclass(frozen=True, eq=False)
class Scenario:
    """What a cluster is made of and what happens around it.

    Attributes
    ----------
    specs : sequence of ReplicaSpec
        The replicas by index; their ledgers are written, nothing else is.
    route : Route
        Picks a replica for each request.
    fleet : Fleet
        What it is shown.
    looks : bool
        Whether it needs the fleet's numbers.
    until_ps : int or None
        What happens up to and at this instant [ps] happens; None runs to the end.
    ready : int or None
        How many replicas, the first ones, are there from the start; None is all.
    startup_ps : int
        From a start, or the end of a repair, until a replica takes requests [ps].
    failures, autoscale : optional
        What goes wrong, and who changes the number of replicas.
    outage_rng : callable
        The random stream of a replica's failures, by index.
    habits : Habits or None
        How clients behave; None sends each request once and waits.
    tenant_caps : mapping of str to int
        The most requests a tenant may have in the cluster.
    met : callable or None
        Whether a request that ended met its objective, by id; None for one without.  Only a
        scaler asks.
    """

    specs: Sequence[ReplicaSpec]
    route: Route
    fleet: Fleet
    looks: bool = False
    until_ps: int | None = None
    ready: int | None = None
    startup_ps: int = 0
    failures: Failures | None = None
    autoscale: Autoscale | None = None
    outage_rng: Callable[[int], np.random.Generator] | None = None
    habits: Habits | None = None
    tenant_caps: Mapping[str, int] = field(default_factory=dict)
    met: Callable[[int], bool | None] | None = None

    @property
    def last_ps(self) -> int:
        """The last instant of the run [ps]."""
        return NEVER_PS - 1 if self.until_ps is None else self.until_ps

    @property
    def plain(self) -> bool:
        """Whether requests only come and go, and nobody looks."""
        return self.quiet and not self.looks

    @property
    def quiet(self) -> bool:
        """Whether requests only come and go: nothing else ever happens to the cluster."""
        return not (self.failures or self.autoscale or self.habits or self.tenant_caps)
