"""The KV capacity under another share of the memory, computed by hand."""

from dataclasses import replace

import pytest
from profile_cases import profile_with_raw

from calibrate.capacity import with_utilization
from calibrate.library import bundled_profiles, load_profile
from calibrate.profile import ProfileError

PROFILE = profile_with_raw()


def device(**facts):
    """Return the profile with other facts of its device; None takes one away."""
    merged = {**PROFILE.device, **facts}
    return replace(PROFILE, device={k: v for k, v in merged.items() if v is not None})


def test_memory_less_weights_and_reserve():
    # (24e9 * 0.9 - 6e9 - 1e9) / 40e3
    found = with_utilization(PROFILE, 0.9)
    assert found.kv_tokens == 365_000
    assert replace(found, kv_tokens=200_000, kv_source=PROFILE.kv_source) == PROFILE
    assert "0.9 of the memory" in found.kv_source
    assert not any("assumed" in caveat for caveat in found.caveats)
    assert with_utilization(PROFILE, 1.0).kv_tokens == 425_000
    assert with_utilization(device(activation_reserve_bytes=None), 0.9).kv_tokens == 390_000


def test_devices_that_share_a_model_share_its_weights():
    # (2 * 24e9 * 0.5 - 6e9 - 2 * 1e9) / 40e3
    assert with_utilization(device(count=2), 0.5).kv_tokens == 400_000


def test_what_was_measured_free_counts_where_it_is_less():
    # (17e9 - 1e9 - 0.1 * 24e9) / 40e3
    for free, expected in ((17_000_000_000, 340_000), (20_000_000_000, 365_000)):
        found = with_utilization(device(free_bytes_with_weights=free), 0.9)
        assert found.kv_tokens == expected
    two = device(count=2, free_bytes_with_weights=18_000_000_000)
    assert with_utilization(two, 0.5).kv_tokens == (36e9 - 2e9 - 24e9) // 40e3
    with pytest.raises(ProfileError, match=r"synthetic: .* leave no room"):
        with_utilization(device(free_bytes_with_weights=2_000_000_000), 0.9)


def test_the_studys_own_share_gives_the_studys_capacity():
    paper = load_profile("paper-qwen2.5-coder-3b")
    found = with_utilization(paper, 0.8)

    assert found.kv_tokens == paper.kv_tokens
    assert any("assumed" in caveat for caveat in found.caveats)
    assert with_utilization(found, 0.8) == found


@pytest.mark.parametrize(
    ("facts", "named"),
    [
        ({"memory_bytes": None}, "needs device.memory_bytes, which the profile does not have"),
        ({"memory_bytes": "24 GB"}, "synthetic: device.memory_bytes is '24 GB'"),
        ({"memory_bytes": 7_000_000_000}, "synthetic: 7.0 GB of memory x 0.9 leave no room"),
        ({"count": 0}, "device.count is 0"),
        ({"activation_reserve_bytes": -1}, "activation_reserve_bytes is -1"),
        ({"free_bytes_with_weights": "all"}, "free_bytes_with_weights is 'all'"),
    ],
)
def test_what_is_missing_or_wrong_is_named(facts, named):
    with pytest.raises(ProfileError, match=named):
        with_utilization(device(**facts), 0.9)


def test_all_that_is_missing_is_named_at_once():
    bare = replace(PROFILE, device={}, model={"weight_bytes": 9})
    with pytest.raises(ProfileError, match=r"device\.memory_bytes and model\.kv_bytes_per_token"):
        with_utilization(bare, 0.9)


@pytest.mark.parametrize("name", [name for name in bundled_profiles() if "roofline" in name])
def test_rooflines_own_share_gives_their_capacity(name):
    roofline = load_profile(name)
    share = roofline.device["gpu_memory_utilization"]
    assert with_utilization(roofline, share).kv_tokens == roofline.kv_tokens
