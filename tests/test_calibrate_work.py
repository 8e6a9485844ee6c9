"""Operations and bytes of a step, against numbers computed by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrate import ProfileError
from calibrate.architectures import Architecture, architecture
from calibrate.steps import Step
from calibrate.work import Hardware, attended_tokens, floor_s, step_bytes, step_flop

# Two layers of q 8x8, k and v 8x4 each, o 8x8, and a GELU's 8x20 and 20x8; a head of 50x8.
TOY = Architecture(
    name="toy", layers=2, hidden=8, heads=4, kv_heads=2, head_dim=2, intermediate=20, vocab=50,
    tied_embeddings=False, mlp="gelu", norm="rms", qkv_bias=False, bias=False,
    max_context_tokens=99, rope_theta=1e4, norm_eps=1e-6, source="made up",
)  # fmt: skip
LINEAR = 2 * (64 + 2 * 32 + 64 + 320)
HEAD = 400
NORMS = 5 * 8


@pytest.mark.parametrize(
    ("step", "attended"),
    [
        (Step(batch=3, context_tokens=10), 30),
        (Step(prompt_tokens=4), 1 + 2 + 3 + 4),
        (Step(prompt_tokens=4, past_tokens=6), 7 + 8 + 9 + 10),
        (Step(3, 10, prompt_tokens=4, past_tokens=6), 30 + 34),
    ],
)
def test_attended_tokens(step, attended):
    assert attended_tokens(step) == attended


@pytest.mark.parametrize(
    ("step", "flop"),
    [
        # A pair of tokens costs 2 (q k and w v) x 2 x 4 heads x 2 wide x 2 layers = 64.
        (Step(3, 10), 2 * LINEAR * 3 + 2 * HEAD * 3 + 64 * 30),
        (Step(prompt_tokens=4), 2 * LINEAR * 4 + 2 * HEAD + 64 * 10),
        (Step(3, 10, 4, 6), 2 * LINEAR * 7 + 2 * HEAD * 4 + 64 * 64),
    ],
)
def test_operations(step, flop):
    assert step_flop(TOY, step) == flop


@pytest.mark.parametrize(
    ("step", "cached"),
    [(Step(3, 10), 30), (Step(prompt_tokens=4), 4), (Step(3, 10, 4, 6), 40)],
)
def test_bytes(step, cached):
    # 2 (k and v) x 2 layers x 4 wide = 16 numbers a token.
    assert step_bytes(TOY, "fp32", step) == 4 * (LINEAR + HEAD + NORMS + 16 * cached)
    assert step_bytes(TOY, "bf16", step) * 2 == step_bytes(TOY, "fp32", step)


def test_a_known_model():
    # 7.07 billion weights read, two bytes each, and two operations for each and each sequence.
    model = architecture("qwen2.5-coder-7b")
    assert step_bytes(model, "bf16", Step(1, 1)) == pytest.approx(14.14e9, rel=1e-3)
    assert step_flop(model, Step(8, 1)) == pytest.approx(8 * 14.14e9, rel=1e-3)


def test_the_floor_is_the_longest_of_three():
    step = Step(3, 10)
    size, flop = step_bytes(TOY, "bf16", step), step_flop(TOY, step)
    assert floor_s(TOY, "bf16", step, Hardware(size / 2, flop, 0.5)) == 2
    assert floor_s(TOY, "bf16", step, Hardware(size, flop / 3, 0.5)) == 3
    assert floor_s(TOY, "bf16", step, Hardware(size, flop, 5)) == 5


@given(st.integers(0, 64), st.integers(1, 4096), st.integers(0, 2048), st.integers(0, 2048))
def test_more_work_never_takes_less(batch, context, prompt, past):
    step = Step(batch, context if batch else 0, prompt + 1, past)
    more = Step(batch, context if batch else 0, prompt + 2, past)
    assert step_flop(TOY, more) > step_flop(TOY, step)
    assert step_bytes(TOY, "bf16", more) > step_bytes(TOY, "bf16", step)


@pytest.mark.parametrize("numbers", [(0, 1, 0), (1, -1, 0), (1, 1, -1), (float("nan"), 1, 0)])
def test_impossible_hardware_is_refused(numbers):
    with pytest.raises(ProfileError, match="expected a finite number"):
        Hardware(*numbers)
