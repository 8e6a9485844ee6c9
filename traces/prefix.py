"""What prompts have in common: the content blocks that a prefix cache can share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from traces.columns import HashIds, offsets_of
from traces.errors import TraceError

if TYPE_CHECKING:
    from traces.columns import IntColumn
    from traces.request import Trace


def prefix_blocks(trace: Trace, block_tokens: int = 16) -> HashIds:
    """Return the content blocks of every request, such that equal ids mean equal beginnings.

    A block's id stands for its content and for all content before it, so two requests share the
    blocks up to the first id in which they differ, and no id comes twice in a row.  Only whole
    blocks have an id.

    Parameters
    ----------
    trace : Trace
        With `hash_ids`, or else with sessions or parents.
    block_tokens : int
        Tokens of a block made from sessions; blocks of `hash_ids` keep their own size.

    Returns
    -------
    HashIds
        From `hash_ids`: the whole blocks of each prompt.  From sessions: the whole blocks of each
        prompt and of the answer behind it, as far as it is ever stored (all but its last token).

    Raises
    ------
    TraceError
        If the trace says nothing of what its prompts hold.

    Notes
    -----
    Without `hash_ids` a turn is taken to begin with the prompt and the answer of the turn before
    it (its `parent`, or the one before it in its session).  A prompt too short to hold both begins
    a new context and shares nothing with earlier turns.  A request without a session is alone.
    """
    if trace.hash_ids is not None:
        whole = trace.prompt_tokens // trace.hash_ids.block_tokens
        return _chained(_first_blocks(trace.hash_ids, whole))
    if not trace.sessions and not (trace.parent >= 0).any():
        raise TraceError(
            "prefix caching needs to know what prompts have in common: the trace has neither "
            "hash_ids nor sessions; use one that has (saber trace describe tells) or leave prefix "
            "caching off"
        )
    return _of_turns(trace, block_tokens)


def first_block(blocks: HashIds) -> IntColumn:
    """Return the first content block of every row, int64[n]; -1 where a row has none."""
    starts = blocks.offsets[:-1]
    first = np.full(len(starts), -1, dtype=np.int64)
    some = blocks.offsets[1:] > starts
    first[some] = blocks.ids[starts[some]]
    return first


def _first_blocks(blocks: HashIds, most: IntColumn) -> HashIds:
    """Return the rows, each cut to at most so many blocks."""
    starts = blocks.offsets[:-1]
    lengths = np.minimum(np.diff(blocks.offsets), most)
    offsets = offsets_of(lengths)
    where = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
    return HashIds(offsets, blocks.ids[where], blocks.block_tokens)


def _chained(blocks: HashIds) -> HashIds:
    """Return the rows with new ids, each of a block and of all before it."""
    lengths = np.diff(blocks.offsets)
    by_length = np.argsort(-lengths, kind="stable")
    starts = blocks.offsets[:-1][by_length]
    # Rows with more than d blocks are the first of these.
    reaching = np.searchsorted(-lengths[by_length], -np.arange(lengths.max(initial=0)))
    names, content = np.unique(blocks.ids, return_inverse=True)
    ids = np.empty(len(content), dtype=np.int64)
    before = np.zeros(len(starts), dtype=np.int64)
    known = 0
    for depth, rows in enumerate(reaching.tolist()):
        where = starts[:rows] + depth
        _, new = np.unique(before[:rows] * len(names) + content[where], return_inverse=True)
        ids[where] = before = new + known
        known += int(new.max()) + 1
    return HashIds(blocks.offsets, ids, blocks.block_tokens)


def _of_turns(trace: Trace, block_tokens: int) -> HashIds:
    """Return the blocks of prompts and answers of turns that follow one another."""
    parent = _turn_before(trace)
    stored = trace.prompt_tokens + trace.output_tokens
    whole = stored // block_tokens
    # The last token of an answer is stored only as part of the next prompt.
    offsets = offsets_of((stored - 1) // block_tokens)
    continues = (parent >= 0) & (trace.prompt_tokens >= stored[parent])
    shared = np.where(continues, whole[parent], 0)
    # What a turn does not share has ids of its own, in a row.
    own = offsets_of(whole - shared)[:-1] - shared
    where = np.arange(offsets[-1]) - np.repeat(offsets[:-1], np.diff(offsets))
    ids = where + np.repeat(own, np.diff(offsets))
    for row in np.flatnonzero(shared).tolist():
        before, start, blocks = parent[row], offsets[row], int(shared[row])
        held = min(blocks, int(offsets[before + 1] - offsets[before]))
        ids[start : start + held] = ids[offsets[before] : offsets[before] + held]
        # A block that only the turn before's last token filled.
        ids[start + held : start + blocks] = own[before] + np.arange(held, blocks)
    return HashIds(offsets, ids, block_tokens)


def _turn_before(trace: Trace) -> IntColumn:
    """Return the row of the turn that each request follows, -1 where it follows none."""
    if (trace.parent >= 0).any():
        return trace.parent
    before = np.full(len(trace), -1, dtype=np.int64)
    order = np.argsort(trace.session_code, kind="stable")
    code = trace.session_code[order]
    follows = np.flatnonzero((code[1:] == code[:-1]) & (code[1:] >= 0)) + 1
    before[order[follows]] = order[follows - 1]
    return before
