"""Requests that are given up and replicas that fail, in either engine."""

from __future__ import annotations

import pytest
from cases import limits
from engine_cases import (
    ABORT,
    LOSE,
    RELEASE,
    Leaping,
    Played,
    Script,
    Stepping,
    play,
    random_script,
)
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from sim.ledger import UNSET

ANY = settings(suppress_health_check=list(HealthCheck))
BOTH = pytest.mark.parametrize("discipline", ["prefill-first", "chunked"])


def both(script: Script) -> Played:
    """Play to both engines, which must agree; a decode is 10 + B + C, a prefill 5 + tokens."""
    leap, step = play(script, Leaping), play(script, Stepping)
    assert leap == step
    return leap


def script(requests, *events, **options) -> Script:
    return Script(requests, events, **options)


@BOTH
def test_one_that_waits_leaves_at_once(discipline):
    # One seat.  0: prefill 0-8, then 15, 16, ... a step.  1 waits and goes, 2 takes its place.
    r = both(
        script(
            ((3, 3), (4, 1), (2, 1)),
            (0, RELEASE, 0), (1, RELEASE, 1), (2, RELEASE, 2), (9, ABORT, 1), (10, LOSE, 9),
            limits=limits(discipline, seqs=1),
        )
    )  # fmt: skip
    assert r.seen[-4][2] == (2,)
    r = both(
        script(
            ((3, 3), (4, 1), (2, 1)),
            (0, RELEASE, 0), (1, RELEASE, 1), (2, RELEASE, 2), (9, ABORT, 1),
            limits=limits(discipline, seqs=1),
        )
    )  # fmt: skip
    # 8-23-39: 0 is done; 2 is computed 39-46.
    assert r.finished == [(39, 0), (46, 2)]
    assert r.first_token == [8, UNSET, 46]


@BOTH
def test_one_that_decodes_leaves_when_the_step_ends_and_its_token_is_thrown_away(discipline):
    # Prefill of both 0-11; steps of 12 + 8 -> 31 and 12 + 10 -> 53, in which 0 goes.
    events = ((0, RELEASE, 0), (0, RELEASE, 1), (32, ABORT, 0), (33, LOSE, 9))
    seen = both(script(((3, 9), (3, 4)), *events, limits=limits(discipline)))
    assert [seq.id for seq in seen.seen[-4][1]] == [0, 1]  # it still has its seat
    r = both(script(((3, 9), (3, 4)), *events[:3], limits=limits(discipline)))
    # 1 alone: 53 + 11 + 6 = 70 is its fourth token.
    assert r.finished == [(70, 1)]
    # Both had the gap to 31; the one to 53 is 1's only.
    assert r.gaps == {(31, 20): 2, (53, 22): 1, (70, 17): 1}
    assert r.busy == [0, 70]


@BOTH
@pytest.mark.parametrize("at", [32, 53])
def test_even_the_last_token_is_thrown_away(discipline, at):
    # As above, but the token at 53 would be the third and last of 0.
    r = both(
        script(
            ((3, 3), (3, 4)),
            (0, RELEASE, 0), (0, RELEASE, 1), (at, ABORT, 0),
            limits=limits(discipline),
        )
    )  # fmt: skip
    assert r.finished == [(70, 1)]
    assert r.gaps == {(31, 20): 2, (53, 22): 1, (70, 17): 1}


@BOTH
def test_one_whose_prompt_is_in_the_step_gets_no_first_token(discipline):
    r = both(
        script(
            ((3, 1), (3, 9)),
            (0, RELEASE, 0), (0, RELEASE, 1), (5, ABORT, 1), (11, RELEASE, 1), (12, ABORT, 1),
            limits=limits(discipline),
        )
    )  # fmt: skip
    # The prefill takes 0-11 all the same; the second attempt is computed 11-19, for nothing.
    assert r.finished == [(11, 0)]
    assert r.first_token == [11, UNSET]
    assert r.busy == [0, 19]
    assert r.gaps == {}


def test_a_prompt_stored_in_part_frees_its_blocks():
    # Budget 4, 8 blocks of 1: 0's 6 tokens take two steps (0-9, 9-16); 1's 4 would not fit beside.
    size = limits("chunked", tokens=4, seqs=4, blocks=8)
    r = both(script(((6, 2), (4, 1)), (0, RELEASE, 0), (3, RELEASE, 1), (4, ABORT, 0), limits=size))
    assert r.first_token == [UNSET, 18]
    assert r.finished == [(18, 1)]
    assert r.busy == [0, 18]


