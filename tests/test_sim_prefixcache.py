"""Prefix caching in either engine: what is found, what it costs, and that no block is lost."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cases import PLAIN, Costs, limits
from engine_cases import (
    ABORT,
    LOSE,
    RELEASE,
    Leaping,
    Played,
    Script,
    Stepping,
    content_of,
    play,
    random_script,
)
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from sim.options import OptionError
from sim.prefixcache import content_of as content_of_trace
from traces import load
from traces.prefix import prefix_blocks
from traces.request import Trace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.engine import Engine
    from sim.stepengine import StepEngine

MOONCAKE = Path(__file__).parents[2] / "shared/data/traces/mooncake_synthetic_trace.jsonl"
ANY = settings(suppress_health_check=list(HealthCheck))
SCRIPTS = st.randoms(use_true_random=False).map(partial(random_script, cached=True))


def both(script: Script) -> Played:
    """Play to both engines, which must agree and keep account of every block."""
    leap = play(script, Leaping, lambda driver: check_leaping(driver.engine, script))
    step = play(script, Stepping, lambda driver: check_stepping(driver.engine))
    assert leap == step
    return leap


def check_stepping(engine: StepEngine) -> None:
    """Check that held + kept + private + free make up all blocks."""
    seated = engine.decoding + engine.prefilling
    for block in engine.cache.values():
        assert block.holders == sum(block in seq.held for seq in seated)
    held = {block.id for seq in seated for block in seq.held}
    kept = set(engine.cache) - held
    private = 0
    for seq in seated:
        stored = seq.stored if seq in engine.prefilling else seq.tokens - 1
        assert [block.id for block in seq.held] == seq.content[: len(seq.held)]
        own = engine.blocks(stored) - engine.unit * len(seq.held)
        assert own >= 0
        private += own
    free = engine.limits.blocks - engine.unit * (len(held) + len(kept)) - private
    assert free >= 0


def check_leaping(engine: Engine, script: Script) -> None:
    """Check that held + kept + private + free make up all blocks."""
    cache = engine._cache
    assert cache is not None
    holders: dict[int, int] = {}
    for blocks in cache._held.values():
        for block in blocks:
            holders[block] = holders.get(block, 0) + 1
    assert cache._holders == holders
    assert not holders.keys() & cache._kept.keys()
    saved = cache.unit * (sum(holders.values()) - len(holders))
    assert engine._blocks == script.limits.blocks + saved
    size = script.limits.block_size
    prefilling = {request: past + tokens for request, past, tokens in engine._chunks}
    if engine._partial >= 0:
        prefilling.setdefault(engine._partial, engine._partial_tokens)
    used = engine._decoding.blocks_held() + sum(-(-t // size) for t in prefilling.values()) - saved
    private = used - cache.unit * len(holders)
    assert private >= 0
    free = script.limits.blocks - used - cache.kept_blocks
    assert free >= 0
    # What is kept is whole beginnings: no block without the one before it.
    stored = holders.keys() | cache._kept.keys()
    content = script.content
    for request in range(len(script.requests)):
        row = content.row(request).tolist()
        found = [block in stored for block in row]
        assert found == sorted(found, reverse=True)


BOTH = pytest.mark.parametrize("discipline", ["prefill-first", "chunked"])


def found(rows: Sequence[str], *requests: tuple[int, int, int], **options: object) -> Played:
    """Run requests (instant, prompt, output) whose blocks of 4 tokens hold a letter each."""
    return both(
        Script(
            tuple((prompt, output) for _, prompt, output in requests),
            tuple((at, RELEASE, i) for i, (at, _, _) in enumerate(requests)),
            content=content_of(rows, 4),
            **options,
        )
    )


@BOTH
def test_what_is_found_is_not_computed_but_attended_to(discipline):
    # A prefill takes 5 + tokens + sum of t * (2 * past + t): 10 * 10 and 2 * (2 * 8 + 2).
    costs = replace(PLAIN, attention=1)
    r = found(["ab", "ab"], (0, 10, 1), (1000, 10, 1), costs=costs, limits=limits(discipline))
    assert r.first_token == [5 + 10 + 100, 1000 + 5 + 2 + 36]
    assert r.hits == (20, 8)
    assert r.peaks[1] == 10


@BOTH
def test_the_last_token_is_always_computed(discipline):
    # All of 8 tokens are stored: the block that holds the last is computed again.
    r = found(["ab", "ab"], (0, 8, 1), (100, 8, 1), limits=limits(discipline))
    assert r.first_token == [13, 109]
    assert r.hits == (16, 4)


@BOTH
def test_only_whole_beginnings_are_found(discipline):
    rows = ["abc", "xbc", "abx", "ab"]
    requests = [(at, 12, 1) for at in (0, 100, 200)] + [(300, 11, 1)]
    r = found(rows, *requests, limits=limits(discipline))
    assert r.first_token == [17, 117, 209, 308]
    assert r.hits == (47, 16)


@BOTH
def test_what_is_shared_is_stored_once(discipline):
    # 16 blocks of 1 token: two prompts of 10 fit in only as they share 8.  5 + 10 + 2 = 17.
    sizes = limits(discipline, blocks=16)
    r = found(["ab", "ab"], (0, 10, 3), (0, 10, 3), limits=sizes)
    assert r.first_token == [17, 17]
    assert r.preemptions == [0, 0]
    r = found(["ab", "xy"], (0, 10, 3), (0, 10, 3), limits=sizes)
    assert r.first_token[0] == 15
    assert r.first_token[1] > r.finished[0][0]


@BOTH
def test_the_answer_is_found_by_the_next_turn(discipline):
    # 6 + 6 tokens, of which the last is never stored; the next prompt holds all 12 and 3 more.
    # It finds two blocks of the three: the last lacks a token.
    r = found(["ab", "abc"], (0, 6, 6), (1000, 15, 1), limits=limits(discipline))
    assert r.hits == (21, 8)
    assert r.first_token[1] == 1000 + 5 + 15 - 8


@BOTH
def test_what_was_let_go_first_is_evicted_first_and_beginnings_last(discipline):
    # 20 blocks of 1 token.  0 and 1 leave "ab" and "xy", 16 tokens; 0's are used again at 200.
    rows = ["ab", "xy", "ab", "", "ab", "xy"]
    requests = [(0, 9, 1), (100, 9, 1), (200, 9, 1), (300, 11, 1), (400, 9, 1), (500, 9, 1)]
    r = found(rows, *requests, limits=limits(discipline, blocks=20))
    names = {"x": 2, "xy": 3, "a": 0, "ab": 1}
    # 3 needs 11, 4 are free: "xy" and "x" go, the last block first.
    assert r.kept[2] == [names["xy"], names["x"], names["ab"], names["a"]]
    assert r.kept[3] == [names["ab"], names["a"]]
    # 4 finds 8 of 9; 5 nothing: found in all 8 (by 2) and 8.
    assert r.hits == (9 + 9 + 9 + 11 + 9 + 9, 16)


@BOTH
def test_two_that_are_given_up_let_go_in_order_of_their_ids(discipline):
    script = Script(
        ((9, 5), (9, 5)),
        ((0, RELEASE, 1), (0, RELEASE, 0), (30, ABORT, 1), (31, ABORT, 0)),
        limits(discipline),
        content=content_of(["ab", "xy"], 4),
    )
    assert both(script).kept[-1] == [1, 0, 3, 2]


@BOTH
def test_a_failure_empties_the_cache(discipline):
    script = Script(
        ((9, 5), (9, 5)),
        ((0, RELEASE, 0), (30, LOSE, 0), (100, RELEASE, 1)),
        limits(discipline),
        content=content_of(["ab", "ab"], 4),
    )
    r = both(script)
    assert r.first_token[1] == 100 + 14
    assert r.hits == (18, 0)


@BOTH
def test_what_an_abandoned_prompt_computed_stays(discipline):
    # Given up at 3, in the prefill 0-14; the retry at 4 is computed from 14 on: one token.
    script = Script(
        ((9, 1),),
        ((0, RELEASE, 0), (3, ABORT, 0), (4, RELEASE, 0)),
        limits(discipline),
        content=content_of(["ab"], 4),
    )
    r = both(script)
    assert r.first_token == [14 + 6]
    assert r.hits == (18, 8)


@BOTH
def test_a_recompute_finds_what_the_request_itself_left(discipline):
    # 21 blocks of 1: with two tokens each 22 are needed and 1 has to go; 0 grows to 14, so that of
    # the 8 tokens of "xy" one block is evicted.
    r = found(["ab", "xy"], (0, 9, 6), (0, 9, 4), limits=limits(discipline, blocks=21))
    assert r.preemptions == [0, 1]
    query, hit = r.hits
    assert query == 9 + 9 + 9 + 2
    assert hit == 4


def test_a_first_chunk_needs_room_for_what_it_begins_with():
    # 20 blocks of 1, budget 3.  0 leaves "ab": 8 tokens.  1 stores 11 tokens in the step 170-192,
    # in which 2 comes: it would begin with 8 + 2, and 9 are free.  In the step from 215 on 1
    # needs 13, "b" is evicted, and 2 begins with 4 + 2: its two tokens make 1 two later.
    sizes = limits("chunked", tokens=3, seqs=2, blocks=20)
    requests = ((0, 8, 1), (0, 2, 15), (160, 20, 1))
    r = found(["ab", "", "abcde"], *requests, limits=sizes)
    assert r.finished[1] == (319, 1)
    alone = found(["ab", ""], *requests[:2], limits=sizes)
    assert alone.finished[1] == (317, 1)


def test_sessions_by_hand():
    # Blocks of 4.  Turn 1: 6 + 3 tokens.  Turn 2 begins with those 9 and has 12 in all: of the 8
    # stored and whole it finds 8.  Its context is 12 + 6.  Turn 3 has 20 and finds 16.  Turn 4
    # has 10, too few for 21: a new context.  Turn 5 has 14 and finds 8 of 10 + 2.
    turns = [(6, 3), (12, 6), (20, 1), (10, 2), (14, 1)]
    prompt, output = zip(*turns, strict=True)
    trace = Trace([float(i) for i in range(5)], prompt, output, session="s")
    content = prefix_blocks(trace, 4)
    for discipline in ("prefill-first", "chunked"):
        events = tuple((1000 * i, RELEASE, i) for i in range(5))
        r = both(Script(tuple(turns), events, limits(discipline), content=content))
        computed = [first - 1000 * i - 5 for i, first in enumerate(r.first_token)]
        assert computed == [6, 12 - 8, 20 - 16, 10, 14 - 8]
        assert r.hits == (62, 32)


def test_hits_of_a_recorded_trace_with_room_for_all():
    if not MOONCAKE.exists():
        pytest.skip(f"{MOONCAKE.name} is not here")
    trace = load(MOONCAKE)
    ids = trace.hash_ids
    seen: set[int] = set()
    hit = 0
    for i, tokens in enumerate(trace.prompt_tokens.tolist()):
        row = ids.row(i).tolist()
        new = [block not in seen for block in row[: (tokens - 1) // 512]]
        hit += 512 * ([*new, True].index(True))
        seen.update(row[: tokens // 512])
    script = Script(
        tuple(zip(trace.prompt_tokens.tolist(), trace.output_tokens.tolist(), strict=True)),
        tuple((int(s * 1e12), RELEASE, i) for i, s in enumerate(trace.arrival_s)),
        limits("chunked", seqs=64, tokens=2048, blocks=10**8, block_size=16),
        Costs((0, *(10**10 + 10**8 * batch for batch in range(64))), (10**4,) * 65),
        content=content_of_trace(trace, 16),
    )
    r = play(script, Leaping)
    assert r.hits == (int(trace.prompt_tokens.sum()), hit)
    assert 0.3 < hit / r.hits[0] < 0.9


def test_content_blocks_are_whole_kv_blocks():
    trace = Trace([0.0], [40], [2], hash_ids=content_of(["ab"], 20))
    assert content_of_trace(trace, 4).block_tokens == 20
    with pytest.raises(OptionError, match=r"^block_size=16 does not divide .* 20 tokens"):
        content_of_trace(trace, 16)


@settings(ANY, max_examples=500)
@given(SCRIPTS)
def test_the_engines_agree(script: Script):
    note(repr(script))
    both(script)


@pytest.mark.nightly
@settings(ANY, max_examples=10_000)
@given(SCRIPTS)
def test_the_engines_agree_at_length(script: Script):
    note(repr(script))
    both(script)
