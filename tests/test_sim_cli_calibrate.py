"""`saber calibrate show` and `speed` as a user types them."""

import json
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest
from profile_cases import profile_with_raw

from calibrate.library import load_profile
from calibrate.speed import read_speed_csv
from sim.cli import main

PAPER = "paper-qwen2.5-coder-3b"


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def measured():
    """Profiles with raw points: one, and another that is 10 % slower and has no points."""
    profile_with_raw("before").save("before.json")
    after = profile_with_raw("after", scale=1.1)
    replace(after, raw=()).save("after.json")


@pytest.fixture
def contextual():
    """Profiles with a context term: one to derive speeds from, one with speed points."""
    bundled = resources.files("calibrate.profiles") / f"{PAPER}.json"
    content = json.loads(bundled.read_text())
    content["cost"]["decode"]["context_token_s"] = [1e-6]
    Path("pointed.json").write_text(json.dumps(content))
    del content["speed_points"]
    Path("contextual.json").write_text(json.dumps(content))


def run(capsys, *argv):
    """Return exit code, stdout and stderr of one call in this process."""
    code = main([str(word) for word in argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def json_of(capsys, *argv):
    code, out, err = run(capsys, *argv, "--json")
    assert code == 0, err
    return json.loads(out)


def lines_with(text, *words):
    return [line for line in text.splitlines() if all(word in line for word in words)]


# -- show ------------------------------------------------------------------------------------------


def test_show_lists_what_is_bundled(capsys):
    code, out, err = run(capsys, "calibrate", "show")

    assert (code, err) == (0, "")
    [line] = lines_with(out, PAPER)
    assert "published-fit" in line
    assert "KV assumed" in line
    assert lines_with(out, "roofline-DEVICE-MODEL", "h100")
    document = json_of(capsys, "calibrate", "show")
    assert "roofline-h100-qwen2.5-coder-14b" in document["rooflines"]
    [row] = [row for row in document["profiles"] if row["name"] == PAPER]
    assert row["held_out_mape"] == {}
    assert any("assumed" in caveat for caveat in row["caveats"])
    assert not list(Path().iterdir())


def test_the_list_has_the_errors_of_measured_profiles(capsys, measured, monkeypatch):
    profiles = {"before": load_profile("before.json"), "after": load_profile("after.json")}
    monkeypatch.setattr("calibrate.library.bundled_profiles", lambda: tuple(profiles))
    monkeypatch.setattr("calibrate.library.load_profile", profiles.get)
    code, out, _ = run(capsys, "calibrate", "show")

    assert code == 0
    assert lines_with(out, "before", "Some GPU", "torch", "1.5/-/-/-", "kernel-only")


def test_show_prints_tables_and_caveats_and_draws(capsys):
    code, out, err = run(capsys, "calibrate", "show", PAPER)

    assert code == 0
    assert "prefill-first" in out
    assert "Caveat: the KV capacity" in out
    assert "128 30.1 *" in " ".join(out.split())  # batches over 100 were not measured
    assert "figure written to saber-profile.png" in err
    assert Path("saber-profile.png").read_bytes().startswith(b"\x89PNG")


def test_show_json_says_all_and_where_the_figure_is(capsys):
    document = json_of(capsys, "calibrate", "show", PAPER, "--figure", "new/f.svg")

    assert document["decode"][0]["batch"] == 1
    assert document["engine_overhead_request_s"] == 0
    assert "arXiv 2506.19677" in document["sources"]["cost.decode.step_s"]
    assert document["figure"] == "new/f.svg"
    assert "<svg" in Path("new/f.svg").read_text()
    assert json_of(capsys, "calibrate", "show", PAPER, "--no-figure")["figure"] is None
    assert not Path("saber-profile.png").exists()


def test_show_says_how_well_a_measured_profile_is_known(capsys, measured):
    code, out, _ = run(capsys, "calibrate", "show", "before.json")

    assert code == 0
    assert lines_with(out, "hardware floor", "1,500 GB/s", "300 TFLOP/s", "4.00 µs")
    assert lines_with(out, "batch-1 decode", "1.2", "times its hardware floor")
    assert lines_with(out, "cost.prefill.attention_token2_s", "4.0")
    assert lines_with(out, "decode, held out", "1.50", "3.50", "4.50")
    assert lines_with(
        out, "out of memory", "2 steps", "the smallest decode: batch 256 at context 8,192"
    )
    assert lines_with(out, "chunk: 512 prompt tokens after 8,192", "22.0", "23.2", "+5.5")
    document = json_of(capsys, "calibrate", "show", "before.json")
    assert len(document["misses"]) == 5
    assert len(document["raw"]) == 58
    assert document["over_floor"]["mixed"]["points"] == 6
    assert len(document["intervals"]["cost.decode.step_s"]) == 4


def test_show_says_how_far_the_roofline_is_from_what_was_measured(capsys):
    measured = profile_with_raw("measured")
    model = load_profile("roofline-h100-qwen2.5-coder-7b").model
    device = {**measured.device, "name": "NVIDIA H100 80GB HBM3"}
    replace(measured, model=model, device=device).save("measured.json")
    code, out, _ = run(capsys, "calibrate", "show", "measured.json")

    assert code == 0
    assert "The roofline of the device against the points of measured" in out
    errors = json_of(capsys, "calibrate", "show", "measured.json")["roofline_errors"]["measured"]
    other = json_of(capsys, "calibrate", "show", "measured.json", "roofline-h100-qwen2.5-coder-7b")
    for kind, row in other["errors"]["q_against_p"].items():
        assert errors[kind] == pytest.approx(row)


def test_show_two_profiles_shows_the_differences(capsys, measured):
    code, out, _ = run(capsys, "calibrate", "show", "before.json", "after.json")

    assert code == 0
    [line] = lines_with(out, "256", "8,192", "54.9", "60.4")
    assert line.split()[-1] == "1.10"
    assert "The cost of after against the points of before" in out
    assert "against the points of after" not in out
    assert Path("saber-profile.png").exists()
    document = json_of(capsys, "calibrate", "show", "before.json", "after.json")
    assert document["errors"]["q_against_p"]["decode"]["bias"] == pytest.approx(10, abs=1)
    assert document["errors"]["p_against_q"] is None
    assert document["figure"] == "saber-profile.png"


def test_one_device_measured_twice_has_two_names(capsys, measured):
    _, out, _ = run(capsys, "calibrate", "show", "before.json", "before.json", "--no-figure")
    assert "The cost of before (second) against the points of before (first)" in out
    assert "The cost of before (first) against the points of before (second)" in out


def test_show_two_profiles_says_where_they_have_no_size_in_common(capsys, measured):
    narrow = replace(profile_with_raw("narrow"), measured_batch=(3, 3))
    narrow.save("narrow.json")
    code, out, _ = run(capsys, "calibrate", "show", "before.json", "narrow.json")

    assert code == 0
    assert "Decode steps: there is no size that both profiles cover." in out


# -- speed -----------------------------------------------------------------------------------------


def test_speed_marks_the_best_of_three(capsys):
    document = json_of(capsys, "calibrate", "speed", PAPER)

    assert document["best"] == "usl"
    assert set(document["estimators"]) == {"usl", "logistic", "linear"}
    assert document["estimators"]["linear"]["parameters"]["b"] == pytest.approx(-0.7581, abs=1e-4)
    assert document["off_measured"]["mean_absolute_pct"] is None
    code, out, _ = run(capsys, "calibrate", "speed", PAPER)
    assert code == 0
    [best] = [line for line in out.splitlines() if line.rstrip().endswith("best")]
    assert best.split()[0] == "usl"
    assert "Points: the 255 measured generation speeds" in out


def test_simulated_speeds_are_near_the_studys_measured_ones(capsys):
    document = json_of(capsys, "calibrate", "speed", PAPER, "--simulate")

    assert document["points"] == 255
    assert document["points_source"].startswith("simulated offline phase: requests of W3")
    off = document["off_measured"]
    assert len(off["by_load_pct"]) == 15
    shares = [abs(share) for share in off["by_load_pct"].values()]
    assert off["mean_absolute_pct"] == pytest.approx(sum(shares) / 15)
    # Lengths of the study's own requests are not known; 4 % is what a draw of 255 leaves open.
    assert off["mean_absolute_pct"] < 4
    assert document["best"] == "usl"
    code, out, _ = run(capsys, "calibrate", "speed", PAPER, "--simulate")
    assert code == 0
    assert f"differ from the profile's measured ones by {off['mean_absolute_pct']:.1f} %" in out


def test_a_profile_without_speeds_is_simulated(capsys, contextual):
    document = json_of(capsys, "calibrate", "speed", "contextual.json")

    assert "simulated" in document["points_source"]
    assert document["off_measured"] == {"mean_absolute_pct": None, "by_load_pct": {}}
    again = json_of(capsys, "calibrate", "speed", "contextual.json", "--seed", "0")
    assert again == document
    other = json_of(capsys, "calibrate", "speed", "contextual.json", "--seed", "1")
    assert other["estimators"] != document["estimators"]


def test_the_mean_context_derives_speeds_from_steps(capsys, contextual):
    short, long = (
        json_of(capsys, "calibrate", "speed", "contextual.json", "--mean-context-tokens", tokens)
        for tokens in (100, 4000)
    )
    top = [found["estimators"]["linear"]["parameters"]["a"] for found in (short, long)]
    assert top[0] > top[1] > 0
    assert "mean context of 100 tokens" in short["points_source"]


def test_the_lengths_of_a_trace_or_workload_are_simulated(capsys):
    Path("short.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,10,400\n5,10,400\n")
    Path("lengths.json").write_text(json.dumps([{"prompt_len": 10, "output_len": 400}] * 4))
    words = ["calibrate", "speed", PAPER, "--simulate", "--loads", "30,1,10"]
    from_csv, from_json, from_workload = (
        json_of(capsys, *words, *source)
        for source in (["--trace", "short.csv"], ["--trace", "lengths.json"], ["--workload", "w1"])
    )

    assert from_csv["points"] == 41
    assert from_csv["estimators"] == from_json["estimators"] != from_workload["estimators"]
    assert "requests of short.csv together" in from_csv["points_source"]
    assert "requests of W1 together" in from_workload["points_source"]
    assert set(from_csv["off_measured"]["by_load_pct"]) == {"1", "10", "30"}


def test_speeds_are_written_and_read_again(capsys, contextual):
    words = ["calibrate", "speed", "contextual.json", "--seed", "3", "--loads", "1,2,4,8"]
    fitted = json_of(capsys, *words, "--out", "deep/speeds.csv")["estimators"]
    code, _, err = run(capsys, *words, "--out", "with.json")

    assert code == 0
    assert "15 points written to with.json" in err
    points = read_speed_csv("deep/speeds.csv")
    assert json_of(capsys, "calibrate", "speed", "--csv", "deep/speeds.csv")["estimators"] == fitted
    profile = load_profile("with.json")
    assert profile.speed_points == points
    assert "simulated" in profile.sources["speed_points"]
    assert "seed 3" in profile.sources["speed_points"]
    assert replace(profile, speed_points=None).cost == load_profile("contextual.json").cost
    kept = json_of(capsys, "calibrate", "speed", "with.json")
    assert kept["estimators"] == fitted
    assert kept["points_source"] == profile.sources["speed_points"]


def test_the_profiles_own_speeds_can_be_written_as_csv(capsys):
    code, _, _ = run(capsys, "calibrate", "speed", PAPER, "--out", "speeds.csv")

    assert code == 0
    assert read_speed_csv("speeds.csv") == load_profile(PAPER).speed_points


def test_speed_of_a_file(capsys):
    Path("speeds.csv").write_text("load,speed\n1,90\n10,80\n20,70\n40,50\n")
    document = json_of(capsys, "calibrate", "speed", "--csv", "speeds.csv")

    assert document["estimators"]["linear"]["parameters"]["b"] < -0.9
    assert document["points"] == 4


# -- mistakes --------------------------------------------------------------------------------------

MISTAKES = [
    ("show --figure a.png", ["--figure a.png has no effect without a PROFILE"]),
    ("show --no-figure", ["--no-figure has no effect without a PROFILE"]),
    (f"show {PAPER} --figure a.png --no-figure", ["contradict"]),
    (f"show {PAPER} --figure a.txt", ["a.txt", ".png"]),
    ("show before.json nosuch", ["nosuch", PAPER]),
    ("show schema.json", ["schema.json", "schema_version"]),
    ("show strange.json", ["strange", "raw[0].kind"]),
    ("speed", ["PROFILE", "--csv"]),
    (f"speed {PAPER} --csv speeds.csv", ["contradict"]),
    ("speed --csv speeds.csv --simulate", ["--simulate has no effect", "speeds.csv"]),
    ("speed --csv speeds.csv --loads 1,2", ["--loads 1,2 has no effect"]),
    ("speed --csv speeds.csv --out a.csv", ["--out a.csv has no effect"]),
    (f"speed {PAPER} --workload W1", ["--workload W1 has no effect", "--simulate"]),
    (f"speed {PAPER} --seed 0", ["--seed 0 has no effect", "--simulate"]),
    (f"speed {PAPER} --simulate --workload W9", ["W9", "W3"]),
    ("speed contextual.json --workload W1 --trace trace.csv", ["contradict"]),
    ("speed contextual.json --trace nowhere.csv", ["nowhere.csv"]),
    ("speed contextual.json --trace speeds.csv", ["speeds.csv"]),
    ("speed contextual.json --trace single.csv", ["second token"]),
    ("speed contextual.json --trace long.csv", ["KV cache", "353410"]),
    ("speed contextual.json --loads 1,two", ["1,two", "whole numbers"]),
    ("speed contextual.json --loads 0,2", ["0,2", "from 1 on"]),
    ("speed contextual.json --loads 1,99999999999", ["99999999999", "up to 10,000"]),
    ("speed contextual.json --loads 2,2", ["2,2", "different"]),
    ("speed contextual.json --loads 8 --mean-context-tokens 9", ["--loads 8 has no effect"]),
    ("speed contextual.json --out a.txt", ["a.txt", ".csv or .json"]),
    (f"speed {PAPER} --out a.json", ["--out a.json has no effect", "already"]),
    ("speed pointed.json --mean-context-tokens 600", ["has no effect", "speed_points"]),
    (f"speed {PAPER} --mean-context-tokens 600", ["--mean-context-tokens has no effect"]),
    ("speed --csv speeds.csv --mean-context-tokens 600", ["--mean-context-tokens 600 has no ef"]),
]


@pytest.mark.parametrize(("words", "named"), MISTAKES, ids=[words for words, _ in MISTAKES])
def test_a_mistake_is_one_clear_line_and_exit_code_2(capsys, contextual, measured, words, named):
    Path("speeds.csv").write_text("1,90\n2,80\n")
    Path("trace.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,9,9\n")
    Path("single.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,9,1\n")
    Path("long.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,9,400000\n")
    Path("schema.json").write_text(json.dumps({"schema_version": "one"}))
    replace(profile_with_raw("strange"), raw=({"a": 1},)).save("strange.json")

    code, out, err = run(capsys, "calibrate", *words.split())

    assert (code, out) == (2, "")
    [line] = err.splitlines()
    assert line.startswith("saber: error: ")
    for text in named:
        assert text in line
    assert not Path("a.json").exists()
