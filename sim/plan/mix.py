"""The cheapest mix of kinds: few candidates, in order of price, until one does."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from sim.plan.band import Rules, Verdict, judged
from sim.plan.evaluate import Ask, Point

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from sim.plan.measure import Sample

Counts = tuple[int, ...]

SLACK = 0.1
"""How far below the sum of its parts a mix may look and still be tried: pools share bursts."""
AT_MOST = 40
"""Mixes tried at most, the cheapest first."""


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
    candidates, tried : int
        How many mixes were cheaper and not hopeless by their parts, and how many were simulated.
    at : Verdict or None
        The mix, None where none does.
    """

    policy: str
    candidates: int
    tried: int
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
    most = [0 if need.replicas is None else need.replicas for need in needs]
    found = [
        counts
        for counts in product(*(range(count + 1) for count in most))
        if sum(count > 0 for count in counts) > 1
        and price(counts, needs) < ceiling
        and _share(counts, needs) >= 1 - SLACK
    ]
    return sorted(found, key=lambda counts: (price(counts, needs), counts))


def price(counts: Counts, needs: Sequence[Need]) -> float:
    """Return what a mix costs an hour."""
    return sum(count * need.price_per_h for count, need in zip(counts, needs, strict=True))


def _share(counts: Counts, needs: Sequence[Need]) -> float:
    return sum(count / need.exact for count, need in zip(counts, needs, strict=True) if count)


def cheapest_mix(
    needs: Sequence[Need], policy: str, rules: Rules
) -> Generator[Ask, tuple[Sample, ...], Mix]:
    """Try mixes in order of price; a mix with no more of any kind than one that failed is skipped.

    The first that meets the target on every seed's mean is the cheapest, and no smaller one does.
    """
    listed = candidates(needs)
    search = first_that_meets(listed)
    tried = 0
    try:
        counts = next(search)
        while True:
            tried += 1
            point = Point(tuple((k, n) for k, n in enumerate(counts) if n), policy)
            verdict = yield from judged(point, rules)
            if verdict.meets:
                verdict = yield from judged(point, rules, thorough=True)
            counts = search.send(verdict.meets)
    except StopIteration as end:
        found: Counts | None = end.value
    return Mix(policy, len(listed), tried, verdict if found is not None else None)


def first_that_meets(listed: Sequence[Counts]) -> Generator[Counts, bool, Counts | None]:
    """Find the first of `listed` that meets, asking for none below one that failed."""
    failed: list[Counts] = []
    for counts in listed:
        if any(_within(counts, other) for other in failed):
            continue
        if (yield counts):
            return counts
        failed.append(counts)
        if len(failed) == AT_MOST:
            break
    return None


def _within(counts: Counts, other: Counts) -> bool:
    return all(a <= b for a, b in zip(counts, other, strict=True))
