"""Run options: what each may be, in one line where it is not."""

from __future__ import annotations

from math import inf, nan

import pytest

from sim.options import EngineLimits, OptionError, RunOptions, to_ps

COUNTS = ("max_num_seqs", "max_num_batched_tokens", "max_model_len", "block_size", "kv_tokens")
SECONDS = ("client_overhead_s", "feedback_delay_s", "until_s", "warmup_s", "jitter_cv")


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [0, -1, 2.0, "8", True, nan])
def test_counts_are_whole_numbers_from_one(name, value):
    with pytest.raises(OptionError) as error:
        RunOptions(**{name: value})
    assert str(error.value) == f"{name}={value!r}: expected a whole number of at least 1"


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", [-0.1, nan, inf, "1", True, 9e6])
def test_seconds_are_numbers_from_zero_within_the_clock(name, value):
    with pytest.raises(OptionError) as error:
        RunOptions(**{name: value})
    assert str(error.value) == f"{name}={value!r}: expected a number from 0 to 9e+06"


def test_what_the_options_are_by_default():
    options = RunOptions()
    assert options.max_num_batched_tokens == 2048
    assert options.block_size == 16
    assert (options.warmup_s, options.jitter_cv, options.feedback_delay_s) == (0.0, 0.0, 0.0)
    for name in ("max_num_seqs", "max_model_len", "kv_tokens", "gpu_memory_utilization",
                 "discipline", "client_overhead_s", "until_s", "goodput_ms"):  # fmt: skip
        assert getattr(options, name) is None


def test_extremes_that_are_meant():
    RunOptions(max_num_seqs=1, block_size=1, kv_tokens=1, warmup_s=0, until_s=1e-12)
    RunOptions(discipline="chunked")
    RunOptions(gpu_memory_utilization=1)
    RunOptions(goodput_ms={"ttft": 200, "tpot": 0.5, "e2el": 1e6})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"discipline": "continuous"}, "discipline='continuous': expected prefill-first or "),
        ({"gpu_memory_utilization": 0}, "gpu_memory_utilization=0: expected a share of the mem"),
        ({"gpu_memory_utilization": 1.01}, "gpu_memory_utilization=1.01: expected a share"),
        ({"gpu_memory_utilization": nan}, "gpu_memory_utilization=nan: expected a share"),
        ({"gpu_memory_utilization": "1"}, "gpu_memory_utilization='1': expected a share"),
        ({"until_s": 5.0, "warmup_s": 5.0}, "until_s=5 is not after warmup_s=5"),
        ({"goodput_ms": {}}, "goodput_ms is empty: expected limits for ttft, tpot, e2el"),
        ({"goodput_ms": {"itl": 5}}, "goodput limit 'itl': expected one of ttft, tpot, e2el"),
        ({"goodput_ms": {"ttft": 0}}, "goodput limit ttft:0: expected milliseconds above 0"),
        ({"goodput_ms": {"ttft": nan}}, "goodput limit ttft:nan: expected milliseconds above 0"),
        ({"goodput_ms": {"ttft": "1"}}, "goodput limit ttft:1: expected milliseconds above 0"),
        ({"goodput_ms": "ttft:200"}, "goodput_ms='ttft:200': expected a mapping"),
    ],
)
def test_what_can_not_be_meant(options, message):
    with pytest.raises(OptionError) as error:
        RunOptions(**options)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_a_chunked_step_has_a_token_for_every_decode():
    EngineLimits("chunked", 8, 8, 100, 16)
    EngineLimits("prefill-first", 8, 7, 100, 16)
    with pytest.raises(OptionError, match="max_num_batched_tokens=7 is less than max_num_seqs=8"):
        EngineLimits("chunked", 8, 7, 100, 16)


def test_a_cache_holds_at_least_one_block():
    with pytest.raises(OptionError, match="no block of 16 tokens: raise kv_tokens"):
        EngineLimits("prefill-first", 8, 100, 0, 16)


@pytest.mark.parametrize(("blocks", "watermark"), [(99, 0), (100, 1), (2599, 25)])
def test_prefill_first_keeps_one_percent_of_the_blocks_from_admission(blocks, watermark):
    assert EngineLimits("prefill-first", 8, 100, blocks, 16).watermark == watermark
    assert EngineLimits("chunked", 8, 100, blocks, 16).watermark == 0


def test_seconds_become_the_nearest_picosecond():
    assert to_ps(0.1) == 100_000_000_000
    assert to_ps(1.4e-12) == 1
    assert to_ps(8999999.000000001) == round(8999999.000000001 * 1e12)


@pytest.mark.parametrize("name", ["max_num_batched_tokens", "block_size", "warmup_s", "jitter_cv"])
def test_what_has_no_other_source_may_not_be_none(name):
    with pytest.raises(OptionError, match=f"^{name}=None: expected a "):
        RunOptions(**{name: None})
