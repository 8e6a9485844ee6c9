"""A scaler that follows the clock and not the load."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

from policies.parameters import check_number
from policies.protocol import PS_PER_S, PolicyError
from policies.text import call_text

if TYPE_CHECKING:
    from policies.scaling import Load

STEPS_SHAPE = "expected seconds:replicas, such as '0:2, 28800:6, 64800:2'"


@dataclass(frozen=True)
class Schedule:
    """So many replicas from each time of the day on, whatever the load.

    Attributes
    ----------
    steps : str
        Seconds and replicas, ascending: ``0:2, 28800:6, 64800:2``.  Before the first of them the
        last one holds.
    period_s : float
        After how long it begins anew [s].
    """

    steps: str
    period_s: float = 86400

    def __post_init__(self) -> None:
        check_number("schedule", "period_s", self.period_s, at_least=1e-9, at_most=9e6)
        starts = [start for start, _ in self._parsed]
        for before, start in pairwise(starts):
            if start <= before:
                raise PolicyError(
                    f"schedule: steps={self.steps!r}: expected ascending times, not "
                    f"{start / PS_PER_S:g} after {before / PS_PER_S:g}"
                )
        if starts[-1] >= self._period_ps:
            raise PolicyError(
                f"schedule: steps={self.steps!r}: expected times below period_s={self.period_s:g}"
            )

    @property
    def label(self) -> str:
        """Canonical text of this scaler."""
        return call_text("schedule", self)

    def desired(self, load: Load) -> int:
        """Return the replicas scheduled for now."""
        return self._parsed[
            bisect_right(self._parsed, load.now_ps % self._period_ps, key=_start_ps) - 1
        ][1]

    @property
    def _period_ps(self) -> int:
        return round(self.period_s * PS_PER_S)

    @cached_property
    def _parsed(self) -> tuple[tuple[int, int], ...]:
        """The starts [ps] and the replicas from there on."""
        if not isinstance(self.steps, str):
            raise PolicyError(f"schedule: steps={self.steps!r}: {STEPS_SHAPE}")
        return tuple(_step(part, self.steps) for part in self.steps.split(","))


def _step(part: str, steps: str) -> tuple[int, int]:
    """Return the start [ps] and the replicas of one step."""
    start, colon, count = part.partition(":")
    try:
        start_ps, replicas = round(float(start) * PS_PER_S), int(count)
    except (ValueError, OverflowError):
        start_ps, replicas = -1, -1
    if not colon or start_ps < 0 or replicas < 0:
        raise PolicyError(f"schedule: steps={steps!r}: {STEPS_SHAPE}, not {part.strip()!r}")
    return start_ps, replicas


def _start_ps(step: tuple[int, int]) -> int:
    return step[0]
