"""Baselines: read as they were written, and what changed since is told."""

import json

import pytest
from check_cases import TRACE

from calibrate.library import load_profile
from sim.check.baseline import (
    Meant,
    Recorded,
    baseline_text,
    differences,
    kept,
    meant_by,
    read_baseline,
    write_baseline,
)
from sim.options import OptionError
from sim.sweep.canonical import canonical
from sim.sweep.inputs import Inputs

MEANT = Meant({"rps": 5.0, "n": 10}, {"p": "abc"}, "123")
HELD = {
    "b": Recorded(MEANT, 0, {"saber": {"goodput_pct": [50.0, None, 2]}}, {"sabersim": "1"}),
    "a": Recorded(MEANT, 3, {"s": {"e": [0.1], "d": [1.0, 2.0]}}, {"sabersim": "1"}),
}


def meant(folder, **setting):
    return meant_by(canonical(setting), Inputs(folder))


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "b.json"
    write_baseline(path, HELD)

    assert read_baseline(path) == HELD
    assert HELD["a"].seeds == 1
    assert [each.name for each in tmp_path.iterdir()] == ["b.json"]


def test_the_file_is_sorted_and_has_a_line_for_each_metric():
    text = baseline_text(HELD)

    assert json.loads(text)["format"] == 1
    assert text == baseline_text(dict(reversed(HELD.items())))
    lines = [line.strip() for line in text.splitlines()]
    assert lines.index('"a": {') < lines.index('"b": {')
    assert '"goodput_pct": [50.0, null, 2]' in lines
    assert lines.index('"d": [1.0, 2.0],') + 1 == lines.index('"e": [0.1]')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "this is no baseline"),
        ("[]", "this is no baseline"),
        ("{}", "this is no baseline ('format')"),
        ("[" * 100_000, "this is no baseline"),
        ('{"format": 2}', "a baseline in format 2, expected 1"),
        ('{"format": 1, "scenarios": []}', "this is no baseline"),
        ('{"format": 1, "scenarios": {"a": {}}}', "this is no baseline ('values')"),
        (baseline_text(HELD).replace("50.0", '"50"'), "'50' among the values"),
        (baseline_text(HELD).replace("50.0", "1e300"), "1e+300 among the values"),
        (baseline_text(HELD).replace('"first_seed": 3', '"first_seed": 0.5'), "first_seed = 0.5"),
        (baseline_text(HELD).replace('"123"', "[]"), "digest = []"),
        (baseline_text(HELD).replace('{\n        "p": "abc"\n      }', "7"), "contents = 7"),
    ],
)
def test_what_is_no_baseline_is_said_in_one_line(tmp_path, text, message):
    path = tmp_path / "b.json"
    path.write_text(text)
    with pytest.raises(OptionError) as caught:
        read_baseline(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert str(caught.value).endswith(" with --update-baseline")


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        ({"rps": 10}, {"rps": 12}, ["rps 10 -> 12"]),
        ({}, {"replicas": 2, "router": "random"},
         ["replicas 1 -> 2", "router none -> random"]),
        ({"clients.timeout_s": 3}, {}, ["clients.timeout_s 3 -> none"]),
        ({"sla": "unloaded*3"}, {"sla": "unloaded*4"}, ["sla unloaded*3 -> unloaded*4"]),
        ({"workload": "w3"}, {"workload": "W3"}, []),
        ({}, {"policy": "static(8)", "seed": 7}, []),
        ({}, {"n": 100, "max_num_batched_tokens": 2048}, []),
    ],
)  # fmt: skip
def test_a_changed_setting_is_told(tmp_path, was, now, told):
    assert differences(meant(tmp_path, **was), meant(tmp_path, **now)) == told


def test_changed_contents_are_told(tmp_path):
    path, profile = tmp_path / "a.csv", load_profile("paper-qwen2.5-coder-3b")
    path.write_text(TRACE)
    profile.save(tmp_path / "p.json")
    setting = {"trace": "a.csv", "profile": "p.json", "sla": "unloaded*3"}
    before = meant(tmp_path, **setting)
    assert differences(before, meant(tmp_path, **setting)) == []

    path.write_text(TRACE.replace("0.25,", "0.3,"))
    assert differences(before, meant(tmp_path, **setting)) == ["the content of trace changed"]
    path.write_text(TRACE)
    (tmp_path / "p.json").write_text((tmp_path / "p.json").read_text().replace("353410", "353411"))
    assert differences(before, meant(tmp_path, **setting)) == [
        "the content of profile p.json changed"
    ]


def test_the_same_content_under_another_name_is_the_same(tmp_path):
    load_profile("paper-qwen2.5-coder-3b").save(tmp_path / "p.json")
    assert differences(meant(tmp_path), meant(tmp_path, profile="p.json")) == []


def test_another_meaning_of_the_same_words_is_told():
    other = Meant(MEANT.setting, MEANT.contents, "124")
    assert differences(MEANT, other) == ["what its settings mean changed"]


def test_values_are_kept_but_for_digits_that_are_rounding():
    assert kept(1 / 3) == 0.333333333333
    assert kept(1e9 / 3) == 333333333.333
    assert kept(7) == 7
    assert kept(None) is None
