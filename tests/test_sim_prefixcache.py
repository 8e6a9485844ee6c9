"""Prefix caching in either engine: what is found, what it costs, and that no block is lost."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from engine_cases import Leaping, Played, Script, Stepping, play, random_script
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from sim.engine import Engine
    from sim.stepengine import StepEngine

ANY = settings(deadline=None, suppress_health_check=list(HealthCheck))
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
