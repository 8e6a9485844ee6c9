"""Rooflines: the bound, its knees, and what a profile of it says."""

from dataclasses import replace
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrate import ProfileError, bundled_profiles
from calibrate.architectures import architecture, architectures
from calibrate.devices import DEVICES, device
from calibrate.predict import predict_s
from calibrate.roofline import roofline_cost, roofline_profile, rooflines
from calibrate.schema import json_text
from calibrate.steps import Step
from calibrate.work import Hardware, floor_s, step_bytes, step_flop

MODEL, H100 = architecture("qwen2.5-coder-7b"), device("h100")
COST = roofline_cost(MODEL, H100, "bf16")


def test_one_sequence_takes_its_weights_and_its_cache_over_the_bandwidth():
    # 7.0706 billion numbers of two bytes over 3.35 TB/s; 57344 bytes for each token of context.
    assert COST.decode_s(1, 0) == pytest.approx(4.2213e-3, rel=1e-4)
    assert COST.decode_s(1, 1000) - COST.decode_s(1, 0) == pytest.approx(1000 * 57344 / 3.35e12)


@pytest.mark.parametrize("name", ["a100-80gb", "rtx-3090", "h100"])
def test_decode_is_flat_to_the_knee_and_takes_its_operations_after_it(name):
    known = device(name)
    cost = roofline_cost(MODEL, known, "bf16")
    _, knee, _ = cost.decode_fixed.x
    # 2 bytes a weight against 2 operations a weight and sequence: the ratio of the two peaks.
    assert knee == pytest.approx(known.flop_per_s / known.bytes_per_s, rel=1e-3)
    assert cost.decode_s(int(knee), 0) == pytest.approx(cost.decode_s(1, 0), rel=1e-12)
    for batch in (int(knee) + 1, 3 * int(knee)):
        flop = 2 * (MODEL.linear_parameters + MODEL.head_parameters) * batch
        assert cost.decode_s(batch, 0) == pytest.approx(flop / known.flop_per_s, rel=1e-9)


@pytest.mark.parametrize("tokens", [400, 2048, 16384, 30000])
@pytest.mark.parametrize("past", [0, 5000])
def test_a_long_prompt_takes_its_operations_over_the_peak(tokens, past):
    step = Step(prompt_tokens=tokens, past_tokens=past)
    expected = step_flop(MODEL, step) / H100.flop_per_s
    assert predict_s(COST, step) == pytest.approx(expected, rel=1e-9)


def test_a_short_prompt_takes_its_weights_over_the_bandwidth():
    step = Step(prompt_tokens=64)
    expected = step_bytes(MODEL, "bf16", step) / H100.bytes_per_s
    assert predict_s(COST, step) == pytest.approx(expected, rel=1e-3)


models = st.sampled_from(architectures()).map(architecture)


@given(models, st.sampled_from(DEVICES), st.integers(1, 512), st.integers(1, 16384))
def test_no_decode_or_prompt_is_faster_than_its_floor(arch, known, batch, tokens):
    cost = roofline_cost(arch, known, "fp16")
    hardware = Hardware(known.bytes_per_s, known.flop_per_s)
    for step in (Step(batch, tokens), Step(prompt_tokens=tokens)):
        floor = floor_s(arch, "fp16", step, hardware)
        # One after the other, matrices and attention take at most the sum of both bounds.
        most = step_bytes(arch, "fp16", step) / known.bytes_per_s
        most += step_flop(arch, step) / known.flop_per_s
        assert floor <= predict_s(cost, step) * (1 + 1e-9)
        assert predict_s(cost, step) <= most * (1 + 1e-9)


@given(st.integers(1, 256), st.integers(1, 8192), st.integers(1, 2048), st.integers(0, 8192))
def test_devices_that_share_a_model_share_its_time(batch, context, prompt, past):
    two = roofline_cost(MODEL, H100, "bf16", count=2)
    for step in (Step(batch, context), Step(prompt_tokens=prompt, past_tokens=past)):
        assert predict_s(two, step) == pytest.approx(predict_s(COST, step) / 2)


