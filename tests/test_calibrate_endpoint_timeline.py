"""Steps are found again in the arrivals of their tokens, however these are disturbed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrate.endpoint.timeline import coherence, merge


def streams_of(ends_s, lives, jitter_s=0.0, seed=0):
    """Return the arrivals of streams that live in the steps [first, last] of each life."""
    rng = np.random.default_rng(seed)
    found = []
    for first, last in lives:
        arrivals = ends_s[first : last + 1] + rng.exponential(jitter_s, last + 1 - first)
        found.append(tuple(np.maximum.accumulate(arrivals).tolist()))
    return found


ENDS_S = np.cumsum([0.010] * 20 + [0.050] * 3 + [0.012] * 20)
LIVES = [(0, 30), (3, 42), (5, 20), (15, 42), (21, 42)]


def test_undisturbed_streams_give_the_steps_themselves():
    timeline = merge(streams_of(ENDS_S, LIVES))
    assert timeline.ends_s == pytest.approx(ENDS_S)
    assert timeline.begins == tuple(first for first, _ in LIVES)
    assert timeline.tokens == tuple(last + 1 - first for first, last in LIVES)


@given(seed=st.integers(0, 10_000), jitter_ms=st.floats(0.01, 2.0))
def test_streams_are_placed_where_they_belong_in_spite_of_late_tokens(seed, jitter_ms):
    streams = streams_of(ENDS_S, LIVES, jitter_ms / 1e3, seed)
    timeline = merge(streams)
    assert timeline.begins == tuple(first for first, _ in LIVES)
    assert (np.diff(timeline.ends_s) >= 0).all()
    assert coherence(timeline, streams) < 0.2


def test_the_order_of_the_streams_does_not_matter():
    streams = streams_of(ENDS_S, LIVES, 0.0005)
    forth, back = merge(streams), merge(streams[::-1])
    assert (forth.ends_s == back.ends_s).all()
    assert forth.begins == back.begins[::-1]


def test_tokens_that_arrive_together_leave_the_number_of_steps_and_one_good_end():
    stream = (0.01, 0.02, 0.05, 0.05, 0.05, 0.06)
    timeline = merge([stream])
    assert timeline.fresh(0, 5) == [0, 1, 4, 5]
    assert timeline.fresh(2, 3) == []


def test_streams_that_do_not_advance_together_are_told():
    apart = [tuple(np.arange(1, 40) * step_s) for step_s in (0.010, 0.0173)]
    assert coherence(merge(apart), apart) > 0.25


def test_the_nearest_step_is_found_at_the_ends_too():
    timeline = merge([(1.0, 2.0, 3.0)])
    assert [timeline.step_at(at_s) for at_s in (0.0, 1.4, 1.6, 2.9, 9.0)] == [0, 0, 1, 2, 2]


def test_a_step_ends_no_later_than_the_next_one():
    late = (1.0, 2.0, 3.9, 4.0, 5.0, 6.0, 7.0)
    others = [(3.7, 4.9, 5.9, 6.9)] * 2
    timeline = merge([late, *others])
    assert timeline.begins == (0, 3, 3)
    assert timeline.ends_s == pytest.approx([1.0, 2.0, 3.7, 3.7, 4.9, 5.9, 6.9])
