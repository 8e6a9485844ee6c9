"""How many replicas: what a scaler is shown and the Protocol it fulfils.

A scaler only says how many it wants.  Bounds, cooldowns, start-up delays and draining are the
cluster's, see `sim.cluster.autoscale`.
"""

from __future__ import annotations

from operator import index
from typing import Any, NamedTuple, Protocol

from policies.protocol import PS_PER_S, PolicyError


class Load(NamedTuple):
    """What a scaler is shown at one look at the cluster.

    Attributes
    ----------
    now_ps : int
        The clock [ps].
    taking, starting : int
        Replicas that take requests, and replicas that will after their start-up.
    utilisation : float
        Since the last look: busy seconds of the replicas that took requests, over their seconds.
    waiting : int
        Requests at a replica that hold no seat in an engine.
    running : int
        Requests that hold a seat.
    arrived : int
        Requests submitted since the last look, retries too.
    ended, met : int
        Requests with an objective that ended since the last look, and how many of them met it.
    """

    now_ps: int
    taking: int
    starting: int
    utilisation: float
    waiting: int
    running: int
    arrived: int
    ended: int
    met: int

    @property
    def now_s(self) -> float:
        """The clock [s]."""
        return self.now_ps / PS_PER_S


class Scaler(Protocol):
    """Frozen parameters that say how many replicas a load asks for."""

    @property
    def label(self) -> str:
        """Canonical text: what to type on the command line to get this scaler."""
        ...

    def desired(self, load: Load) -> int:
        """Return how many replicas there should be, those that start included."""
        ...


def checked_count(label: str, answer: Any) -> int:
    """Return what a user's scaler answered as a number of replicas.

    Raises
    ------
    PolicyError
        If it is anything else, with the label.
    """
    try:
        if index(answer) >= 0 and not isinstance(answer, bool):
            return index(answer)
    except TypeError:
        pass
    raise PolicyError(
        f"scaler {label} wants {answer!r:.60} replicas: expected a whole number of at least 0"
    )
