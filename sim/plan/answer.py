"""What a lane of a plan asks, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sim.plan.band import Verdict
    from sim.plan.breaks import Break
    from sim.plan.search import Crossing


@dataclass(frozen=True)
class Lane:
    """What a lane plans for.

    Attributes
    ----------
    kind : int
        Place of the kind of replica.
    sizes : mapping of int to str
        Labels of the static policies to choose from by size; empty for a policy that is given.
    policy : str
        Label of the policy; of the first size to try where there are sizes.
    cap : int
        The largest number of replicas.
    fixed : int or None
        The number of replicas to plan the rate for; None is the least that meets the target.
    has_intervals : bool
        Whether the profile says how well its numbers are known.
    """

    kind: int
    policy: str
    sizes: Mapping[int, str]
    cap: int
    fixed: int | None
    has_intervals: bool


@dataclass(frozen=True)
class Span:
    """From where to where a number may lie; None is beyond what was looked at."""

    low: float | None
    high: float | None


@dataclass(frozen=True)
class Answer:
    """What was found for a lane.

    Attributes
    ----------
    lane : Lane
    policy : str
        Label of the policy; of the best size where there was a choice.
    alone : Verdict
        Every request alone on an idle replica: what no number of replicas can better.
    replicas : int or None
        The least that meets the target; None where the cap does not.
    at : Verdict
        At the number of replicas planned for and the rate given; at the cap where the target is
        never met.
    fewer, more : Verdict or None
        With one replica less, and one more.
    replicas_by_seeds, replicas_by_costs : Span or None
        The least number by the better and the worse end of the intervals, over seeds and of the
        profile's numbers.
    rate : Crossing or None
        The highest rate, as a multiple of the given one, for the replicas planned for.
    rate_by_seeds, rate_by_costs : Span or None
        The same by either end of the intervals.
    at_rate : Verdict or None
        At that rate.
    breaks : Break or None
        What goes first as the rate rises.
    """

    lane: Lane
    policy: str
    alone: Verdict
    replicas: int | None
    at: Verdict
    fewer: Verdict | None = None
    more: Verdict | None = None
    replicas_by_seeds: Span | None = None
    replicas_by_costs: Span | None = None
    rate: Crossing | None = None
    rate_by_seeds: Span | None = None
    rate_by_costs: Span | None = None
    at_rate: Verdict | None = None
    breaks: Break | None = None

    @property
    def never(self) -> bool:
        """Whether no number of replicas can meet the target: not even requests alone do."""
        return not self.at.point.rate

    @property
    def count(self) -> int:
        """The number of replicas planned for."""
        return self.at.point.fleet[0][1]
