"""A router that keeps groups of requests apart, each in a pool of replicas of its own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from policies.parameters import check_word
from policies.protocol import PolicyError
from policies.routers_looking import least
from policies.text import call_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from calibrate.profile import Profile
    from policies.protocol import Pending
    from policies.routing import Fleet

KEYS = ("tenant", "task")
SHAPE = "expected label:replicas with commas, such as 'payments:2, search:1'"


@dataclass(frozen=True)
class Pools:
    """Each tenant or task has so many replicas to itself, and there the one with fewest requests.

    What it shows is what keeping apart costs: two pools wait longer on average than one with all
    their replicas, but none suffers from the other's burst.  While no replica of a pool takes
    requests, its requests go to the others.

    Attributes
    ----------
    sizes : str
        Label and number of replicas of each pool, which are the first ones, the next ones, and so
        on: ``payments:2, search:1``.  The label ``*`` is for everyone else.
    key : {"tenant", "task"}
        What the labels are.
    """

    sizes: str
    key: str = "tenant"

    looks = True

    def __post_init__(self) -> None:
        check_word("pools", "key", self.key, KEYS)
        _ = self._parsed

    @property
    def label(self) -> str:
        """Canonical text of this router."""
        return call_text("pools", self)

    def start(self, profiles: Sequence[Profile], rng: np.random.Generator) -> Apart:
        """Return a routing over these pools.

        Raises
        ------
        PolicyError
            If the pools are not all the replicas.
        """
        total = sum(self._parsed.values())
        if total != len(profiles):
            raise PolicyError(
                f"pools: sizes={self.sizes!r} are {total} replicas and there are "
                f"{len(profiles)}: expected each in one pool"
            )
        pools, first = {}, 0
        for label, size in self._parsed.items():
            pools[label] = range(first, first + size)
            first += size
        return Apart(pools, self.key)

    @cached_property
    def _parsed(self) -> dict[str, int]:
        if not isinstance(self.sizes, str):
            raise PolicyError(f"pools: sizes={self.sizes!r}: {SHAPE}")
        sizes: dict[str, int] = {}
        for part in self.sizes.split(","):
            label, _, count = (word.strip() for word in part.rpartition(":"))
            if not label or label in sizes or not count.isdecimal() or not int(count):
                raise PolicyError(f"pools: sizes={self.sizes!r}: {SHAPE}")
            sizes[label] = int(count)
        return sizes


class Apart:
    """Looks for the fewest requests in one pool; equals take turns."""

    __slots__ = ("_first", "_key", "_pools")

    def __init__(self, pools: dict[str, range], key: str) -> None:
        self._pools = pools
        self._key = key
        self._first = dict.fromkeys(pools, 0)

    def route(self, request: Pending, fleet: Fleet) -> int:
        """Return the replica of the request's pool with the fewest requests."""
        label = request.tenant if self._key == "tenant" else request.task
        if label not in self._pools:
            if "*" not in self._pools:
                raise PolicyError(
                    f"pools: request {request.id} has {self._key} {label!r}: expected one of "
                    f"{', '.join(self._pools)} (the label * is for everyone else)"
                )
            label = "*"
        pool = self._pools[label]
        taking = [index for index in pool if index in fleet.taking] or fleet.taking
        chosen = least(fleet.requests, taking, self._first[label])
        self._first[label] = chosen + 1
        return chosen
