"""Sweeps as a whole: killed and resumed, failed and tried again, changed and gone on with."""

import json
import os
import random
import signal
import sys
import time
from itertools import pairwise

import pyarrow.parquet as pq
import pytest
from sweep_cases import GRID, killed, saber, said, started, swept, written

from sim.simulation import simulate
from traces.workloads import workload

SLOW = """
n = 40
rps = [5, 10]
policy = ["static(16)", "slow_of_the_tests:slow"]
seeds = 15
"""
SLOWLY = """
import time
from itertools import pairwise

def slow(view):
    time.sleep(0.004)
    return list(view.queue)
"""


def rows(folder, out="results"):
    return pq.read_table(folder / out / "cells.parquet").to_pylist()


def test_a_row_is_what_the_run_gives(tmp_path):
    from calibrate.library import load_profile

    swept(tmp_path, 'n = 30\nrps = 8\nworkload = "W1"\npolicy = "static(16)"\nfirst_seed = 4')
    [row] = rows(tmp_path)

    profile = load_profile("paper-qwen2.5-coder-3b")
    summary = simulate(workload("W1", 8, 30, 4), profile, "static(16)", seed=4).summary()
    assert row["goodput_pct"] == summary["goodput_pct"]
    assert row["ttft_s.p99"] == summary["ttft_s"]["p99"]
    assert row["statuses.finished"] == 30
    assert row["warnings"] == summary["warnings"]
    assert (row["workload"], row["rps"], row["n"], row["seed"]) == ("W1", 8.0, 30, 4)
    assert (row["policy"], row["max_num_seqs"]) == ("static(max_num_seqs=16)", 16)


def test_fleets_with_prices_and_options_with_parts_reach_the_run(tmp_path):
    text = """
    n = 30
    fleet = "paper-qwen2.5-coder-3b*1@2, roofline-h100-qwen2.5-coder-7b*2@3"
    router = "least-requests"
    failures = ["none", "at(1, replica=0, for_s=1)"]
    [clients]
    timeout_s = 0.5
    retries = 2
    """
    report = swept(tmp_path, text)

    assert not report.failures
    calm, failing = rows(tmp_path)
    assert calm["router"] == "least-requests"
    assert calm["fleet"] == ("paper-qwen2.5-coder-3b*1@2, roofline-h100-qwen2.5-coder-7b*2@3")
    assert calm["attempts"] > 30
    assert calm["statuses.timed_out"] > 0
    assert "failures" in failing


