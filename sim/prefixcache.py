"""The content blocks an engine keeps: shared by those who hold them, kept until room is needed.

A content block takes a fixed number of KV blocks and is stored once.  While requests hold it, it
stays; held by none, it waits to be found again and is evicted when its room is wanted, the one let
go the longest ago first.  A request holds the blocks its prompt begins with, never a later one
without those before it, and lets go of the last first; so what is kept is always whole beginnings.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from sim.options import OptionError
from traces.prefix import prefix_blocks

if TYPE_CHECKING:
    from sim.ledger import Lookup
    from traces.columns import HashIds
    from traces.request import Trace


def content_of(trace: Trace, block_size: int) -> HashIds:
    """Return the content blocks of a trace, for KV blocks of `block_size` tokens.

    Raises
    ------
    TraceError
        If the trace has neither `hash_ids` nor sessions.
    OptionError
        If its content blocks are not whole KV blocks.
    """
    content = prefix_blocks(trace, block_size)
    if content.block_tokens % block_size:
        raise OptionError(
            f"block_size={block_size} does not divide the trace's content blocks of "
            f"{content.block_tokens} tokens: with prefix_caching it must"
        )
    return content


class PrefixCache:
    """Content blocks of one engine, held or kept.

    Attributes
    ----------
    unit : int
        KV blocks of a content block.
    """

    __slots__ = (
        "_block_tokens",
        "_content",
        "_held",
        "_holders",
        "_kept",
        "_prompt_tokens",
        "unit",
    )

    def __init__(self, content: HashIds, block_size: int, prompt_tokens: Lookup) -> None:
        self._content = content
        self._block_tokens = content.block_tokens
        self._prompt_tokens = prompt_tokens
        self.unit = content.block_tokens // block_size
        self._holders: dict[int, int] = {}  # content block to the number of requests
        # Held by none, the first to be evicted first.
        self._kept: OrderedDict[int, None] = OrderedDict()
        self._held: dict[int, list[int]] = {}  # request to content blocks

    @property
    def holders(self) -> int:
        """Requests that hold something."""
        return len(self._held)

    @property
    def kept_blocks(self) -> int:
        """KV blocks of what is kept and held by none."""
        return self.unit * len(self._kept)

    def hit_tokens(self, request: int, tokens: int) -> int:
        """Return how many of a request's `tokens` are stored; the last is always computed."""
        found = 0
        for block in self._row(request, min(self._prompt_tokens[request], tokens - 1)):
            if block not in self._holders and block not in self._kept:
                break
            found += self._block_tokens
        return found

    def shared_blocks(self, request: int, tokens: int) -> int:
        """Return the KV blocks that holding its first `tokens` shares with other holders."""
        begun = len(self._held.get(request, ()))
        shared = 0
        for block in self._row(request, min(self._prompt_tokens[request], tokens))[begun:]:
            if block not in self._holders:
                break
            shared += self.unit
        return shared

    def hold(self, request: int, tokens: int) -> int:
        """Let a request hold what its prompt begins with, within its first `tokens`.

        Returns
        -------
        int
            The KV blocks it shares with other holders by that.
        """
        return self._hold(request, min(self._prompt_tokens[request], tokens))

    def _hold(self, request: int, tokens: int) -> int:
        holders, kept = self._holders, self._kept
        row = self._row(request, tokens)
        begun = shared = len(self._held.get(request, ()))
        # Others hold beginnings of it, so first come what is held, what is kept, what is new.
        while shared < len(row) and row[shared] in holders:
            holders[row[shared]] += 1
            shared += 1
        alone = row[shared:]
        holders.update(dict.fromkeys(alone, 1))
        for block in alone:
            if block not in kept:
                break
            del kept[block]
        self._held[request] = row
        return self.unit * (shared - begun)

    def release(self, request: int) -> int:
        """Let a request go; return the KV blocks it shared with others that hold them still."""
        holders, kept = self._holders, self._kept
        row = self._held.pop(request)
        while row and holders[row[-1]] == 1:
            block = row.pop()
            del holders[block]
            kept[block] = None
        for block in row:
            holders[block] -= 1
        return self.unit * len(row)

    def finish(self, request: int, tokens: int) -> int:
        """Let a finished request go; the answer within its `tokens` is kept too, where known.

        Returns
        -------
        int
            The KV blocks its prompt shared with others that hold them still.
        """
        shared = self._hold(request, tokens)
        return self.release(request) - shared

    def evict(self, free_blocks: int) -> None:
        """Keep no more than fits into the KV blocks that nobody holds."""
        kept = self._kept
        for _ in range(len(kept) - free_blocks // self.unit):
            kept.popitem(last=False)

    def _row(self, request: int, tokens: int) -> list[int]:
        """Return the content blocks that lie within the first `tokens` of a request."""
        start, end = self._content.offsets[request : request + 2].tolist()
        end = min(end, start + tokens // self._block_tokens)
        row: list[int] = self._content.ids[start:end].tolist()
        return row
