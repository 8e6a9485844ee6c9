"""What else a server was doing at each instant of a run, by when its requests were open."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from calibrate.imported.result import ImportedRequest

TOUCH_S = 1e-6
"""One that begins where another ends overlaps by rounding alone."""


class Count:
    """How many intervals there are at each instant.

    Parameters
    ----------
    begins_s, ends_s : sequence of float
        Of the intervals [begin, end).
    """

    def __init__(self, begins_s: Sequence[float], ends_s: Sequence[float]) -> None:
        instants = np.concatenate([begins_s, ends_s])
        changes = np.concatenate([np.ones(len(begins_s)), -np.ones(len(ends_s))])
        order = np.argsort(instants, kind="stable")
        self._at_s: NDArray[np.float64] = np.concatenate([[-np.inf], instants[order]])
        self._count = np.concatenate([[0.0], np.cumsum(changes[order])])
        spans_s = np.diff(self._at_s[1:]) * self._count[1:-1]
        self._area = np.concatenate([[0.0, 0.0], np.cumsum(spans_s)])

    def mean(self, from_s: float, to_s: float) -> float:
        """Return the mean number over a time that is not empty."""
        return (self._until(to_s) - self._until(from_s)) / (to_s - from_s)

    def _until(self, instant_s: float) -> float:
        i = int(np.searchsorted(self._at_s, instant_s, side="right")) - 1
        if i == 0:
            return 0.0
        return float(self._area[i] + (instant_s - self._at_s[i]) * self._count[i])


@dataclass(frozen=True)
class Lives:
    """The requests of a run whose loads are known, with the instants of their lives.

    Parameters
    ----------
    requests : sequence of ImportedRequest
    start_s, first_s, end_s : tuple of float
        Of each request. Its first token: its end where none came.
    """

    requests: Sequence[ImportedRequest]
    start_s: tuple[float, ...]
    first_s: tuple[float, ...]
    end_s: tuple[float, ...]

    @classmethod
    def of(cls, requests: Sequence[ImportedRequest]) -> Lives:
        """Return the lives of requests that all have a start; None counts as no time at all."""
        starts = tuple(r.start_s or 0.0 for r in requests)
        ends = tuple(s + (r.e2e_s or 0.0) for s, r in zip(starts, requests, strict=True))
        firsts = tuple(
            end if r.ttft_s is None else s + r.ttft_s
            for s, end, r in zip(starts, ends, requests, strict=True)
        )
        return cls(requests, starts, firsts, ends)

    def alone(self) -> Iterator[int]:
        """Yield the requests that no other was open beside until their first token came."""
        order = sorted(range(len(self.requests)), key=lambda i: self.start_s[i])
        busy_until_s = -np.inf
        for place, i in enumerate(order):
            following = order[place + 1] if place + 1 < len(order) else None
            undisturbed = following is None or self.start_s[following] >= self.first_s[i] - TOUCH_S
            if self.start_s[i] >= busy_until_s - TOUCH_S and undisturbed:
                yield i
            busy_until_s = max(busy_until_s, self.end_s[i])

    def open(self) -> Count:
        """Return how many requests were open at each instant."""
        return Count(self.start_s, self.end_s)

    def decoding(self) -> Count:
        """Return how many requests were between their first and last token at each instant."""
        return Count(self.first_s, self.end_s)

    def quiet(self) -> Iterator[tuple[float, float, tuple[int, ...]]]:
        """Yield (from, to, who) where the same requests were generated and none waited.

        With nobody between being sent and the first token no prompt is at work, and the steps are
        those of `who` alone.
        """
        changes: list[tuple[float, int, int, int]] = []  # instant, order, request, what
        for i in range(len(self.requests)):
            changes.append((self.start_s[i], 2, i, +1))
            changes.append((self.first_s[i], 1, i, -1))
            changes.append((self.end_s[i], 3, i, 0))
        waiting: set[int] = set()
        decoding: dict[int, None] = {}
        since_s = -np.inf
        for instant_s, _, i, what in sorted(changes):
            if decoding and not waiting and instant_s > since_s:
                yield since_s, instant_s, tuple(decoding)
            if what > 0:
                waiting.add(i)
            elif what < 0:
                waiting.discard(i)
                decoding[i] = None
            else:
                waiting.discard(i)
                decoding.pop(i, None)
            since_s = instant_s


class Tokens:
    """How many tokens of a request had come by an instant.

    Parameters
    ----------
    request : ImportedRequest
        With gaps, or at least a first and last token: then they come evenly between these.
    first_s : float
        When its first token came.
    """

    def __init__(self, request: ImportedRequest, first_s: float) -> None:
        self.request = request
        self._first_s = first_s
        # Messages: a token each where `is_token_by_token`, else evenly many.
        self.instants_s = list(accumulate(request.gaps_s, initial=first_s))
        self._each = (request.output_tokens - 1) / max(len(request.gaps_s), 1)

    def by(self, instant_s: float) -> float:
        """Return how many tokens had come."""
        if self.request.gaps_s:
            messages = bisect_right(self.instants_s, instant_s) - 1
            return 1 + max(messages, 0) * self._each
        whole_s = self.request.generating_s or 0.0
        share = (instant_s - self._first_s) / whole_s if whole_s > 0 else 1.0
        return 1 + min(max(share, 0.0), 1.0) * (self.request.output_tokens - 1)
