"""What prompts have in common: block ids from recorded ids and from sessions."""

from __future__ import annotations

import numpy as np
import pytest

from traces.columns import HashIds, offsets_of
from traces.errors import TraceError
from traces.prefix import first_block, prefix_blocks
from traces.request import Trace


def rows(blocks: HashIds) -> list[list[int]]:
    return [blocks.row(i).tolist() for i in range(len(blocks.offsets) - 1)]


def recorded(*ids: list[int], block_tokens: int = 10) -> HashIds:
    flat = np.array([block for row in ids for block in row], dtype=np.int64)
    return HashIds(offsets_of(np.array([len(row) for row in ids])), flat, block_tokens)


def shared(blocks: HashIds, a: int, b: int) -> int:
    """How many blocks two rows begin with together; later ones must differ."""
    one, other = blocks.row(a).tolist(), blocks.row(b).tolist()
    same = [x == y for x, y in zip(one, other, strict=False)]
    count = [*same, False].index(False)
    assert not set(one[count:]) & set(other[count:])
    return count


def trace(prompts, outputs=None, **columns) -> Trace:
    outputs = [1] * len(prompts) if outputs is None else outputs
    return Trace(np.arange(len(prompts), dtype=float), prompts, outputs, **columns)


def test_recorded_blocks_count_when_they_are_whole():
    ids = recorded([7, 8, 9], [7, 8, 5], [7], [])
    blocks = prefix_blocks(trace([30, 29, 9, 500], hash_ids=ids))
    assert [len(row) for row in rows(blocks)] == [3, 2, 0, 0]
    assert blocks.block_tokens == 10
    assert shared(blocks, 0, 1) == 2


def test_a_block_is_the_same_only_behind_the_same():
    # 2 behind 1 is not 2 behind 3; and 4, repeated, is new each time.
    ids = recorded([1, 2, 6], [3, 2, 6], [1, 2, 5], [4, 4, 4])
    blocks = prefix_blocks(trace([30, 30, 30, 30], hash_ids=ids))
    assert shared(blocks, 0, 1) == 0
    assert shared(blocks, 0, 2) == 2
    assert shared(blocks, 1, 2) == 0
    assert len(set(rows(blocks)[3])) == 3


def test_ids_that_stand_for_all_before_them_mean_the_same_afterwards():
    rng = np.random.default_rng(0)
    contents = [tuple(rng.integers(0, 2, rng.integers(0, 9))) for _ in range(200)]
    known: dict[tuple, int] = {}
    ids = [
        [known.setdefault(row[: i + 1], len(known)) for i in range(len(row))] for row in contents
    ]
    blocks = prefix_blocks(trace([90] * 200, hash_ids=recorded(*ids)))
    renamed = {}
    for before, after in zip(ids, rows(blocks), strict=True):
        for a, b in zip(before, after, strict=True):
            assert renamed.setdefault(a, b) == b
    assert len(set(renamed.values())) == len(known)


def test_turns_begin_with_the_turn_before():
    # Of 6 + 3 tokens turn 2 shares two blocks of 4, of 12 + 6 turn 3 shares four.
    blocks = prefix_blocks(trace([6, 12, 20], [3, 6, 1], session="s"), 4)
    assert [len(row) for row in rows(blocks)] == [2, 4, 5]
    assert shared(blocks, 0, 1) == 2
    assert shared(blocks, 1, 2) == 4
    assert shared(blocks, 0, 2) == 2


def test_a_block_that_the_last_token_of_an_answer_fills_belongs_to_the_next_prompt():
    # 6 + 2 tokens: the eighth is stored only by the next turns, which share it.
    blocks = prefix_blocks(trace([6, 9, 9], [2, 1, 1], parent=[-1, 0, 0]), 4)
    assert [len(row) for row in rows(blocks)] == [1, 2, 2]
    assert shared(blocks, 1, 2) == 2


def test_turns_that_follow_the_same_turn_share_no_more_than_that():
    blocks = prefix_blocks(trace([6, 20, 20, 40], [3, 2, 2, 1], parent=[-1, 0, 0, 1]), 4)
    assert shared(blocks, 1, 2) == 2
    assert shared(blocks, 1, 3) == 5
    assert shared(blocks, 2, 3) == 2


def test_a_prompt_too_short_for_the_turn_before_is_a_new_context():
    # The fourth has all 8 + 1 tokens of the third, and nothing of the first two.
    blocks = prefix_blocks(trace([20, 24, 8, 9], [4, 4, 1, 1], session="s"), 4)
    # The first stores five blocks: the sixth ends with the last token of its answer.
    assert shared(blocks, 0, 1) == 5
    assert shared(blocks, 1, 2) == 0
    assert shared(blocks, 2, 3) == 2
    assert shared(blocks, 0, 3) == 0


def test_sessions_and_requests_without_one_share_nothing():
    columns = {"session": ["a", None, "b", "a", None]}
    blocks = prefix_blocks(trace([8, 8, 8, 12, 12], **columns), 4)
    assert shared(blocks, 0, 3) == 2
    for a, b in ((0, 1), (0, 2), (1, 2), (1, 4), (3, 4), (2, 3)):
        assert shared(blocks, a, b) == 0
    assert len({block for row in rows(blocks) for block in row}) == 2 + 2 + 2 + 1 + 3


def test_the_first_block_names_what_a_prompt_begins_with():
    ids = recorded([7, 8], [], [7], [5, 8])
    blocks = prefix_blocks(trace([20, 20, 5, 20], hash_ids=ids))
    first = first_block(blocks)
    assert first.tolist() == [blocks.ids[0], -1, -1, blocks.row(3)[0]]
    assert first[0] != first[3]
    assert first_block(prefix_blocks(trace([3, 3], session="s"))).tolist() == [-1, -1]


def test_a_trace_that_says_nothing_of_its_prompts_is_refused():
    with pytest.raises(TraceError, match="neither hash_ids nor sessions"):
        prefix_blocks(trace([20, 20]))
