"""The leaderboard itself: standings by cell, who is told what, and what deciding costs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from sim.interval import mean_difference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sim.compare import Comparison, Row
    from sim.interval import Estimate

BEST_STATIC = "best static"
BEST_FOUND = "oracle best found"
CAP = "oracle cap"
SABER = "saber"


@dataclass(frozen=True)
class Standings:
    """How policies did in one cell, on the same requests.

    Attributes
    ----------
    cell, group, about : str
        As in `sim.leaderboard.cells.Cell`.
    comparison : Comparison
        A row for each policy.
    oracle : tuple of Row
        `BEST_FOUND` and `CAP`, with None for seeds without them; empty when left out.
    """

    cell: str
    group: str
    about: str
    comparison: Comparison
    oracle: tuple[Row, ...] = ()

    @cached_property
    def rows(self) -> Mapping[str, Row]:
        """The rows by the name they have in tables: static sizes as the best of them only."""
        best = self.comparison.best_static
        kept = {row.policy: row for row in self.comparison.rows if not row.fixed_size}
        return kept if best is None else {BEST_STATIC: best, **kept}

    @cached_property
    def leaders(self) -> tuple[str, ...]:
        """Names of those who are best, or whose difference to the best may be noise.

        The best has the highest mean.  Whether another is behind is told by the 95 % interval of
        the difference, paired by seed; with one seed there is none and the mean alone counts.
        """
        rows = self.rows
        top = max(rows, key=lambda name: mean(rows[name]))
        return tuple(name for name in rows if name == top or not self.is_behind(name, top))

    def is_behind(self, name: str, other: str) -> bool:
        """Return whether a row is below another by more than noise."""
        lead = self.lead(other, name)
        return lead.mean > 0 if lead.low is None else lead.low > 0

    def lead(self, name: str, over: str) -> Estimate:
        """Return goodput of a row less that of another, paired by seed [points]."""
        return lead(self.rows[name], self.rows[over])

    def of_oracle(self, name: str) -> Row | None:
        """Return a row of the oracle, None where it was left out."""
        return next((row for row in self.oracle if row.policy == name), None)


@dataclass(frozen=True)
class Told:
    """What an untruth does to a policy.

    Attributes
    ----------
    tale, policy, cell : str
    change_points : Estimate
        Goodput when misled less goodput when not, on the same requests.
    """

    tale: str
    policy: str
    cell: str
    change_points: Estimate


@dataclass(frozen=True)
class Leaderboard:
    """All of it.

    Attributes
    ----------
    standings : tuple of Standings
        By cell.
    told : tuple of Told
        By untruth, policy and cell.
    tales : mapping of str to str
        What each untruth is.
    decision_us : mapping of str to float or None
        Microseconds of a decision by policy: measured, so not the same twice.
    seeds : tuple of int
    oracle_seeds : int
        On how many of them, the first, the oracle was asked.
    warnings : tuple of str
    """

    standings: tuple[Standings, ...]
    told: tuple[Told, ...]
    tales: Mapping[str, str]
    decision_us: Mapping[str, float | None]
    seeds: tuple[int, ...]
    oracle_seeds: int
    warnings: tuple[str, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the rows, the best on average over cells first."""
        names = self.standings[0].rows
        return tuple(sorted(names, key=lambda name: (-self.average(name), name)))

    def average(self, name: str) -> float:
        """Return the mean goodput of a row over cells [%]."""
        return sum(mean(each.rows[name]) for each in self.standings) / len(self.standings)

    def change(self, tale: str, policy: str) -> float | None:
        """Return the mean change under an untruth over the cells it was told in [points]."""
        found = [
            told.change_points.mean
            for told in self.told
            if (told.tale, told.policy) == (tale, policy)
        ]
        return sum(found) / len(found) if found else None

    def fairness(self, name: str, label: str) -> float | None:
        """Return Jain's index of a row, mean over the cells that have it."""
        found = [
            estimate.mean
            for each in self.standings
            if (estimate := each.rows[name].metrics["jain"][label]) is not None
        ]
        return sum(found) / len(found) if found else None


def mean(row: Row) -> float:
    """Return a row's mean goodput [%]; every cell has SLAs."""
    assert row.goodput_pct is not None
    return row.goodput_pct.mean


def lead(row: Row, over: Row) -> Estimate:
    """Return goodput of a row less that of another, on the seeds both have [points]."""
    found = mean_difference(row.goodput_by_seed, over.goodput_by_seed)
    assert found is not None
    return found