def test_a_partial_prompt_that_has_no_chunk_in_the_step_leaves_too():
    # 5 blocks of 2 tokens, budget 3.  0 (2 tokens) with 1 of 5 of 1's prompt: 0-8.  In the step
    # 8-22 (11 + 2 + ...) more chunks follow until the blocks are out and 0 decodes on by itself.
    size = limits("chunked", tokens=3, seqs=2, blocks=5, block_size=2)
    script_ = script(((2, 7), (8, 2)), (0, RELEASE, 0), (0, RELEASE, 1), limits=size)
    plain = both(script_)
    assert plain.preemptions == [0, 1]
    ends = sorted({end for end, _ in plain.gaps})
    for at in range(ends[-1]):
        both(
            script(script_.requests, *script_.events, (at, ABORT, 1), (at, RELEASE, 1), limits=size)
        )


@BOTH
def test_one_that_was_preempted_leaves_at_once_and_forgets_its_tokens(discipline):
    # 9 blocks of 1: both prefill 0-11 and decode 11-31 (8 stored); 1 has to go, two tokens kept.
    size = limits(discipline, blocks=9)
    events = ((0, RELEASE, 0), (0, RELEASE, 1), (32, ABORT, 1), (32, RELEASE, 1), (33, LOSE, 9))
    r = both(script(((3, 4), (3, 4)), *events, limits=size))
    assert r.preemptions == [0, 1]
    # Before the abort 1 waits with its two tokens, after it the new attempt has none.
    before, after = r.seen[4], r.seen[8]
    assert before[2] == after[2] == (1,)
    assert before[4] == {0: 2, 1: 2}
    assert after[4] == {0: 2, 1: 0}


@BOTH
def test_a_new_attempt_is_not_taken_for_the_one_that_leaves(discipline):
    # 0 is given up at 12 and again released at 13, while the old attempt keeps the seat until 29.
    r = both(
        script(
            ((3, 3),),
            (0, RELEASE, 0), (9, ABORT, 0), (10, RELEASE, 0), (11, ABORT, 0), (12, RELEASE, 0),
            limits=limits(discipline, seqs=1),
        )
    )  # fmt: skip
    # 0-8 prefill, 8-22 (10+1+4=15: 23) decode, thrown away; again 23-31, 46, 62.
    assert r.finished == [(62, 0)]
    assert r.first_token == [31]
    assert r.gaps == {(46, 15): 1, (62, 16): 1}
    assert r.seen[-2][1:4] == ((), (), 0)


@BOTH
def test_an_abort_unblocks_the_head_of_the_queue(discipline):
    # 0 holds 6 of 12 blocks and decodes for long; 1 needs 9 and blocks 2, which needs 2.
    r = both(
        script(
            ((5, 6), (9, 1), (2, 1)),
            (0, RELEASE, 0), (11, RELEASE, 1), (12, RELEASE, 2), (50, ABORT, 1),
            limits=limits(discipline, blocks=12, tokens=9),
        )
    )  # fmt: skip
    alone = both(
        script(
            ((5, 6), (9, 1), (2, 1)), (0, RELEASE, 0), (11, RELEASE, 2),
            limits=limits(discipline, blocks=12, tokens=9),
        )
    )  # fmt: skip
    assert r.finished[0][1] == 2
    assert alone.finished[0][1] == 2
    assert 50 < r.first_token[2] < 100


@BOTH
def test_a_lost_engine_is_as_new(discipline):
    # As above; lost at 53, exactly when a step ends: that step is lost, the one to 31 is not.
    r = both(
        script(
            ((3, 9), (3, 4)),
            (0, RELEASE, 0), (0, RELEASE, 1), (53, LOSE, 9), (60, RELEASE, 1),
            limits=limits(discipline),
        )
    )  # fmt: skip
    assert r.busy[:2] == [0, 53]
    # 60-68 prefill, 15, 16, 17.
    assert r.finished == [(116, 1)]
    assert r.gaps == {(31, 20): 2, (83, 15): 1, (99, 16): 1, (116, 17): 1}
    assert r.busy == [0, 53, 60, 116]
    assert [entry for entry in r.seen if len(entry) == 1][-1] == (53 + 116 - 60,)


@BOTH
def test_how_long_it_has_been_busy(discipline):
    r = both(
        script(((3, 1),), (0, RELEASE, 0), (5, ABORT, 7), (20, RELEASE, 0), (22, ABORT, 9),
               limits=limits(discipline))
    )  # fmt: skip
    assert [entry[0] for entry in r.seen if len(entry) == 1] == [0, 5, 8, 10, 16]


@settings(ANY, max_examples=400)
@given(st.randoms(use_true_random=False).map(random_script))
def test_the_engines_agree(script: Script):
    note(repr(script))
    both(script)


@pytest.mark.nightly
@settings(ANY, max_examples=10_000)
@given(st.randoms(use_true_random=False).map(random_script))
def test_the_engines_agree_at_length(script: Script):
    note(repr(script))
    both(script)
