"""What arrived lately, by what it costs."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque


class Lately:
    """The last arrivals, and the share of the time that the cheaper ones' prompts took.

    Parameters
    ----------
    size : int
        So many are remembered.
    at_least : int
        Of fewer nothing is said.
    """

    __slots__ = ("_arrivals", "_at_least", "_prefills_s", "_works_s")

    def __init__(self, size: int = 50, at_least: int = 5) -> None:
        self._at_least = at_least
        self._arrivals: deque[tuple[float, float]] = deque(maxlen=size)
        # By work, and of equals the last to arrive first; their prompts in the same order.
        self._works_s: list[float] = []
        self._prefills_s: list[float] = []

    def note(self, work_s: float, prefill_s: float, now_s: float) -> None:
        """Remember an arrival: what it costs in all, and its prompt alone [s]."""
        arrivals, works_s = self._arrivals, self._works_s
        if len(arrivals) == arrivals.maxlen:
            oldest = bisect_right(works_s, arrivals[0][1]) - 1
            del works_s[oldest], self._prefills_s[oldest]
        arrivals.append((now_s, work_s))
        place = bisect_left(works_s, work_s)
        works_s.insert(place, work_s)
        self._prefills_s.insert(place, prefill_s)

    def cheaper_share(self, work_s: float, now_s: float) -> float:
        """Return what prompts of arrivals that cost less than `work_s` took of the time.

        Above 1 where they come faster than they can be served.
        """
        if len(self._arrivals) < self._at_least:
            return 0.0
        cheaper = bisect_left(self._works_s, work_s)
        if not cheaper:
            return 0.0
        span_s = now_s - self._arrivals[0][0]
        return sum(self._prefills_s[:cheaper]) / span_s if span_s > 0 else float("inf")
