"""Which replica a request goes to: what a router is shown and the Protocols it fulfils."""

from __future__ import annotations

from operator import index
from typing import TYPE_CHECKING, Any, Protocol

from policies.protocol import PolicyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from calibrate.profile import Profile
    from policies.protocol import Pending


class Fleet:
    """What a router is shown; read it, do not keep it and do not change it.

    Attributes
    ----------
    now_ps : int
        The clock [ps].
    taking : sequence of int
        Indices of the replicas that take requests now, ascending, at least one.  Others are
        starting, draining, failed or switched off.
    requests : sequence of int
        By replica index: requests sent there that have not ended.
    outstanding_tokens : sequence of int
        By replica index: prompt tokens and ``max_tokens`` of these requests, all together.
    profiles : sequence of Profile
        By replica index: what it runs on.

    Notes
    -----
    `requests` and `outstanding_tokens` are up to date only for routers whose `looks` is true.
    """

    __slots__ = ("now_ps", "outstanding_tokens", "profiles", "requests", "taking")

    def __init__(self, profiles: Sequence[Profile]) -> None:
        self.now_ps = 0
        self.profiles = tuple(profiles)
        self.taking: Sequence[int] = range(len(self.profiles))
        self.requests = [0] * len(self.profiles)
        self.outstanding_tokens = [0] * len(self.profiles)


class Route(Protocol):
    """Routes the requests of one run."""

    def route(self, request: Pending, fleet: Fleet) -> int:
        """Return the index of the replica that gets `request`, one of ``fleet.taking``."""
        ...


class Router(Protocol):
    """Frozen parameters that can start routing."""

    @property
    def label(self) -> str:
        """Canonical text: what to type on the command line to get this router."""
        ...

    @property
    def looks(self) -> bool:
        """Whether routing depends on what the replicas do.

        A replica that nobody looks at need not be brought up to date at every arrival.
        """
        ...

    def start(self, profiles: Sequence[Profile], rng: np.random.Generator) -> Route:
        """Return the routing of one run over replicas with these profiles."""
        ...


def checked_route(label: str, answer: Any, fleet: Fleet) -> int:
    """Return what a user's router answered as an index of ``fleet.taking``.

    Raises
    ------
    PolicyError
        If it is anything else, with the label.
    """
    try:
        if index(answer) in fleet.taking and not isinstance(answer, bool):
            return index(answer)
    except TypeError:
        pass
    raise PolicyError(
        f"router {label} chose {answer!r:.60}: expected the index of a replica that takes "
        f"requests, one of fleet.taking, here {', '.join(map(str, fleet.taking))}"
    )
