"""Those who wait and can still be in time, in the order in which they are asked."""

from __future__ import annotations

from bisect import bisect_left, insort
from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

from policies.protocol import NEVER_PS

if TYPE_CHECKING:
    from policies.protocol import Pending


class Entry(NamedTuple):
    """One that waits; the least is asked first.

    Attributes
    ----------
    rank, tie : float, int
        The order of being asked.
    id : int
        Of the request.
    request : Pending
        With the length that its answer is expected to have.
    prompt_s : float
        How long its prompt holds everybody up [s].
    """

    rank: float
    tie: int
    id: int
    request: Pending
    prompt_s: float


class Hopeful:
    """A sorted queue whose entries expire.

    Attributes
    ----------
    entries : list of Entry
        Ascending; to be read only.
    """

    __slots__ = ("_expiry", "_where", "entries")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._where: dict[int, Entry] = {}
        # Instants [ps] of expiry; stale for those who wait no more.
        self._expiry: list[tuple[int, int, Entry]] = []

    def __bool__(self) -> bool:
        return bool(self.entries)

    def get(self, request: int) -> Entry | None:
        """Return the entry of a request, if it waits here."""
        return self._where.get(request)

    def put(self, entry: Entry, expiry_ps: int) -> None:
        """Let a request wait until it expires, or for ever with ``NEVER_PS``."""
        insort(self.entries, entry)
        self._where[entry.id] = entry
        if expiry_ps != NEVER_PS:
            heappush(self._expiry, (expiry_ps, entry.id, entry))

    def discard(self, request: int) -> None:
        """Forget a request, if it waits here."""
        entry = self._where.pop(request, None)
        if entry is not None:
            del self.entries[bisect_left(self.entries, entry)]

    def expire(self, now_ps: int) -> list[Pending]:
        """Take out and return those whose time is up, the first to expire first."""
        expired = []
        while self.next_expiry_ps() <= now_ps:
            request = heappop(self._expiry)[2].request
            self.discard(request.id)
            expired.append(request)
        return expired

    def next_expiry_ps(self) -> int:
        """Return when the next expires [ps]; ``NEVER_PS`` if nobody does."""
        expiry = self._expiry
        while expiry and self._where.get(expiry[0][1]) is not expiry[0][2]:
            heappop(expiry)
        return expiry[0][0] if expiry else NEVER_PS
