"""Profiles by name: bundled, computed, in a file."""

import json
from pathlib import Path

import pytest

from calibrate import ProfileError, bundled_profiles, load_profile
from calibrate.roofline import roofline_names

PAPER = "paper-qwen2.5-coder-3b"


def test_a_roofline_is_computed_when_no_file_has_its_name():
    name = "roofline-l40s-codellama-13b"
    assert name not in bundled_profiles()
    assert load_profile(name).name == name


@pytest.mark.parametrize("name", roofline_names())
def test_every_roofline_can_be_loaded_by_its_name(name):
    profile = load_profile(name)
    assert profile.name == name
    assert profile.method == "roofline"


def test_two_devices_and_another_dtype_have_names_too():
    one, two = load_profile("roofline-h100-codellama-34b"), "roofline-2xh100-codellama-34b-fp16"
    assert load_profile(two).name == two
    assert load_profile(two).cost.decode_s(1, 0) == pytest.approx(one.cost.decode_s(1, 0) / 2)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("paper", PAPER),
        ("paper-qwen2.5-coder-3", PAPER),
        ("roofline-h10-qwen2.5-coder-7b", "roofline-h100-qwen2.5-coder-7b"),
        ("roofline-h100-qwen2.5-code-7b", "roofline-h100-qwen2.5-coder-7b"),
        ("rofline-h200-codellama-7b", "roofline-h200-codellama-7b"),
    ],
)
def test_an_unknown_name_gets_the_nearest_in_a_short_line(name, nearest):
    with pytest.raises(ProfileError, match=f"there is no profile '{name}'") as caught:
        load_profile(name)
    line = str(caught.value)
    assert line.endswith(f"did you mean {nearest!r}?")
    assert "roofline-DEVICE-MODEL" in line
    assert len(line) < 250
    assert "\n" not in line


def test_a_model_that_does_not_fit_is_said_so():
    with pytest.raises(ProfileError, match=r"32b in bf16 does not fit rtx-4090: 24\.0 GB of mem"):
        load_profile("roofline-rtx-4090-qwen2.5-coder-32b")


def test_a_file_with_the_name_of_a_roofline_is_read(tmp_path, monkeypatch):
    name = "roofline-h100-codellama-7b"
    mine = {**load_profile(PAPER).to_dict(), "name": "mine"}
    (tmp_path / name).write_text(json.dumps(mine))
    monkeypatch.chdir(tmp_path)
    assert load_profile(name).name == "mine"
    assert load_profile(Path(name)).name == "mine"
