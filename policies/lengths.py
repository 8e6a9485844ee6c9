"""How long answers turn out beside what was asked for, by task."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from policies.protocol import Pending

MIDDLE = 0.1, 0.9
"""Between these quantiles is how far the answers of a task differ."""


class Lengths:
    """Learns from the answers that came how long the next will be.

    The next of a task is expected to have as many tokens as the last had, or to take as much of its
    ``max_tokens``, whichever of the two differed less from answer to answer.  Where clients ask for
    just what they get it is ``max_tokens``; where they ask for as much as they could ever need it
    is less.  It is never more, unless an answer was: then ``max_tokens`` is no limit but a guess.

    Parameters
    ----------
    quantile : float
        Of the last answers, from 0 to 1.
    size : int
        So many answers of each task are remembered.
    at_least : int
        With fewer answers of a task its next one is not known.

    Attributes
    ----------
    exact : bool
        Whether every answer so far took all of its ``max_tokens``.
    """

    __slots__ = ("_at_least", "_limited", "_quantile", "_size", "_tasks", "exact")

    def __init__(self, quantile: float, size: int = 100, at_least: int = 5) -> None:
        self._quantile = quantile
        self._size = size
        self._at_least = at_least
        self._tasks: dict[str, _Task] = {}
        self._limited = True
        self.exact = True

    def note(self, request: Pending, tokens: int) -> None:
        """Remember how many tokens the answer to a request had."""
        if tokens != request.max_tokens:
            self.exact = False
        if tokens > request.max_tokens:
            self._limited = False
        if request.task not in self._tasks:
            self._tasks[request.task] = _Task()
        self._tasks[request.task].note(request.max_tokens, tokens, self._size)

    def expected(self, request: Pending) -> int | None:
        """Return how many tokens the answer to a request is to have; None if not known."""
        task = self._tasks.get(request.task)
        if task is None or len(task.last) < self._at_least:
            return None
        return request.max_tokens if self.exact else self.longer(request, 0)

    def longer(self, request: Pending, generated: int) -> int | None:
        """Return how many tokens an answer is to have that has more than those generated.

        None where no answer that is remembered was as long.
        """
        task = self._tasks.get(request.task)
        if task is None:
            return None
        tokens = task.longer(request.max_tokens, generated, self._quantile)
        return min(tokens, request.max_tokens) if tokens and self._limited else tokens


class _Task:
    """The last answers of one task."""

    __slots__ = ("_by_share", "_shares", "_tokens", "last")

    def __init__(self) -> None:
        self.last: deque[tuple[int, float]] = deque()
        self._tokens: list[int] = []  # ascending
        self._shares: list[float] = []  # of max_tokens, ascending
        self._by_share = True

    def note(self, max_tokens: int, tokens: int, size: int) -> None:
        if len(self.last) == size:
            old_tokens, old_share = self.last.popleft()
            del self._tokens[bisect_left(self._tokens, old_tokens)]
            del self._shares[bisect_left(self._shares, old_share)]
        share = tokens / max_tokens
        self.last.append((tokens, share))
        insort(self._tokens, tokens)
        insort(self._shares, share)
        low, high = (int(quantile * (len(self.last) - 1)) for quantile in MIDDLE)
        shares, lengths = self._shares, self._tokens
        self._by_share = shares[high] * lengths[low] <= lengths[high] * shares[low]

    def longer(self, max_tokens: int, generated: int, quantile: float) -> int | None:
        known: list[int] | list[float] = self._shares if self._by_share else self._tokens
        unit = max_tokens if self._by_share else 1
        shorter = bisect_right(known, generated / unit)
        rest = len(known) - shorter
        if not rest:
            return None
        return ceil(known[shorter + min(int(rest * quantile), rest - 1)] * unit)
