"""A router that sends what belongs together to the same replica."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from operator import attrgetter
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from policies.parameters import check_number, check_word
from policies.routers_looking import Least
from policies.text import call_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from calibrate.profile import Profile
    from policies.protocol import Pending
    from policies.routing import Fleet

Key = Literal["session", "prefix", "tenant"]

MISSING = ("", -1)
"""What the keys of a request are when the trace does not say."""
RANKINGS_KEPT = 4096
"""Keys whose ranking is remembered; others are ranked anew."""


@dataclass(frozen=True)
class Affinity:
    """The replica that the request's session, prefix or tenant always goes to, by hashing.

    Every key ranks all replicas in an order of its own and takes the first that takes requests
    (rendezvous hashing: D. Thaler and C. Ravishankar, "Using Name-Based Mappings to Increase Hit
    Rates", IEEE/ACM Transactions on Networking 6(1), 1998).  A replica that leaves moves its own
    keys and no others, and a replica that returns gets them back.  The ranking depends on the key
    and the replica's index alone: it is the same in every run.

    With `spill` the keys of a crowded replica move on (consistent hashing with bounded loads: V.
    Mirrokni, M. Thorup and M. Zadimoghaddam, arXiv 1608.01350).  The bound is rounded up to whole
    requests: while the cluster holds few of them, a second request of a key may already move on.

    Requests without the key go to the replica with the fewest requests.  Keys are spread evenly,
    not their load: a busy tenant stays on one replica, and fast replicas get no more keys than
    slow ones.

    Attributes
    ----------
    key : {"session", "prefix", "tenant"}
        What belongs together.
    spill : float or None
        A replica takes requests of its keys up to this many times the mean number of requests a
        replica, the new one counted in, and then the next in the key's order is asked; None has
        no bound.
    """

    key: Key = "session"
    spill: float | None = None

    looks = True

    def __post_init__(self) -> None:
        check_word("affinity", "key", self.key, get_args(Key))
        if self.spill is not None:
            check_number("affinity", "spill", self.spill, at_least=1, at_most=1e6)

    @property
    def label(self) -> str:
        """Canonical text of this router."""
        return call_text("affinity", self)

    def start(self, profiles: Sequence[Profile], rng: np.random.Generator) -> Hashed:
        """Return a routing over so many replicas."""
        return Hashed(self, len(profiles))


class Hashed:
    """Asks replicas in the order of a request's key."""

    __slots__ = ("_key", "_others", "_ranking", "_spill")

    def __init__(self, router: Affinity, replicas: int) -> None:
        self._key = attrgetter(router.key)
        self._spill = router.spill
        self._others = Least(attrgetter("requests"))
        seeds = np.array([_hash(f"replica {index}") for index in range(replicas)], np.uint64)
        self._ranking = lru_cache(RANKINGS_KEPT)(lambda key: _ranking(key, seeds))

    def route(self, request: Pending, fleet: Fleet) -> int:
        """Return the first replica in the order of the key that takes the request."""
        key = self._key(request)
        if key in MISSING:
            return self._others.route(request, fleet)
        taking = fleet.taking
        preferred = (replica for replica in self._ranking(key) if replica in taking)
        if self._spill is None:
            return next(preferred)
        requests = fleet.requests
        total = sum(requests) if len(taking) == len(requests) else sum(requests[i] for i in taking)
        # Fewer than the bound is, with the new one, at most the bound rounded up.
        bound = self._spill * (total + 1) / len(taking)
        return next(replica for replica in preferred if requests[replica] < bound)


def _ranking(key: str | int, seeds: NDArray[np.uint64]) -> list[int]:
    """Return the replicas in the order of a key: by hashes of the key with each of them."""
    mixed = seeds ^ np.uint64(_hash(f"key {key}"))
    # The finaliser of SplitMix64 (Steele, Lea, Flood 2014): every bit of a hash moves them all.
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    order: list[int] = np.argsort(mixed ^ (mixed >> np.uint64(31))).tolist()
    return order


def _hash(text: str) -> int:
    """Return 64 bits that are the same in every process, as Python's own hash is not."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
