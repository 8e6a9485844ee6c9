"""Bootstraps in blocks of time: what a block keeps, what a redrawn trace shares with its own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trace_strategies import any_trace

from traces.bootstrap import block_bootstrap
from traces.columns import HashIds
from traces.request import Trace, TraceError


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def numbered(n: int = 400, seed: int = 1) -> Trace:
    """Return a Poisson trace whose prompts tell its rows apart."""
    arrival = np.cumsum(rng(seed).exponential(1.0, n))
    return Trace(arrival - arrival[0], np.arange(1, n + 1), np.ones(n, dtype=int))


def test_gaps_inside_a_block_are_the_traces_own():
    trace = numbered()
    drawn = block_bootstrap(trace, rng(), block_s=20)

    rows = drawn.prompt_tokens - 1
    in_order = np.flatnonzero((np.diff(rows) == 1) & (np.diff(drawn.arrival_s // 20) == 0))
    assert len(in_order) > 0.8 * len(drawn)
    assert np.diff(drawn.arrival_s)[in_order] == pytest.approx(
        np.diff(trace.arrival_s)[rows[in_order]]
    )


def test_span_and_start_are_kept_and_the_number_of_requests_is_so_on_average():
    trace = numbered().replace(arrival_s=numbered().arrival_s + 100)
    drawn = [block_bootstrap(trace, rng(seed), block_s=10) for seed in range(400)]

    assert min(d.arrival_s[0] for d in drawn) >= 100
    assert max(d.arrival_s[-1] for d in drawn) < 100 + trace.span_s * 400 / 399
    counts = np.array([len(d) for d in drawn])
    error = counts.std() / np.sqrt(len(counts))
    assert counts.std() > 0
    assert abs(counts.mean() - 400) < 4 * error


def test_every_row_is_drawn_alike_those_at_the_ends_too():
    trace = numbered(100)
    times = np.zeros(100)
    for seed in range(3000):
        rows = block_bootstrap(trace, rng(seed), block_s=30).prompt_tokens - 1
        times += np.bincount(rows, minlength=100)
    # One draw of a row is at most a few blocks' luck: about Poisson with mean 3000.
    assert np.abs(times - 3000).max() < 5 * np.sqrt(3000 * 2)


def test_the_generator_alone_decides():
    assert block_bootstrap(numbered(), rng(3)) == block_bootstrap(numbered(), rng(3))
    assert block_bootstrap(numbered(), rng(3)) != block_bootstrap(numbered(), rng(4))


def test_copies_are_sessions_and_contents_of_their_own():
    trace = Trace(
        [0.0, 1.0, 2.0, 3.0],
        [1, 2, 3, 4],
        [1] * 4,
        session=["a", "a", None, "b"],
        parent=[-1, 0, -1, -1],
        hash_ids=HashIds(np.array([0, 1, 2, 2, 3]), np.array([7, 7, 9]), 16),
    )
    for seed in range(50):
        drawn = block_bootstrap(trace, rng(seed), block_s=3)
        seen: dict[tuple[int, str], None] = {}
        for place, request in enumerate(drawn):
            original = trace[request.prompt_tokens - 1]
            if original.session is None:
                assert request.session is None
            else:
                assert request.session is not None
                assert request.session.split("~")[0] == original.session
                # A row of a session comes once in each copy of it.
                key = (request.prompt_tokens, request.session)
                assert key not in seen
                seen[key] = None
            if request.parent is not None:
                assert drawn[request.parent].prompt_tokens == 1
                assert request.prompt_tokens == 2
            assert drawn.hash_ids is not None
            ids = drawn.hash_ids.row(place) % 10
            assert ids.tolist() == trace.hash_ids.row(request.prompt_tokens - 1).tolist()


def test_a_child_follows_its_parent_where_both_are_in_a_block():
    n = 200
    chain = numbered(n).replace(parent=np.arange(n) - 1)
    drawn = block_bootstrap(chain, rng(), block_s=50)

    has = np.flatnonzero(drawn.parent >= 0)
    assert len(has) > 0.8 * n
    assert (drawn.parent[has] == has - 1).all()
    assert (drawn.prompt_tokens[has] == drawn.prompt_tokens[has - 1] + 1).all()


@given(trace=any_trace(), seed=st.integers(0, 99), share=st.floats(0.01, 1))
def test_whatever_is_drawn_is_a_trace(trace, seed, share):
    if not trace.span_s:
        with pytest.raises(TraceError, match="no blocks of time"):
            block_bootstrap(trace, rng(seed))
        return
    drawn = block_bootstrap(trace, rng(seed), block_s=trace.span_s * share)

    assert len(drawn)
    Trace(  # checks everything
        drawn.arrival_s,
        drawn.prompt_tokens,
        drawn.output_tokens,
        max_tokens=drawn.max_tokens,
        task=drawn.labels("task"),
        session=drawn.labels("session"),
        tenant=drawn.labels("tenant"),
        sla_s=drawn.sla_s,
        parent=drawn.parent,
        hash_ids=drawn.hash_ids,
    )


@pytest.mark.parametrize("block_s", [0.0, -1.0, float("nan"), 1e9])
def test_blocks_that_are_none(block_s):
    with pytest.raises(TraceError, match="block_s is"):
        block_bootstrap(numbered(), rng(), block_s)
