"""`saber compare --leaderboard` and `--policies all` as a user types them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from policies.catalog import POLICIES
from sim.cli import main

ROOT = Path(__file__).parents[1]
BOARD = ["compare", "--leaderboard", "--cells", "quick", "--policies", "static(30), saber, edf"]
QUICK = [*BOARD, "--seeds", "2", "--oracle-seeds", "0", "--jobs", "1"]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(capsys, *argv):
    """Return exit code, stdout and stderr of one call in this process."""
    code = main([str(word) for word in argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def document_of(capsys, *argv):
    code, out, err = run(capsys, *argv, "--json")
    assert code == 0, err

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(out, parse_constant=refuse)


def write_trace(name, n=60):
    rows = [f"{2 * i},{50 + 7 * (i % 20)},{5 + i % 30}" for i in range(n)]
    Path(name).write_text("\n".join(["arrival_s,prompt_tokens,output_tokens", *rows]) + "\n")
    return name


def test_it_prints_tables_and_words_and_draws(capsys):
    code, out, err = run(capsys, *QUICK)

    assert code == 0, err
    assert "Goodput with 95 % interval over 2 seeds" in out
    for cell in ("W1 @ 8", "W3 @ 10", "W3 @ 10, bursts", "W3 @ 10, tenants"):
        assert cell in out
    assert "best static" in out
    assert "decision [us]" in out
    assert "Points of goodput gained when told wrong, over W1 @ 8; W3 @ 10" in out
    assert "SABER beats the best static size of a cell in" in out
    assert "after the fact" in out
    assert "--leaderboard-traces" in out  # how to add what can not be shipped
    assert Path("saber-leaderboard.png").read_bytes().startswith(b"\x89PNG")


def test_by_task_and_by_tenant(capsys):
    _, out, _ = run(capsys, *QUICK, "--by-task", "--no-figure")
    assert "W3 @ 10, tenants: goodput [%]" in out
    for column in ("code_translation", "code_qna", "large", "middle", "small"):
        assert column in out
    assert not Path("saber-leaderboard.png").exists()


def test_everything_goes_into_a_folder(capsys):
    code, _, _ = run(capsys, *QUICK, "--out", "found")
    assert code == 0
    assert sorted(path.name for path in Path("found").iterdir()) == [
        "goodput.csv",
        "labels.csv",
        "leaderboard.json",
        "leaderboard.png",
        "runs.parquet",
        "told_wrong.csv",
    ]
    goodput = pd.read_csv("found/goodput.csv")
    assert len(goodput) == 4 * 3
    assert goodput["goodput_pct"].between(0, 100).all()
    assert len(pd.read_parquet("found/runs.parquet")) == 4 * 3 * 2
    document = json.loads(Path("found/leaderboard.json").read_text())
    assert document["cells"][0]["cell"] == "W1 @ 8"


def test_the_document_does_not_depend_on_the_number_of_workers(capsys):
    one = document_of(capsys, *QUICK, "--no-figure")
    two = document_of(capsys, *QUICK[:-2], "--jobs", "2", "--no-figure")
    assert one["decision_us"].keys() == two["decision_us"].keys()
    one["decision_us"] = two["decision_us"] = None  # measured
    assert one == two
    assert one["figure"] is None
    assert one["configuration"]["cells"] == "quick"


def test_traces_are_added_at_three_rates(capsys):
    write_trace("my_code.csv")
    document = document_of(capsys, *QUICK, "--no-figure", "--leaderboard-traces", "my_code.csv")
    added = [cell for cell in document["cells"] if cell["cell"].startswith("code @ ")]
    assert len(added) == 3
    assert all("60 requests in a row" in cell["group"] for cell in added)
    assert all("SLAs 3 times the unloaded latency" in cell["group"] for cell in added)
    _, out, _ = run(capsys, *QUICK, "--no-figure", "--leaderboard-traces", "my_code.csv")
    assert "can not be shipped" not in " ".join(out.split())


def test_all_policies_can_be_compared(capsys):
    code = main(
        ["compare", "--policies", "all", "--n", "15", "--seeds", "2", "--no-figure", "--json"]
    )
    captured = capsys.readouterr()
    assert code == 0, captured.err
    names = [row["policy"] for row in json.loads(captured.out)["rows"]]
    assert len(names) == len(POLICIES) - 1 + 10
    assert {name for name in POLICIES if name != "static"} <= set(names)
    assert [n for n in names if n.startswith("static")] == [
        f"static(max_num_seqs={size})" for size in range(10, 101, 10)
    ]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([*QUICK, "--rps", "5"], "--rps has no effect with --leaderboard"),
        ([*QUICK, "--workload", "W1"], "--workload has no effect with --leaderboard"),
        ([*QUICK, "--router", "random"], "--router has no effect with --leaderboard"),
        ([*QUICK, "--cells", "some"], "cells 'some': expected full or quick"),
        ([*QUICK, "--seeds", "0"], "'0': expected a whole number of at least 1"),
        ([*QUICK, "--jobs", "0"], "jobs=0: expected at least 1"),
        ([*QUICK, "--policies", "nobody"], "unknown policy 'nobody'"),
        ([*QUICK, "--policies", "static(8)"], "static sizes only"),
        ([*QUICK, "--figure", "a.txt"], "expected a name that ends in .png"),
        ([*QUICK, "--leaderboard-traces", "a.csv,,b.csv"], "files separated by single commas"),
        ([*QUICK, "--leaderboard-traces", "none.csv"], "none.csv"),
        ([*QUICK, "--profile", "paper-qwen2.5-coder-3b*2"], "2 replicas with --leaderboard"),
        ([*QUICK, "--client-overhead-s", "60"], "no request can meet its SLA"),
        ([*QUICK, "--by-task", "--json"], "--by-task has no effect with --json"),
        (["compare", "--cells", "quick"], "--cells has no effect without --leaderboard"),
        (["compare", "--out", "x"], "--out has no effect without --leaderboard"),
        (["compare", "--oracle-seeds", "0"], "--oracle-seeds has no effect without"),
        (["compare", "--policies", "all, saber"], "policy saber is given 2 times"),
    ],
)
def test_what_can_not_be_meant_is_one_line_and_exit_2(capsys, argv, message):
    code, out, err = run(capsys, *argv)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert not Path("saber-leaderboard.png").exists()


def test_out_must_be_a_folder(capsys):
    Path("file").write_text("mine")
    code, _, err = run(capsys, *QUICK, "--out", "file")
    assert code == 2
    assert "expected a folder" in err
    assert Path("file").read_text() == "mine"


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_interrupted_it_leaves_nothing_half_written(jobs):
    started = subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "sim.cli", *BOARD, "--seeds", "3000", "--jobs", jobs),
            *("--oracle-seeds", "0", "--out", "found"),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline_s = time.monotonic() + 60
    while not Path("found").is_dir() and time.monotonic() < deadline_s:
        time.sleep(0.1)
    time.sleep(3)
    os.killpg(started.pid, signal.SIGINT)
    out, err = started.communicate(timeout=60)
    assert started.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert list(Path("found").iterdir()) == []
