"""The grid: what is in it, and that any beginning of it spans the whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrate import ProfileError
from calibrate.grid import CPU_FULL, CPU_QUICK, FULL, QUICK, axes_for, grid
from calibrate.steps import KINDS, Step

ALL = [FULL, QUICK, CPU_FULL, CPU_QUICK]


def test_devices_have_their_sizes():
    assert [axes_for("cuda", quick=False), axes_for("cuda", quick=True)] == [FULL, QUICK]
    assert [axes_for("cpu", quick=False), axes_for("cpu", quick=True)] == [CPU_FULL, CPU_QUICK]


def test_the_full_grid_is_the_one_that_was_designed():
    steps = grid(FULL, 32768)
    batches = sorted({s.batch for s in steps if s.kind == "decode"})
    assert batches[:16] == list(range(1, 17))
    assert batches[-1] == 256
    contexts = {s.context_tokens for s in steps if s.kind == "decode"}
    assert (min(contexts), max(contexts)) == (128, 16384)
    prompts = {s.prompt_tokens for s in steps if s.kind == "prefill"}
    assert {16, 16384} <= prompts


@pytest.mark.parametrize("axes", ALL)
def test_every_combination_is_a_step_once(axes):
    steps = grid(axes, 10**6)
    assert len(set(steps)) == len(steps)
    expected = {Step(b, c) for b in axes.batches for c in axes.contexts}
    expected |= {Step(prompt_tokens=p) for p in axes.prompts}
    expected |= {Step(prompt_tokens=p, past_tokens=q) for p in axes.chunks for q in axes.pasts}
    expected |= {
        Step(b, c, p)
        for b in axes.mixed_batches
        for c in axes.mixed_contexts
        for p in axes.mixed_prompts
    }
    assert set(steps) == expected


@pytest.mark.parametrize("axes", ALL)
def test_the_first_tenth_reaches_every_corner_of_the_decode_grid(axes):
    steps = grid(axes, 10**6)
    first = [s for s in steps[: max(16, len(steps) // 10)] if s.kind == "decode"]
    corners = {
        Step(b, c)
        for b in (axes.batches[0], axes.batches[-1])
        for c in (axes.contexts[0], axes.contexts[-1])
    }
    assert corners <= set(first)


@pytest.mark.parametrize("axes", ALL)
@given(share=st.floats(0.2, 1.0))
def test_any_beginning_holds_each_kind_in_its_share(axes, share):
    steps = grid(axes, 10**6)
    first = steps[: int(share * len(steps))]
    for kind in KINDS:
        whole = sum(s.kind == kind for s in steps)
        part = sum(s.kind == kind for s in first)
        # Each kind is at most a step ahead or behind, and so is each of the four in the total.
        assert abs(part - whole * len(first) / len(steps)) <= 1 + 4 * whole / len(steps)


def test_no_step_is_longer_than_the_model_knows():
    steps = grid(FULL, 2048)
    assert max(s.past_tokens + s.prompt_tokens for s in steps) == 2048
    assert max(s.context_tokens for s in steps) == 2048
    # 1024 already in the cache and 1024 more are just possible, one more kind of step is not.
    assert Step(prompt_tokens=1024, past_tokens=1024) in steps
    assert Step(prompt_tokens=2048, past_tokens=512) not in steps


def test_a_model_too_short_for_anything_is_refused():
    with pytest.raises(ProfileError, match="no step of the grid fits into 0 tokens"):
        grid(QUICK, 0)
