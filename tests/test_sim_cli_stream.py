"""`saber run --stream`: the same answers, batch by batch, and nothing without effect."""

import json
from pathlib import Path

import pandas as pd
import pytest

from sim.cli import main
from sim.streaming.histogram import RELATIVE_ERROR
from traces.formats import save
from traces.workloads import workload


@pytest.fixture(autouse=True)
def trace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(workload("W3", rps=6, n=200, seed=0), "trace.csv")


def run(capsys, *words):
    """Return exit code, stdout and stderr."""
    code = main(["run", "--trace", "trace.csv", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_it_answers_as_without(capsys):
    words = ["--sla", "unloaded*3", "--rate-scale", "1.5", "--replicas", "2", "--json"]
    words += ["--router", "least-tokens"]
    _, whole, _ = run(capsys, *words, "--out", "whole.parquet")
    code, stream, err = run(capsys, *words, "--stream", "--out", "stream.parquet")
    assert code == 0
    assert "200 requests written to stream.parquet" in err
    assert "percentiles are within 0.098 % of exact ones" in err
    whole, stream = json.loads(whole), json.loads(stream)
    assert stream["configuration"].pop("stream") is True
    assert whole["configuration"].pop("n") == 200
    assert stream["configuration"] == whole["configuration"]
    assert stream["goodput_pct"] == whole["goodput_pct"]
    assert stream["utilisation"] == whole["utilisation"]
    assert stream["warnings"] == whole["warnings"]
    assert stream["e2e_s"]["p99"] == pytest.approx(whole["e2e_s"]["p99"], rel=RELATIVE_ERROR)
    assert stream["by_task"] is None
    rows = pd.read_parquet("stream.parquet").sort_values("id", ignore_index=True)
    same = ["arrival_s", "first_token_s", "finished_s", "replica", "met", "sla_s"]
    pd.testing.assert_frame_equal(rows[same], pd.read_parquet("whole.parquet")[same])


def test_it_prints_a_table(capsys):
    code, out, _ = run(capsys, "--stream", "--replicas", "2")
    assert code == 0
    assert "trace.csv, batch by batch, under saber" in out
    assert "200 finished" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rps", "3"], "--rps 3.0 has no effect with --stream"),
        (["--n", "3"], "--n 3 has no effect with --stream"),
        (["--workload", "W1"], "--workload W1 has no effect with --stream"),
        (["--timeout-s", "3"], "clients needs the trace in one piece"),
        (["--sla", "0.001"], "no request can meet its SLA"),
        (["--sla", "codd=3"], "no SLA given for task 'code_qna'"),
        (["--kv-tokens", "300"], "requests can never fit the KV cache"),
        (["--policy", "static(3)", "--seed", "2"], "--seed 2 has no effect"),
    ],
)
def test_what_it_cannot_mean_is_one_line(capsys, words, message):
    code, out, err = run(capsys, "--stream", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1


def test_without_a_trace_it_has_no_effect(capsys):
    assert main(["run", "--stream"]) == 2
    assert "--stream has no effect without --trace" in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["trace.csv"]


def test_requests_that_never_fit_are_counted_where_that_is_allowed(capsys):
    code, out, _ = run(capsys, "--stream", "--kv-tokens", "300", "--allow-refused", "--json")
    assert code == 0
    assert json.loads(out)["statuses"]["refused"] > 0
