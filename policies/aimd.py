"""A batch limit that feels its way: one more while SLAs are met, a tenth less when one is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from policies.parameters import check_number, check_whole, check_word
from policies.protocol import NEVER_PS, PS_PER_S, PolicyError
from policies.text import call_text
from policies.waiting import Waiting, release

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from calibrate.profile import Profile
    from policies.protocol import Choice, View

Latency = Literal["service", "e2e"]


@dataclass(frozen=True)
class Aimd:
    """Clipper's adaptive batching: additive increase, multiplicative decrease of the batch limit.

    D. Crankshaw et al., "Clipper: A Low-Latency Online Prediction Serving System", NSDI 2017,
    section 4.3: the batch grows by a fixed amount until the latency of a batch exceeds the
    objective, then it shrinks by 10 %.  Clipper's batches start and end together.  In continuous
    batching they do not, so the limit is adjusted once in `period_s`, at a completion: times
    `backoff` if a request that finished since exceeded its SLA; plus `step` if some finished, all
    met theirs, and somebody had to wait, as a limit that did not bind was not tried.  Requests
    are released in order of arrival; without SLAs the limit only grows.

    It learns from what finished, so it is late by the length of an answer, and then again by as
    many periods as it is off.  It does not know which request will miss, and keeps one limit for
    all of them.

    Attributes
    ----------
    start_at : int
        Limit at the start.
    step : float
        Additive increase; Clipper's amount is not published.
    backoff : float
        Factor of the decrease, 0.9 as published.
    period_s : float
        Least time between two adjustments [s].
    latency : {"service", "e2e"}
        What must be within the SLA: the time since the release to the engine, as in Clipper, or
        since arrival.  Past saturation the second falls to a limit of 1, where nothing is met.
    max_num_seqs : int
        The limit's own limit, and the engine's.
    """

    start_at: int = 32
    step: float = 1.0
    backoff: float = 0.9
    period_s: float = 0.5
    latency: Latency = "service"
    max_num_seqs: int = 256

    def __post_init__(self) -> None:
        check_whole("aimd", "max_num_seqs", self.max_num_seqs, 1)
        check_whole("aimd", "start_at", self.start_at, 1)
        if self.start_at > self.max_num_seqs:
            raise PolicyError(
                f"aimd: start_at={self.start_at}: expected at most max_num_seqs={self.max_num_seqs}"
            )
        check_number("aimd", "step", self.step, above=0, at_most=1e6)
        check_number("aimd", "backoff", self.backoff, above=0, at_most=1)
        check_number("aimd", "period_s", self.period_s, at_least=0, at_most=1e6)
        check_word("aimd", "latency", self.latency, get_args(Latency))

    @property
    def label(self) -> str:
        """Canonical text of this policy: the parameters that differ from the defaults."""
        return call_text("aimd", self)

    def start(self, rng: np.random.Generator, profile: Profile) -> AdaptiveLimit:
        """Return a decider with an empty queue."""
        return AdaptiveLimit(self, round(profile.client_overhead_s * PS_PER_S))


class AdaptiveLimit:
    """Judges what finishes and keeps the rest waiting behind the limit."""

    __slots__ = (
        "_due_ps",
        "_exceeded",
        "_held_back",
        "_in_time",
        "_limit",
        "_limit_ps",
        "_overhead_ps",
        "_period_ps",
        "_policy",
        "_waiting",
    )

    def __init__(self, policy: Aimd, overhead_ps: int) -> None:
        self._policy = policy
        self._overhead_ps = overhead_ps
        self._period_ps = round(policy.period_s * PS_PER_S)
        self._limit = float(policy.start_at)
        self._waiting = Waiting()
        # Until when it must be through: for who waits, and then for who is in the engine.
        self._limit_ps: dict[int, int] = {}
        self._due_ps = 0
        self._exceeded = self._in_time = self._held_back = False

    @property
    def limit(self) -> int:
        """The batch limit now."""
        return int(self._limit)

    def decide(self, view: View) -> Choice:
        """Judge, adjust, and release while the limit allows."""
        for request in view.cancelled:
            self._waiting.discard(request)
            self._limit_ps.pop(request, None)
        if view.finished:
            self._judge(view.finished, view.now_ps + self._overhead_ps)
            if view.now_ps >= self._due_ps:
                self._adjust(view.now_ps)
        arrived = view.arrived
        if arrived is not None:
            self._waiting.put(arrived.id, arrived.arrival_ps)
            by_arrival = self._policy.latency == "e2e" or arrived.deadline_ps == NEVER_PS
            self._limit_ps[arrived.id] = (
                arrived.deadline_ps if by_arrival else arrived.deadline_ps - arrived.arrival_ps
            )
        choice = release(self._waiting, self.limit - view.in_engine)
        if self._policy.latency == "service":
            for request in choice.release:
                if self._limit_ps[request] != NEVER_PS:
                    self._limit_ps[request] += view.now_ps
        self._held_back |= len(self._waiting) > 0
        return choice

    def _judge(self, finished: Sequence[int], seen_ps: int) -> None:
        """Note whether what finished was within its SLA when the client saw it."""
        for request in finished:
            if seen_ps > self._limit_ps.pop(request):
                self._exceeded = True
            else:
                self._in_time = True

    def _adjust(self, now_ps: int) -> None:
        """Move the limit by what happened since the last time."""
        if self._exceeded:
            self._limit = max(1.0, self._limit * self._policy.backoff)
        elif self._in_time and self._held_back:
            self._limit = min(self._limit + self._policy.step, float(self._policy.max_num_seqs))
        self._due_ps = now_ps + self._period_ps
        self._exceeded = self._in_time = self._held_back = False
