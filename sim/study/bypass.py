"""What SABER's published runs look like: short requests pass the queue, the others go by SABER.

A hypothesis to hold against the measurements, read off the recorded waits and not off goodput. No
text of the study says so, and it is no policy to recommend: short requests can starve the rest.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from policies.protocol import NEVER_PS, PS_PER_S, Choice
from policies.saber import Saber

if TYPE_CHECKING:
    import numpy as np

    from calibrate.profile import Profile
    from policies.protocol import Decider, View


@dataclass(frozen=True)
class Bypass:
    """Requests with a short SLA are released on arrival and count nowhere.

    Parameters
    ----------
    inner : Saber
        What the other requests go through, as if they were alone.
    sla_s : float
        The longest SLA that passes; the study's short tasks have 1 s, its others 8 and 12 s.
    """

    inner: Saber = field(default_factory=Saber)
    sla_s: float = 1.0

    @property
    def label(self) -> str:
        """For people: this policy has no text of its own on a command line."""
        return f"bypass(sla_s={self.sla_s:g}, {self.inner.label})"

    def start(self, rng: np.random.Generator, profile: Profile) -> BypassDecider:
        """Return a decider with one of the inner policy's inside."""
        return BypassDecider(self.inner.start(rng, profile), round(self.sla_s * PS_PER_S))


class BypassDecider:
    """Releases the short ones at once and shows the rest to another decider."""

    __slots__ = ("_inner", "_longest_ps", "_passed", "_wake_ps")

    def __init__(self, inner: Decider, longest_ps: int) -> None:
        self._inner = inner
        self._longest_ps = longest_ps
        self._passed: set[int] = set()
        self._wake_ps = NEVER_PS

    def decide(self, view: View) -> Choice:
        """Let a short arrival pass; leave all else to the inner decider."""
        arrived = view.arrived
        if arrived is not None and arrived.deadline_ps - arrived.arrival_ps <= self._longest_ps:
            self._passed.add(arrived.id)
            return Choice((arrived.id,), wake_ps=self._wake_ps)
        seen = copy(view)
        seen.finished = [request for request in view.finished if request not in self._passed]
        seen.cancelled = [request for request in view.cancelled if request not in self._passed]
        self._passed.difference_update(view.finished, view.cancelled)
        if (view.finished or view.cancelled) and not (seen.finished or seen.cancelled):
            # To the inner decider nothing happened; it would take an empty view for its timer.
            return Choice(wake_ps=self._wake_ps)
        seen.in_engine = view.in_engine - len(self._passed)
        choice = self._inner.decide(seen)
        self._wake_ps = choice.wake_ps
        return choice


TEXT = Bypass(Saber())
"""Named by "sim.study.bypass:TEXT": the others by the paper's text."""

DOUBLED = Bypass(Saber(variant="artifact"))
"""Named by "sim.study.bypass:DOUBLED": the others as the replication package's code counts them."""