def test_the_profile_says_that_it_is_a_bound():
    profile = roofline_profile(MODEL, H100)
    assert (profile.name, profile.method) == ("roofline-h100-qwen2.5-coder-7b", "roofline")
    assert profile.discipline == "chunked"
    assert profile.engine_overhead_s is None
    assert (profile.raw, dict(profile.fit), profile.measured_batch) == ((), {}, None)
    bound, kernel_only, assumed = profile.caveats
    assert "optimistic bound" in bound
    assert "nobody measured" in bound
    assert "real steps take longer" in bound
    assert kernel_only.startswith("kernel-only")
    assert str(profile.kv_tokens) in assumed
    assert profile.model == MODEL.to_dict("bf16")


def test_the_cache_gets_what_weights_and_activations_leave():
    # 80 GB x 0.9 - 15.23 GB - 0.40 GB, at 57344 bytes a token.
    assert roofline_profile(MODEL, H100).kv_tokens == pytest.approx(982_900, rel=1e-3)
    less = roofline_profile(MODEL, H100, gpu_memory_utilization=0.5)
    assert less.kv_tokens == pytest.approx((40e9 - 15.23e9 - 0.4e9) / 57344, rel=1e-3)
    two = roofline_profile(MODEL, H100, count=2)
    assert two.kv_tokens == pytest.approx((144e9 - 15.23e9 - 0.8e9) / 57344, rel=1e-3)
    assert two.name == "roofline-2xh100-qwen2.5-coder-7b"
    assert roofline_profile(MODEL, H100, "fp16").name == "roofline-h100-qwen2.5-coder-7b-fp16"


def test_every_number_names_its_source():
    profile = roofline_profile(MODEL, H100)
    numbers = {"decode.step_s", "decode.context_token_s", "prefill.step_s",
               "prefill.attention_token2_s"}  # fmt: skip
    needed = {f"cost.{number}" for number in numbers}
    needed |= {"engine_overhead_s", "client_overhead_s", "kv_tokens", "discipline"}
    assert needed | {"model", "device"} == set(profile.sources)
    assert H100.source in profile.sources["device"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "fp32"}, "dtype is 'fp32', expected one of bf16, fp16"),
        ({"count": 3}, "count is 3, expected a divisor of the 4 KV heads"),
        ({"count": 0}, "count is 0"),
        ({"gpu_memory_utilization": 1.1}, "gpu_memory_utilization is 1.1"),
        ({"device": replace(H100, memory_bytes=10**10)}, "does not fit h100: 10.0 GB of memory"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(changes, message):
    with pytest.raises(ProfileError) as caught:
        roofline_profile(**{"arch": MODEL, "device": H100, **changes})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_bundled_files_are_what_is_computed():
    computed = rooflines("qwen2.5-coder-7b")
    assert len(computed) == len(DEVICES)
    names = [name for name in bundled_profiles() if name.startswith("roofline-")]
    assert sorted(profile.name for profile in computed) == names
    for profile in computed:
        file = resources.files("calibrate.profiles").joinpath(f"{profile.name}.json")
        assert file.read_text("utf-8") == json_text(profile.to_dict()) + "\n"


def test_a_model_is_bundled_only_for_devices_that_hold_it():
    holding = [profile.name for profile in rooflines("qwen2.5-coder-32b")]
    assert [name.split("-qwen")[0] for name in holding] == [
        "roofline-a100-80gb", "roofline-h100", "roofline-h200", "roofline-mi300x",
    ]  # fmt: skip


def test_the_capacity_follows_from_the_facts_in_the_file():
    for count in (1, 2):
        profile = roofline_profile(MODEL, H100, count=count)
        device = profile.device
        left = device["memory_bytes"] * device["gpu_memory_utilization"]
        left = count * (left - device["activation_reserve_bytes"]) - MODEL.weight_bytes("bf16")
        assert profile.kv_tokens == left // MODEL.kv_bytes_per_token("bf16")
