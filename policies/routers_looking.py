"""Routers that count what each replica has to do."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

from policies.parameters import check_whole
from policies.text import call_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from calibrate.profile import Profile
    from policies.protocol import Pending
    from policies.routing import Fleet


def least(values: Sequence[int], taking: Sequence[int], first: int) -> int:
    """Return the index in `taking` with the least of `values`.

    Among equals it is the first one from `first` on, and around.
    """
    if len(taking) == len(values):
        smallest = min(values)
        try:
            return values.index(smallest, first)
        except ValueError:
            return values.index(smallest)
    smallest = min(map(values.__getitem__, taking))
    equal = [replica for replica in taking if values[replica] == smallest]
    return equal[bisect_left(equal, first) % len(equal)]


@dataclass(frozen=True)
class PowerOfTwo:
    """The one with fewer requests of two replicas drawn at random; of equals the first drawn.

    M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", IEEE Transactions on
    Parallel and Distributed Systems 12(10), 2001.  A router that asks two replicas a request comes
    close to one that knows them all.  It counts requests: long ones weigh as much as short ones,
    and fast replicas as much as slow ones.

    Attributes
    ----------
    choices : int
        How many different replicas are drawn.
    """

    choices: int = 2

    looks = True

    def __post_init__(self) -> None:
        check_whole("power-of-two", "choices", self.choices, 2)

    @property
    def label(self) -> str:
        """Canonical text of this router."""
        return call_text("power-of-two", self)

    def start(self, profiles: Sequence[Profile], rng: np.random.Generator) -> Drawn:
        """Return a routing that draws from `rng`."""
        return Drawn(self.choices, rng)


class Drawn:
    """Draws different replicas and compares their requests."""

    __slots__ = ("_choices", "_random")

    def __init__(self, choices: int, rng: np.random.Generator) -> None:
        self._choices = choices
        self._random = rng.random

    def route(self, request: Pending, fleet: Fleet) -> int:
        """Return the replica drawn that has the fewest requests."""
        requests, taking = fleet.requests, fleet.taking
        count = len(taking)
        drawn = [int(self._random() * count)]
        best = taking[drawn[0]]
        for left in range(count - 1, max(count - self._choices, 0), -1):
            at = int(self._random() * left)
            # Count past the places that are taken: drawing needs no list of those that are left.
            for place in drawn:
                at += place <= at
            insort(drawn, at)
            if requests[taking[at]] < requests[best]:
                best = taking[at]
        return best


@dataclass(frozen=True)
class LeastRequests:
    """The replica with the fewest requests that have not ended: join the shortest queue.

    W. Winston, "Optimality of the Shortest Line Discipline", Journal of Applied Probability 14(1),
    1977, for equal servers and exponential times.  Equals take turns, beginning behind the replica
    chosen last: always the first of them would leave the last ones idle at low load and call that
    a balance.  It counts requests: long ones weigh as much as short ones, and fast replicas as
    much as slow ones.
    """

    looks = True
    label = "least-requests"

    def start(self, profiles: Sequence[Profile], rng: np.random.Generator) -> Least:
        """Return a routing that begins at the first replica."""
        return Least(attrgetter("requests"))


@dataclass(frozen=True)
class LeastTokens:
    """The replica with the fewest outstanding tokens: prompts and ``max_tokens`` of its requests.

    Equals take turns, as in `LeastRequests`.  The join of the least work left, as far as a router
    can know it: a token of a prompt weighs as much as one to generate, one already generated as
    much as one to come, and ``max_tokens`` may be far more than an answer turns out to be.  Fast
    and slow replicas count the same.
    """

    looks = True
    label = "least-tokens"

    def start(self, profiles: Sequence[Profile], rng: np.random.Generator) -> Least:
        """Return a routing that begins at the first replica."""
        return Least(attrgetter("outstanding_tokens"))


class Least:
    """Remembers whose turn it is among equals."""

    __slots__ = ("_first", "_values")

    def __init__(self, values: Callable[[Fleet], Sequence[int]]) -> None:
        self._values = values
        self._first = 0

    def route(self, request: Pending, fleet: Fleet) -> int:
        """Return the replica with the least value."""
        chosen = least(self._values(fleet), fleet.taking, self._first)
        self._first = chosen + 1
        return chosen