def test_a_cell_that_raises_is_recorded_and_tried_again(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    text = 'n = 10\npolicy = ["static(8)", "poison_of_the_tests:raises", "static(9)"]'
    report = swept(tmp_path, text)

    assert (report.ran, report.cells) == (2, 3)
    [failure] = report.failures
    assert failure.cell.setting["policy"] == "poison_of_the_tests:raises"
    assert "RuntimeError: no way" in failure.error
    [kept] = (tmp_path / "results" / "_failed.jsonl").read_text().splitlines()
    assert json.loads(kept)["key"] == failure.cell.key
    again = swept(tmp_path, text)
    assert (again.skipped, again.ran, len(again.failures)) == (2, 0, 1)
    fewer = swept(tmp_path, 'n = 10\npolicy = ["static(8)", "static(9)"]')
    assert (fewer.skipped, fewer.ran, fewer.failures) == (2, 0, ())
    assert not (tmp_path / "results" / "_failed.jsonl").exists()


def test_a_changed_grid_keeps_what_it_shares_with_the_last(tmp_path):
    first = swept(tmp_path, 'n = 10\npolicy = ["static(8)", "static(9)"]\nseeds = 3')
    second = swept(tmp_path, 'n = 10\npolicy = ["static(9)", "static(10)"]\nseeds = 4')

    assert (first.ran, first.outside) == (6, 0)
    assert (second.skipped, second.ran, second.outside) == (3, 5, 3)
    assert len(rows(tmp_path)) == 8
    back = swept(tmp_path, 'n = 10\npolicy = ["static(8)", "static(9)"]\nseeds = 3')
    assert (back.skipped, back.ran, back.outside) == (6, 0, 5)


def test_progress_is_told_and_ends_with_all(tmp_path):
    told = []
    report = swept(tmp_path, GRID, on_progress=told.append)

    assert told[-1].done == report.ran == 64
    assert told[-1].left_s == 0
    assert all(0 <= a.done <= b.done for a, b in pairwise(told))
    assert len(told) < 64  # in batches
    assert 0.5 < report.busy <= 1


@pytest.mark.slow
def test_killed_again_and_again_and_resumed_it_ends_as_if_nothing_had_happened(tmp_path):
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    for folder in (whole, resumed):
        folder.mkdir()
        written(folder, SLOW)
        (folder / "slow_of_the_tests.py").write_text(SLOWLY)
    words = ("sweep", "grid.toml", "--jobs", "2", "--out", "results", "--json")
    code, out, err = saber(*words, cwd=whole)
    assert code == 0, err
    assert json.loads(out)["ran"] == 60

    rng = random.Random(5)
    unsorted = resumed / "results" / "_unsorted"
    kills, before = 0, 0
    while True:
        process = started(*words, "--resume", cwd=resumed)
        # When something new is kept, at any moment of what follows; a run that ends first ends it.
        while process.poll() is None and len(list(unsorted.glob("*.jsonl"))) <= before:
            time.sleep(0.01)
        if kills == 4:
            process.wait()
        time.sleep(rng.uniform(0, 1.5))
        if process.poll() is not None:
            break
        killed(process)
        kills += 1
        files = sorted(unsorted.glob("*.jsonl"))
        kept = [json.loads(line)["key"] for f in files for line in f.read_text().splitlines()]
        assert len(kept) == len(set(kept))
        before = len(files)

    out, err = said(resumed)
    assert process.returncode == 0, err
    assert kills >= 2
    document = json.loads(out)
    assert document["skipped"] + document["ran"] == 60
    assert len({row["key"] for row in rows(resumed)}) == 60
    one, other = (folder / "results" / "cells.parquet" for folder in (whole, resumed))
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no process has a new parent there")
def test_workers_do_not_outlive_the_process_they_work_for(tmp_path):
    written(tmp_path, SLOW)
    signed = "\nimport os, pathlib\npathlib.Path(f'{os.getpid()}.worker').touch()\n"
    (tmp_path / "slow_of_the_tests.py").write_text(SLOWLY + signed)
    process = started("sweep", "grid.toml", "--jobs", "2", cwd=tmp_path)
    workers: set[int] = set()
    while len(workers) < 2:
        assert process.poll() is None, said(tmp_path)
        time.sleep(0.05)
        workers = {int(path.stem) for path in tmp_path.glob("*.worker")} - {process.pid}
    process.kill()
    process.wait()

    for _ in range(100):
        if not any(_is_there(worker) for worker in workers):
            break
        time.sleep(0.1)
    else:
        killed(process)
        pytest.fail("workers are still there after 10 s")


def _is_there(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_an_interrupt_keeps_what_is_finished_and_says_so(tmp_path):
    written(tmp_path, SLOW)
    (tmp_path / "slow_of_the_tests.py").write_text(SLOWLY)
    words = ("sweep", "grid.toml", "--jobs", "2", "--out", "results")
    process = started(*words, cwd=tmp_path)
    while not list((tmp_path / "results").glob("_unsorted/*.jsonl")) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    err = said(tmp_path)[1]
    assert "Traceback" not in err
    assert "of 60 cells are finished and kept" in err
    kept = len(rows(tmp_path))
    assert 0 < kept < 60
    code, out, _ = saber(*words, "--resume", cwd=tmp_path)
    assert code == 0
    assert f"{60 - kept} of 60 cells run" in out
    assert len(rows(tmp_path)) == 60


@pytest.mark.slow
def test_two_sweeps_do_not_share_a_folder(tmp_path):
    written(tmp_path, SLOW)
    (tmp_path / "slow_of_the_tests.py").write_text(SLOWLY)
    words = ("sweep", "grid.toml", "--jobs", "1", "--out", "results")
    first = started(*words, cwd=tmp_path)
    try:
        while not (tmp_path / "results" / "_unsorted").exists() and first.poll() is None:
            time.sleep(0.02)
        code, _, err = saber(*words, "--resume", cwd=tmp_path)
        assert code == 2
        assert f"results is in use by another sweep (process {first.pid})" in err
    finally:
        killed(first)
