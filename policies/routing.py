"""Which replica a request goes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

    from policies.protocol import Pending


class Route(Protocol):
    """Routes the requests of one run."""

    def route(self, request: Pending) -> int:
        """Return the index of the replica that gets `request`."""
        ...


class Router(Protocol):
    """Frozen parameters that can start routing."""

    def start(self, replicas: int, rng: np.random.Generator) -> Route:
        """Return the routing of one run over `replicas` replicas."""
        ...


@dataclass(frozen=True)
class RoundRobin:
    """Each replica in turn."""

    def start(self, replicas: int, rng: np.random.Generator) -> InTurn:
        """Return a routing that begins at replica 0."""
        return InTurn(replicas)


class InTurn:
    """Counts arrivals modulo the number of replicas."""

    __slots__ = ("_next", "_replicas")

    def __init__(self, replicas: int) -> None:
        self._replicas = replicas
        self._next = 0

    def route(self, request: Pending) -> int:
        """Return the replica whose turn it is."""
        index = self._next
        self._next = index + 1 if index + 1 < self._replicas else 0
        return index
