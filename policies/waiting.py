"""What policies that keep a queue in front of the engine have in common: a queue in some order."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from policies.protocol import NOTHING, Choice

if TYPE_CHECKING:
    from collections.abc import Callable

    from policies.protocol import Pending, View

STALE_ENTRIES = 256
"""So many entries beside those that count may lie in the heap."""


class Waiting:
    """Requests that wait: the least key first, of equals who was put in first.

    Any of them may leave at any time; what it leaves in the heap is skipped later.  An id that left
    may come back, as a retry does.
    """

    __slots__ = ("_entries", "_heap", "_tickets")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, int]] = []
        self._entries: dict[int, tuple[float, int, int]] = {}
        self._tickets = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, request: int) -> bool:
        return request in self._entries

    def put(self, request: int, key: float) -> None:
        """Let a request wait."""
        self._tickets += 1
        entry = (key, self._tickets, request)
        self._entries[request] = entry
        heappush(self._heap, entry)

    def discard(self, request: int) -> None:
        """Forget a request, if it waits here."""
        if self._entries.pop(request, None) is None:
            return
        if len(self._heap) > 2 * len(self._entries) + STALE_ENTRIES:
            self._heap = list(self._entries.values())
            heapify(self._heap)

    def pop(self) -> tuple[float, int]:
        """Take out who is first: its key and its id; an IndexError when nobody waits."""
        entries = self._entries
        while True:
            entry = heappop(self._heap)
            key, _, request = entry
            if entries.get(request) is entry:
                del entries[request]
                return key, request


def release(waiting: Waiting, seats: int) -> Choice:
    """Return the choice to release who is first, one after the other, while there are seats.

    Parameters
    ----------
    waiting : Waiting
        The queue; who is released is taken out.
    seats : int
        Free ones; none if it is negative.
    """
    count = min(seats, len(waiting))
    if count <= 0:
        return NOTHING
    return Choice([waiting.pop()[1] for _ in range(count)])


class Ordered:
    """A decider that keeps its queue in the order of a key which a request has from the start.

    Parameters
    ----------
    key : callable
        The key of a request; the least goes first.
    max_num_seqs : int
        Release while fewer than this many are in the engine.
    """

    __slots__ = ("_key", "_seats", "_waiting")

    def __init__(self, key: Callable[[Pending], float], max_num_seqs: int) -> None:
        self._key = key
        self._seats = max_num_seqs
        self._waiting = Waiting()

    def decide(self, view: View) -> Choice:
        """Take in, forget, and fill the free seats."""
        waiting = self._waiting
        for request in view.cancelled:
            waiting.discard(request)
        if view.arrived is not None:
            waiting.put(view.arrived.id, self._key(view.arrived))
        return release(waiting, self._seats - view.in_engine)
