"""The answers for one kind of replica under one policy, each with its band."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from sim.plan.answer import Answer, Lane, Span
from sim.plan.band import FEW, Rules, Verdict, judged, looked_at
from sim.plan.breaks import breaks_first
from sim.plan.evaluate import Ask, Point
from sim.plan.search import Crossing, best, highest, least

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from sim.plan.evaluate import Costs
    from sim.plan.measure import Sample

X = TypeVar("X")
T = TypeVar("T")

START_SIZE = 64
BAND_STEPS = 3
"""How far from the answer the ends of its band are looked for."""
NEAR = 1.01
"""Looks at rates closer than this say nothing of how the strain rises between them."""
APART = 0.1
"""How far apart, in the logarithm of the rate, they say it best."""
ROUGH = 0.05
"""Tolerance of the first search for a rate, on the first seeds only."""


def follow_lane(lane: Lane, rules: Rules) -> Generator[Ask, tuple[Sample, ...], Answer]:
    """Answer everything about one kind of replica under one policy."""
    alone = yield from judged(Point(((lane.kind, 1),), lane.policy, rate=0.0), rules)
    if alone.best_strain > 1:
        return Answer(lane, lane.policy, alone, None, alone)
    lane, replicas = yield from _least_replicas(lane, rules)
    count = lane.fixed or replicas or lane.cap
    at = yield from judged(_at(lane, count), rules, at_least=rules.seeds)
    if replicas is None and lane.fixed is None:
        return Answer(lane, lane.policy, alone, None, at)
    lane, rate, looks = yield from _highest_rate(lane, count, rules)
    # The size may have changed for one that is better at the highest rate.
    at = yield from judged(_at(lane, count), rules, at_least=rules.seeds)
    answer = Answer(lane, lane.policy, alone, replicas, at, rate=rate)
    answer = replace(
        answer,
        fewer=(yield from judged(_at(lane, count - 1), rules)) if count > 1 else None,
        more=(yield from judged(_at(lane, count + 1), rules)),
        replicas_by_seeds=(yield from _replicas_by_seeds(lane, replicas, rules)),
        breaks=(yield from breaks_first(at, rules)),
    )
    if rate.meets is not None and answer.breaks is not None:
        at_rate = yield from judged(_at(lane, count, rate.meets), rules, at_least=rules.seeds)
        by_seeds = rate_by_seeds([at, *looks, answer.breaks.at], at_rate)
        answer = replace(answer, at_rate=at_rate, rate_by_seeds=by_seeds)
    if lane.has_intervals:
        answer = yield from _by_costs(answer, rules)
    return answer


def _at(lane: Lane, count: int, rate: float = 1.0, costs: Costs = "fitted") -> Point:
    return Point(((lane.kind, count),), lane.policy, rate, costs)


def _along(
    search: Generator[X, float, T], point_of: Callable[[X], Point], rules: Rules
) -> Generator[Ask, tuple[Sample, ...], T]:
    """Drive a search with the strains of the points it asks for."""
    return (yield from _drive(search, lambda x: judged(point_of(x), rules)))


def _drive(
    search: Generator[X, float, T],
    look: Callable[[X], Generator[Ask, tuple[Sample, ...], Verdict]],
) -> Generator[Ask, tuple[Sample, ...], T]:
    try:
        place = next(search)
        while True:
            verdict = yield from look(place)
            place = search.send(verdict.strain)
    except StopIteration as end:
        found: T = end.value
        return found


def _least_replicas(
    lane: Lane, rules: Rules
) -> Generator[Ask, tuple[Sample, ...], tuple[Lane, int | None]]:
    """Return the least number of replicas, with the best size where there is a choice."""
    found = yield from _along(least(lane.cap), partial(_at, lane), rules)
    while lane.sizes and found != 1:
        # The size that does best where this one just failed is the one to go on with.
        below = lane.cap if found is None else found - 1
        other = yield from _best_size(lane, below, 1.0, rules, max(FEW, rules.first))
        if other.policy == lane.policy:
            break
        fewer = yield from _along(least(lane.cap, found or lane.cap), partial(_at, other), rules)
        if fewer is None or (found is not None and fewer >= found):
            break
        lane, found = other, fewer
    return lane, found


def _highest_rate(
    lane: Lane, count: int, rules: Rules
) -> Generator[Ask, tuple[Sample, ...], tuple[Lane, Crossing, list[Verdict]]]:
    """Return the highest rate: roughly on the first seeds, there the best size, then exactly.

    With the lane, whose size may be another, and the looks that were taken near that rate.
    """
    rough = yield from _roughly(lane, count, rules)
    for seeds in (rules.first, max(FEW, rules.first)) if lane.sizes else ():
        if rough.meets is None:
            break
        # The size that does best where this one just failed is the one to go on with.
        fails = rough.misses or rough.meets
        other = yield from _best_size(lane, count, fails, rules, seeds)
        # At the rate as given the other size has to do as well.
        given = yield from judged(_at(other, count), rules)
        if other.policy != lane.policy and (rough.meets < 1 or given.meets):
            lane, rough = other, (yield from _roughly(other, count, rules, rough.meets))
    if rough.meets is None or rough.misses is None:
        return lane, rough, []
    looks: list[Verdict] = []

    def look(rate: float) -> Generator[Ask, tuple[Sample, ...], Verdict]:
        # So near the target one seed is not enough to call anything clear.
        looks.append((yield from judged(_at(lane, count, rate), rules, at_least=FEW)))
        return looks[-1]

    found = yield from _drive(highest(rough.meets, slope=rough.slope), look)
    return lane, found, looks


def _roughly(
    lane: Lane, count: int, rules: Rules, start: float = 1.0
) -> Generator[Ask, tuple[Sample, ...], Crossing]:
    def look(rate: float) -> Generator[Ask, tuple[Sample, ...], Verdict]:
        return looked_at(_at(lane, count, rate), rules, rules.first)

    return (yield from _drive(highest(start, tolerance=ROUGH), look))


def _best_size(
    lane: Lane, count: int, rate: float, rules: Rules, seeds: int
) -> Generator[Ask, tuple[Sample, ...], Lane]:
    """Return the lane with the size that strains least at a number of replicas and a rate."""
    [start] = [size for size, label in lane.sizes.items() if label == lane.policy]
    size = yield from _drive(
        best(sorted(lane.sizes), start),
        lambda size: looked_at(
            _at(replace(lane, policy=lane.sizes[size]), count, rate), rules, seeds
        ),
    )
    return replace(lane, policy=lane.sizes[size])


def _replicas_by_seeds(
    lane: Lane, replicas: int | None, rules: Rules
) -> Generator[Ask, tuple[Sample, ...], Span | None]:
    """Return the least number that meets the target at the better and at the worse ends."""
    if replicas is None or rules.seeds == 1:
        return None
    low, high = replicas, replicas
    for _ in range(BAND_STEPS):
        if low == 1 or (yield from judged(_at(lane, low - 1), rules)).best_strain > 1:
            break
        low -= 1
    for _ in range(BAND_STEPS):
        if (yield from judged(_at(lane, high), rules)).worst_strain <= 1:
            break
        high += 1
    else:
        return Span(low, None)
    return Span(low, high)


def rate_by_seeds(looks: list[Verdict], at_rate: Verdict) -> Span | None:
    """Return where the worse and the better end of the interval cross the target.

    Between rates, the logarithm of the strain is taken for a straight line: through the highest
    rate that meets and, on either side, that of `looks` on the same seeds that is best placed.
    None for one seed, which has no interval.
    """
    if len(at_rate.samples) == 1:
        return None
    rate = at_rate.point.rate
    alike = [look for look in looks if len(look.samples) == len(at_rate.samples)]
    below = [look for look in alike if look.point.rate < rate / NEAR]
    above = [look for look in alike if look.point.rate > rate * NEAR]

    def ends(strain_of: Callable[[Verdict], float]) -> float | None:
        curve = {rate: strain_of(at_rate)}
        for side in (below, above):
            found = [look for look in side if 0 < strain_of(look) < math.inf]
            # Farther off the line bends; nearer it is noise.
            best = min(found, key=lambda look: abs(_apart(look, rate) - APART), default=None)
            if best is not None:
                curve[best.point.rate] = strain_of(best)
        rates = sorted(curve)
        return crossing(rates, [curve[each] for each in rates])

    return Span(ends(lambda look: look.worst_strain), ends(lambda look: look.best_strain))


def _apart(look: Verdict, rate: float) -> float:
    return abs(math.log(look.point.rate / rate))


def crossing(rates: list[float], strains: list[float]) -> float | None:
    """Return the rate at which the strain passes 1, the line going on at either end.

    None where it does not rise, or lies farther than twice off the rates looked at.
    """
    if len(rates) < 2 or not all(0 < strain < math.inf for strain in strains):
        return None
    x, y = [math.log(rate) for rate in rates], [math.log(strain) for strain in strains]
    place = next((i for i in range(len(y) - 1) if y[i + 1] > 0), len(y) - 2)
    slope = (y[place + 1] - y[place]) / (x[place + 1] - x[place])
    if slope <= 0:
        return None
    found = x[place] - y[place] / slope
    return math.exp(found) if x[0] - math.log(2) <= found <= x[-1] + math.log(2) else None


def _by_costs(answer: Answer, rules: Rules) -> Generator[Ask, tuple[Sample, ...], Answer]:
    """Return the answer with what it would be at either end of the profile's numbers."""
    lane, guess = answer.lane, answer.rate.meets if answer.rate is not None else None
    numbers: list[int | None] = []
    rates: list[float | None] = []
    ends: tuple[Costs, Costs] = ("low", "high")
    for costs in ends:
        at = partial(_at, lane, costs=costs)
        found = yield from _along(least(lane.cap, answer.replicas or lane.cap), at, rules)
        crossed = yield from _along(highest(guess or 1.0), partial(at, answer.count), rules)
        numbers.append(found)
        rates.append(crossed.meets)
    return replace(
        answer,
        replicas_by_costs=Span(*numbers),
        rate_by_costs=Span(rates[1], rates[0]),
    )
