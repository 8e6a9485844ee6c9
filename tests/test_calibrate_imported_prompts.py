"""What prompts take that were alone, and how long they hold others up."""

import pytest

from calibrate.imported.prompts import Stall, client_overhead_s
from calibrate.steps import Measurement, Step

# 5 ms whatever the length, and 0.1 ms a token.
ALONE = {100: [0.015] * 3, 1000: [0.105] * 3}


def test_a_prompt_among_decodes_adds_what_its_tokens_take():
    stall = Stall(ALONE, "chunked")
    assert stall.seconds(500, 0.004) == pytest.approx(0.05)
    assert stall.seconds(10, 0.004) == pytest.approx(0.001)
    assert stall.seconds(3000, 0.004) == pytest.approx(0.3)


def test_a_prompt_in_a_step_of_its_own_adds_that_step_too():
    stall = Stall(ALONE, "prefill-first")
    assert stall.seconds(500, 0.004) == pytest.approx(0.05 + 0.004)
    # No step is longer than what every prompt takes.
    assert stall.seconds(500, 0.4) == pytest.approx(0.05 + 0.005)


def test_longer_prompts_never_hold_up_less():
    stall = Stall({100: [0.05] * 3, 200: [0.03] * 3, 300: [0.06] * 3}, "chunked")
    assert stall.seconds(200, 0.0) == pytest.approx(stall.seconds(100, 0.0))


def test_one_length_says_nothing_of_others():
    assert not Stall({100: [0.05] * 3}, "chunked")
    assert Stall(ALONE, "chunked")


def single(step_s):
    return [Measurement(Step(batch=1, context_tokens=100), (step_s,))]


def test_the_client_overhead_is_beyond_a_decode_step():
    prompts = {16: [0.0096] * 3, 32: [0.0112] * 3}  # 8.1 ms for a token
    assert client_overhead_s(prompts, single(0.006)) == pytest.approx(0.0021)
    assert client_overhead_s(prompts, single(0.010)) == 0


def test_the_client_overhead_is_unknown_without_a_short_prompt_or_a_lone_decode():
    assert client_overhead_s({65: [0.01] * 3, 128: [0.02] * 3}, single(0.006)) is None
    assert client_overhead_s({16: [0.01] * 3}, single(0.006)) is None
    batch = [Measurement(Step(batch=2, context_tokens=100), (0.006,))]
    assert client_overhead_s({16: [0.01] * 3, 32: [0.02] * 3}, batch) is None
