"""The routers a cluster can use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from calibrate.profile import Profile
    from policies.protocol import Pending
    from policies.routing import Fleet


@dataclass(frozen=True)
class RoundRobin:
    """Each replica in turn."""

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
