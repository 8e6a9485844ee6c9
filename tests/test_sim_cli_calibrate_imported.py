"""`saber calibrate imported` as a user types it."""

import json
import shutil
from pathlib import Path

import pytest
from imported_cases import TRUE, USUAL, simulated, vllm_document

from calibrate.library import load_profile
from sim.cli import main

RESULTS = Path(__file__).parent / "fixtures" / "results"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of result files, as a user would save them."""
    folder = tmp_path_factory.mktemp("results")
    for i, run in enumerate(USUAL):
        (folder / f"{i}.json").write_text(json.dumps(vllm_document(run, simulated(run))))
    return folder


@pytest.fixture
def here(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return sorted(folder.glob("*.json"))


def run(capsys, *argv):
    code = main([str(word) for word in argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_results_become_a_profile_that_says_what_it_is(capsys, here):
    code, out, err = run(capsys, "calibrate", "imported", *here)
    assert code == 0, err
    assert "model-1b-imported.json" in out
    assert "Decode steps from gaps: batches 1," in out
    assert "Client overhead: 1.4" in out
    profile = load_profile("model-1b-imported.json")
    assert profile.cost.decode_s(4, 2000) == pytest.approx(TRUE.cost.decode_s(4, 2000), rel=0.01)


def test_one_json_document_with_runs_and_profile(capsys, here):
    code, out, err = run(
        capsys, "calibrate", "imported", *here, "--json", "--out", "deep/p.json",
        "--kv-tokens", "5000", "--discipline", "prefill-first", "--model", "mine",
    )  # fmt: skip
    assert code == 0, err
    document = json.loads(out)
    assert document["path"] == "deep/p.json"
    assert [each["concurrency"] for each in document["runs"]] == [1, 1, 1, 4, 16, 16]
    assert all(each["loads_known"] for each in document["runs"])
    assert document["profile"]["name"] == "mine-imported"
    assert document["profile"]["kv_tokens"] == 5000
    assert document["profile"]["discipline"] == "prefill-first"
    assert load_profile("deep/p.json").kv_tokens == 5000


def test_its_speeds_are_taken_by_calibrate_speed(capsys, here):
    assert run(capsys, "calibrate", "imported", *here, "--out", "p.json")[0] == 0
    code, out, _ = run(capsys, "calibrate", "speed", "p.json", "--json")
    assert code == 0
    assert json.loads(out)["points_source"].startswith("speed of each imported request")


@pytest.mark.parametrize("name", ["vllm-statistics.json", "guidellm-0.8.json"])
def test_too_little_is_bad_input_in_one_line(capsys, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    shutil.copy(RESULTS / name, "r.json")
    code, out, err = run(capsys, "calibrate", "imported", "r.json")
    assert (code, out) == (2, "")
    assert err.startswith("saber: error: prompts of 0 length(s)")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == [tmp_path / "r.json"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["nowhere.json"], "nowhere.json: cannot read the results"),
        ([], "Missing argument"),
        (["x", "--kv-tokens", "0"], "expected a whole number of at least 1"),
        (["x", "--discipline", "fifo"], "--discipline is 'fifo', expected one of prefill-first"),
        (["x", "--out", "."], "is a folder"),
    ],
)
def test_mistakes_are_bad_input(capsys, tmp_path, monkeypatch, words, complaint):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, "calibrate", "imported", *words)
    assert code == 2
    assert complaint in err
