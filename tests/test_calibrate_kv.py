"""How many tokens a KV cache holds."""

import os

import pytest

from calibrate import ProfileError
from calibrate.architectures import architecture
from calibrate.kv import activation_bytes, available_memory_bytes, kv_tokens


def test_what_memory_leaves():
    # 80 GB x 0.9 - 15 GB - 1 GB = 56 GB, at 1 MB a token.
    assert kv_tokens(80e9, 0.9, 15e9, 1e9, 1e6) == 56_000
    assert kv_tokens(10, 1, 4, 1, 2) == 2
    assert kv_tokens(10, 1, 4, 4, 2) == 1


def test_what_the_device_has_left_counts_where_it_is_less():
    # 80 GB x 0.9 - 15 GB = 57 GB; of 60 GB free 8 GB are not to be used, of 70 GB as many.
    assert kv_tokens(80e9, 0.9, 15e9, 1e9, 1e6, 60e9) == 51_000
    assert kv_tokens(80e9, 0.9, 15e9, 1e9, 1e6, 70e9) == 56_000
    with pytest.raises(ProfileError, match=r"9\.0 GB measured free beside them\) and 1\.0 GB of"):
        kv_tokens(80e9, 0.9, 15e9, 1e9, 1e6, 9e9)


def test_nothing_left_is_said_in_gigabytes():
    with pytest.raises(ProfileError) as caught:
        kv_tokens(24e9, 0.9, 29.54e9, 0.6e9, 196608)
    line = str(caught.value)
    assert line.startswith("24.0 GB of memory x 0.9 leave no room for a KV cache")
    assert "29.5 GB of weights and 0.6 GB of activations" in line
    assert "\n" not in line
    with pytest.raises(ProfileError, match="no room"):
        kv_tokens(10, 1, 4, 5, 2)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((0, 0.9, 1, 1, 1), "memory_bytes is 0"),
        ((10, 1.2, 1, 1, 1), "gpu_memory_utilization is 1.2, expected a share of at most 1"),
        ((10, 0, 1, 1, 1), "gpu_memory_utilization is 0"),
        ((10, 0.9, -1, 1, 1), "weight_bytes is -1"),
        ((10, 0.9, 1, -1, 1), "reserve_bytes is -1"),
        ((10, 0.9, 1, 1, 0), "kv_bytes_per_token is 0"),
        ((10, 0.9, 1, 1, 1, -1), "free_bytes is -1"),
    ],
)
def test_wrong_numbers_are_refused(numbers, message):
    with pytest.raises(ProfileError, match=message):
        kv_tokens(*numbers)


def test_activations_are_those_of_the_wider_moment():
    model = architecture("qwen2.5-coder-7b")
    # Many tokens: residual, norm, and three values of the feed-forward part, two bytes each.
    assert activation_bytes(model, "bf16", 8192, 1) == 8192 * 2 * (2 * 3584 + 3 * 18944)
    # Many sequences: their logits in two bytes and twice in four.
    assert activation_bytes(model, "bf16", 256, 256) == 256 * 2 * 3584 + 256 * 152064 * 10
    with pytest.raises(ProfileError, match="max_num_seqs is 0"):
        activation_bytes(model, "bf16", 256, 0)


def test_available_memory_on_linux(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal:  900 kB\nMemAvailable:     5 kB\n")
    assert available_memory_bytes(tmp_path / "meminfo") == 5 * 1024


def test_available_memory_elsewhere(tmp_path, monkeypatch):
    pages = {"SC_AVPHYS_PAGES": 7, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__, raising=False)
    assert available_memory_bytes(tmp_path / "absent") == 7 * 4096

    def unknown(name):
        raise ValueError(f"unrecognized configuration name {name}")

    monkeypatch.setattr(os, "sysconf", unknown, raising=False)
    with pytest.raises(ProfileError, match="cannot tell how much memory is available"):
        available_memory_bytes(tmp_path / "absent")
