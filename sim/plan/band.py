"""How sure a number is: means and intervals over seeds, and as many seeds as a case needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from sim.interval import Estimate, mean_and_interval
from sim.plan.evaluate import Ask

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from sim.plan.evaluate import Point
    from sim.plan.measure import Sample
    from sim.plan.target import Target

CLEAR = 2.0
"""A strain this many times above or below 1 is clear from a look at the first seeds."""

FEW = 3
"""Seeds from which an interval may be taken for what it says."""


@dataclass(frozen=True)
class Rules:
    """How a plan decides.

    Attributes
    ----------
    target : Target
        What is to be met.
    seeds : int
        How many at most; numbered from 0.
    first : int
        How many for a first look.
    level_pct : float
        Of every interval [%].
    cautious : bool
        Whether the worse end of the interval has to meet the target, and not only the mean.
    """

    target: Target
    seeds: int
    first: int = 1
    level_pct: float = 95.0
    cautious: bool = False

    @property
    def stages(self) -> tuple[int, ...]:
        """How many seeds to look at before deciding whether to look at more."""
        half = max(min(FEW, self.seeds), self.seeds // 2)
        return tuple(sorted({min(self.first, self.seeds), half, self.seeds}))


@dataclass(frozen=True)
class Verdict:
    """What some seeds say about one configuration.

    Attributes
    ----------
    point : Point
        The configuration.
    samples : tuple of Sample
        One a seed.
    rules : Rules
        How to decide.
    """

    point: Point
    samples: tuple[Sample, ...]
    rules: Rules

    @cached_property
    def estimates(self) -> tuple[Estimate, ...]:
        """The mean and interval of each condition's value."""
        return tuple(
            interval(
                [sample.values[i] for sample in self.samples],
                self.rules.level_pct,
                100.0 if condition.is_goodput else math.inf,
            )
            for i, condition in enumerate(self.rules.target.conditions)
        )

    @cached_property
    def mean_strain(self) -> float:
        """The strain at the means."""
        return self.rules.target.strain([e.mean for e in self.estimates])

    @cached_property
    def worst_strain(self) -> float:
        """The strain at the worse ends; at the means where one seed has no interval."""
        return self._end_strain(worse=True)

    @cached_property
    def best_strain(self) -> float:
        """The strain at the better ends; at the means where one seed has no interval."""
        return self._end_strain(worse=False)

    @property
    def strain(self) -> float:
        """The strain that decides: up to 1 the target is met."""
        return self.worst_strain if self.rules.cautious else self.mean_strain

    @property
    def meets(self) -> bool:
        """Whether the target is met."""
        return self.strain <= 1

    @property
    def straddles(self) -> bool:
        """Whether the target may lie on either side.

        Within the interval; by one seed, which has none, where the strain is not `CLEAR`.
        """
        if len(self.samples) == 1:
            return 1 / CLEAR <= self.mean_strain <= CLEAR
        return self.best_strain <= 1 < self.worst_strain

    @property
    def seeds_met(self) -> int:
        """How many seeds meet the target."""
        strain = self.rules.target.strain
        return sum(strain(sample.values) <= 1 for sample in self.samples)

    @property
    def is_clear(self) -> bool:
        """Whether more seeds would hardly change the answer."""
        if len(self.samples) < FEW:
            return not 1 / CLEAR <= self.mean_strain <= CLEAR
        return not self.straddles

    @property
    def binding(self) -> int:
        """Place of the condition that is pressed hardest at the means."""
        strains = self.rules.target.strains([e.mean for e in self.estimates])
        return strains.index(max(strains))

    def _end_strain(self, *, worse: bool) -> float:
        ends = []
        for estimate, condition in zip(self.estimates, self.rules.target.conditions, strict=True):
            end = estimate.low if worse == condition.is_goodput else estimate.high
            ends.append(estimate.mean if end is None else end)
        return self.rules.target.strain(ends)


def judged(
    point: Point, rules: Rules, *, at_least: int = 1
) -> Generator[Ask, tuple[Sample, ...], Verdict]:
    """Look at a configuration on a few seeds, `at_least` so many, and on more while not clear."""
    for count in rules.stages:
        if count < min(at_least, rules.seeds):
            continue
        samples = yield Ask(point, tuple(range(count)))
        verdict = Verdict(point, samples, rules)
        if verdict.is_clear:
            break
    return verdict


def looked_at(
    point: Point, rules: Rules, count: int
) -> Generator[Ask, tuple[Sample, ...], Verdict]:
    """Look at a configuration on just the first `count` seeds, to compare it with others."""
    samples = yield Ask(point, tuple(range(min(count, rules.seeds))))
    return Verdict(point, samples, rules)


def interval(values: Sequence[float], level_pct: float, highest: float = math.inf) -> Estimate:
    """Return the mean and its interval by Student's t, within 0 and `highest`.

    Numbers that are not there (NaN) are left out.  One number has no interval, nor have those of
    which one is infinite.
    """
    estimate = difference([value for value in values if not math.isnan(value)], level_pct)
    if estimate.low is None or estimate.high is None:
        return estimate
    return Estimate(estimate.mean, max(estimate.low, 0.0), min(estimate.high, highest))


def difference(values: Sequence[float], level_pct: float) -> Estimate:
    """Return the mean of numbers of either sign and its interval by Student's t."""
    found = mean_and_interval(values, level_pct / 100)
    return Estimate(math.nan, None, None) if found is None else found
