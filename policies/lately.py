"""What arrived lately, by what it costs."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from itertools import accumulate


class Lately:
    """The last arrivals, and the share of the time that the cheaper ones' prompts took.

    Parameters
    ----------
    size : int
        So many are remembered.
    at_least : int
        Of fewer nothing is said.
    """

    __slots__ = ("_at_least", "_by_work", "_sums_s", "_times", "_works")

    def __init__(self, size: int = 50, at_least: int = 5) -> None:
        self._at_least = at_least
        self._times: deque[tuple[float, float, float]] = deque(maxlen=size)
        self._by_work: list[tuple[float, float]] = []
        self._works: list[float] = []
        self._sums_s: list[float] = []

    def note(self, work_s: float, prefill_s: float, now_s: float) -> None:
        """Remember an arrival: what it costs in all, and its prompt alone [s]."""
        times, by_work = self._times, self._by_work
        if len(times) == times.maxlen:
            _, *oldest = times[0]
            del by_work[bisect_left(by_work, tuple(oldest))]
        times.append((now_s, work_s, prefill_s))
        insort(by_work, (work_s, prefill_s))
        self._sums_s = []  # out of date

    def cheaper_share(self, work_s: float, now_s: float) -> float:
        """Return what prompts of arrivals that cost less than `work_s` took of the time.

        Above 1 where they come faster than they can be served.
        """
        if len(self._times) < self._at_least:
            return 0.0
        if not self._sums_s:
            self._works = [work for work, _ in self._by_work]
            self._sums_s = [0.0, *accumulate(prefill for _, prefill in self._by_work)]
        taken_s = self._sums_s[bisect_left(self._works, work_s)]
        if not taken_s:
            return 0.0
        span_s = now_s - self._times[0][0]
        return taken_s / span_s if span_s > 0 else float("inf")
