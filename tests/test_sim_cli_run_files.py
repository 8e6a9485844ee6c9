"""`saber run` leaves files behind: the whole run, a trace for Perfetto, metrics for Prometheus."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sim.cli import main
from sim.runfile import read_run


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(capsys, *argv):
    code = main(["run", *argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_one_call_writes_all_of_them(capsys):
    code, out, err = run(
        capsys, "--timeline", "--out", "a/run.parquet", "--perfetto", "a/run.json.gz",
        "--metrics", "a/run.om", "--n", "30",
    )  # fmt: skip
    assert code == 0
    for name in ("run.parquet", "run.json.gz", "run.om"):
        assert f"30 requests written to a/{name}" in err
        assert Path("a", name).stat().st_size > 500
    assert "KV in use    mean" in out


def test_the_file_knows_how_it_was_made(capsys):
    code, _, _ = run(capsys, "--out", "run.parquet", "--policy", "static(8)", "--seed", "4", "--n",
                     "50", "--sla", "9", "--kv-tokens", "9000")  # fmt: skip
    assert code == 0
    kept = read_run(Path("run.parquet"))
    assert (kept.policy, kept.seed, kept.name) == ("static(max_num_seqs=8)", 4, "run")
    assert kept.configuration["workload"] == "W3"
    assert kept.configuration["sla"] == "9"
    assert kept.configuration["options"]["kv_tokens"] == 9000
    assert kept.timeline is None


def test_json_holds_the_timeline_that_was_asked_for(capsys):
    code, out, _ = run(capsys, "--timeline", "--json", "--n", "20", "--replicas", "2")
    assert code == 0
    line = json.loads(out)["timeline"]
    lengths = {
        len(row) for name in ("held", "waiting", "running", "kv_blocks") for row in line[name]
    }
    assert len(line["held"]) == 2
    assert len(lengths) == 1
    code, out, _ = run(capsys, "--json", "--n", "20")
    assert "timeline" not in json.loads(out)


def test_the_same_run_gives_the_same_bytes(capsys):
    words = ["--timeline", "--n", "40"]
    for name in "ab":
        files = ["--out", "run.parquet", "--perfetto", "run.json.gz", "--metrics", "run.om"]
        assert run(capsys, *words, *files)[0] == 0
        Path(name).mkdir()
        for path in Path().glob("run.*"):
            path.rename(Path(name) / path.name)
    for path in sorted(Path("a").iterdir()):
        assert path.read_bytes() == (Path("b") / path.name).read_bytes(), path.name


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--perfetto", "x.txt"], ["x.txt", ".json"]),
        (["--metrics", "x.txt"], ["x.txt", ".prom", ".om"]),
        (["--metrics", "x.om"], ["x.om", "--timeline"]),
        (["--perfetto", "a/"], ["a", ".json"]),
        (["--out", "x.json"], ["x.json", ".parquet"]),
    ],
)
def test_a_mistake_is_one_line(capsys, words, named):
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    for word in named:
        assert word in err


@pytest.mark.parametrize(
    "words", [["--perfetto", "x.json"], ["--metrics", "x.prom"], ["--timeline"]]
)
def test_a_stream_keeps_nothing_to_write(capsys, words):
    Path("t.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,100,20\n1,100,20\n")
    code, _, err = run(capsys, "--stream", "--trace", "t.csv", *words)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert "leave" in err
