"""The routers a cluster can use, and what they are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from policies.function import FunctionRouter
from policies.guarded import GuardedRouter
from policies.naming import Kind
from policies.protocol import PolicyError
from policies.routers_affinity import Affinity
from policies.routers_looking import LeastRequests, LeastTokens, PowerOfTwo
from policies.routers_pools import Pools
from policies.routers_slack import SlaSlack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from calibrate.profile import Profile
    from policies.protocol import Pending
    from policies.routing import Fleet, Router


@dataclass(frozen=True)
class RoundRobin:
    """Each replica in turn, whatever the request asks for and the replicas have to do."""

    looks = False
    label = "round-robin"

    def start(self, profiles: Sequence[Profile], rng: np.random.Generator) -> InTurn:
        """Return a routing that begins at the first replica."""
        return InTurn()


class InTurn:
    """Counts arrivals modulo the number of replicas that take requests."""

    __slots__ = ("_turn",)

    def __init__(self) -> None:
        self._turn = 0

    def route(self, request: Pending, fleet: Fleet) -> int:
        """Return the replica whose turn it is."""
        turn = self._turn if self._turn < len(fleet.taking) else 0
        self._turn = turn + 1
        return fleet.taking[turn]


@dataclass(frozen=True)
class Random:
    """A replica drawn at random, each as likely as any other.

    Poisson arrivals split like this are Poisson at each replica, so that a cluster is as many
    single servers: the yardstick for routers that look.
    """

    looks = False
    label = "random"

    def start(self, profiles: Sequence[Profile], rng: np.random.Generator) -> AtRandom:
        """Return a routing that draws from `rng`."""
        return AtRandom(rng)


class AtRandom:
    """Draws a replica."""

    __slots__ = ("_random",)

    def __init__(self, rng: np.random.Generator) -> None:
        self._random = rng.random

    def route(self, request: Pending, fleet: Fleet) -> int:
        """Return the replica drawn."""
        return fleet.taking[int(self._random() * len(fleet.taking))]


ROUTERS: Mapping[str, type[Any]] = {
    "random": Random,
    "power-of-two": PowerOfTwo,
    "least-requests": LeastRequests,
    "least-tokens": LeastTokens,
    "sla-slack": SlaSlack,
    "affinity": Affinity,
    "pools": Pools,
    "round-robin": RoundRobin,
}
"""Routers by name; the parameters are the fields of each class, in order."""

_ROUTER = Kind(
    "router",
    ROUTERS,
    "start(profiles, rng)",
    ("request", "fleet"),
    FunctionRouter,
    GuardedRouter,
)


def make_router(source: object) -> Router:
    """Return the router that `source` means.

    Parameters
    ----------
    source : str, Router or callable
        ``name``, ``name(value, parameter=value)``, ``module:object``, a router, or a function that
        takes a request and a fleet and returns one of ``fleet.taking``.

    Raises
    ------
    PolicyError
        If the name, a parameter or a value is not known, or the object is no router.
    """
    router = cast("Router", _ROUTER.make(source))
    given = router.router if isinstance(router, GuardedRouter) else router
    if not isinstance(getattr(given, "looks", None), bool):
        raise PolicyError(
            f"router {router.label}: expected an attribute 'looks', True if it reads "
            "fleet.requests or fleet.outstanding_tokens and False if not"
        )
    if isinstance(router, (*ROUTERS.values(), FunctionRouter, GuardedRouter)):
        return router
    # A choice of a replica that is not there would otherwise go to another without a word.
    return GuardedRouter(router)
