"""The cheapest mix of kinds: few candidates, each of which rules out many whatever comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sim.plan.band import Rules, Verdict, judged
from sim.plan.evaluate import Ask, Point

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from sim.plan.measure import Sample

Counts = tuple[int, ...]

SLACK = 0.4
"""How far below the sum of its parts a mix may look and still be tried.

Pools share bursts, and a router that knows the kinds gives each what it is good at.
"""
AT_MOST = 40
"""Mixes tried at most."""
WEIGHED = 100
"""Mixes at most among which the next to try is chosen."""


@dataclass(frozen=True)
class Need:
    """What the answers for single kinds say of one kind.

    Attributes
    ----------
    replicas : int or None
        The least number that does alone; None where no number does.
    exact : float
        The same as a fraction: that number over how many times the given rate it sustains.
    price_per_h : float
        Of one replica.
    """

    replicas: int | None
    exact: float
    price_per_h: float


@dataclass(frozen=True)
class Mix:
    """The cheapest mix that meets the target for less than the cheapest single kind.

    Attributes
    ----------
    policy : str
        Label of the policy all replicas run.
    candidates, tried, left : int
        How many mixes were cheaper and not hopeless by their parts, how many of them were
        simulated, and how many of them might still be cheaper than what was found.
    at : Verdict or None
        The mix, None where none does.
    """

    policy: str
    candidates: int
    tried: int
    left: int
    at: Verdict | None


def candidates(needs: Sequence[Need]) -> list[Counts]:
    """Return the mixes worth a look, the cheapest first.

    A mix has at least two kinds, costs less than the cheapest single kind, and its parts, each
    counted as a share of what its kind needs alone, add up to one but for `SLACK`.
    """
    alone = [need.replicas * need.price_per_h for need in needs if need.replicas is not None]
    if not alone:
        return []
    ceiling = min(alone)
    found = [
        counts
        for counts in _affordable(needs, ceiling)
        if sum(count > 0 for count in counts) > 1
        and price(counts, needs) < ceiling
        and _share(counts, needs) >= 1 - SLACK
    ]
    return sorted(found, key=lambda counts: (price(counts, needs), counts))


def _affordable(needs: Sequence[Need], budget: float) -> Iterator[Counts]:
    """Yield counts of kinds, none more than does alone, for less than the budget."""
    if not needs:
        yield ()
        return
    first, *others = needs
    for count in range((first.replicas or 0) + 1):
        left = budget - count * first.price_per_h
        if left <= 0:
            return
        yield from ((count, *rest) for rest in _affordable(others, left))


def price(counts: Counts, needs: Sequence[Need]) -> float:
    """Return what a mix costs an hour."""
    return sum(count * need.price_per_h for count, need in zip(counts, needs, strict=True))


def _share(counts: Counts, needs: Sequence[Need]) -> float:
    return sum(count / need.exact for count, need in zip(counts, needs, strict=True) if count)


def cheapest_mix(
    needs: Sequence[Need], policy: str, rules: Rules
) -> Generator[Ask, tuple[Sample, ...], Mix]:
    """Find the cheapest mix that meets the target by the rules."""
    listed = candidates(needs)
    search = cheapest_that_meets(listed, lambda counts: price(counts, needs))
    tried = 0
    at: Verdict | None = None
    try:
        counts = next(search)
        while True:
            tried += 1
            point = Point(tuple((k, n) for k, n in enumerate(counts) if n), policy)
            verdict = yield from judged(point, rules)
            if verdict.meets:
                verdict = yield from judged(point, rules, at_least=rules.seeds)
            at = verdict if verdict.meets else at
            counts = search.send(verdict.meets)
    except StopIteration as end:
        left: int = end.value
    return Mix(policy, len(listed), tried, left, at)


def cheapest_that_meets(
    listed: Sequence[Counts], price_of: Callable[[Counts], float]
) -> Generator[Counts, bool, int]:
    """Ask whether some of `listed` meet until all others are ruled out; return how many are not.

    One that meets rules out all that cost as much, so that the last that meets is the cheapest;
    one that fails rules out all with no more of any kind.  The next to be asked is the one that
    rules out most at the worse of its two answers.

    Parameters
    ----------
    listed : sequence of tuple of int
        By price, ascending.
    price_of : callable
        The price of one.
    """
    counts = np.array(listed)
    prices = np.array([price_of(each) for each in listed])
    for _ in range(AT_MOST):
        if not len(counts):
            break
        some = np.arange(0, len(counts), -(-len(counts) // WEIGHED))
        below = np.all(counts[None] <= counts[some, None], axis=-1)
        dearer = len(counts) - np.searchsorted(prices, prices[some])
        place = int(np.minimum(below.sum(axis=1), dearer).argmax())
        chosen = some[place]
        meets = yield tuple(counts[chosen].tolist())
        keep = prices < prices[chosen] if meets else ~below[place]
        counts, prices = counts[keep], prices[keep]
    return len(counts)
