"""`saber plan` as a user types it: what it prints, draws and answers, and with which exit code."""

import json
from pathlib import Path

import numpy as np
import pytest

from sim.cli import main

QUICK = ["plan", "--n", "80", "--rps", "30", "--seeds", "4", "--jobs", "1", "--policies", "saber"]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def trace():
    rng = np.random.default_rng(1)
    rows = [
        f"{at:.3f},{rng.integers(50, 400)},{rng.integers(5, 60)}"
        for at in np.cumsum(rng.exponential(0.1, 150))
    ]
    Path("day.csv").write_text("\n".join(["arrival_s,prompt_tokens,output_tokens", *rows]) + "\n")
    return "day.csv"


def run(capsys, *argv):
    code = main([str(word) for word in argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def json_of(capsys, *argv, code=0):
    found, out, err = run(capsys, *argv, "--json", "--no-figure")
    assert found == code, err
    return json.loads(out, parse_constant=pytest.fail)


def test_table_sentences_and_figure(capsys):
    code, out, err = run(capsys, *QUICK, "--price", "2.5")

    assert code == 0
    assert "W3 at 30 requests/s, 80 requests, poisson" in out
    assert "To keep goodput>=95%:" in out
    assert "an hour" in out
    assert "With one more" in out
    assert "no interval for the profile" in out
    assert Path("saber-plan.png").read_bytes().startswith(b"\x89PNG")
    assert "figure written to saber-plan.png" in err


def test_defaults_hold_saber_beside_the_best_static_size(capsys):
    words = [word for word in QUICK if word not in ("--policies", "saber")]
    report = json_of(capsys, *words)

    assert [a["size_was_searched"] for a in report["answers"]] == [False, True]
    [pair] = report["pairs"]
    assert pair["profile"] == "paper-qwen2.5-coder-3b"
    assert set(pair["difference"]) == {"mean", "low", "high"}


def test_a_recorded_trace_is_redrawn_and_scaled(capsys, trace):
    report = json_of(
        capsys, "plan", "--trace", trace, "--policies", "saber", "--jobs", "1",
        "--goodput", "ttft:100", "tpot:30", "--target-percentile", "90",
    )  # fmt: skip

    assert report["target"]["text"] == "goodput>=90%"
    assert report["seeds"] == 5
    assert report["configuration"]["goodput_ms"] == {"ttft": 100.0, "tpot": 30.0}
    [answer] = report["answers"]
    assert answer["reachable"]
    assert answer["rate"]["rps"] > 0
    assert 8 < report["rate_rps"] < 12
    assert answer["given"]["conditions"]["goodput"]["low"] is not None


def test_latencies_need_no_sla(capsys, trace):
    report = json_of(
        capsys, "plan", "--trace", trace, "--target", "ttft_p95<=200ms,e2e_mean<=3", "--jobs", "1",
        "--policies", "static(32)", "--replicas", "2",
    )  # fmt: skip

    [answer] = report["answers"]
    assert answer["policy"] == "static(max_num_seqs=32)"
    assert set(answer["given"]["conditions"]) == {"ttft_p95", "e2e_mean"}
    assert answer["given"]["goodput_pct"] is None
    assert answer["given"]["price_per_1000_met"] is None
    assert answer["given"]["replicas"] == {"paper-qwen2.5-coder-3b": 2}
    assert answer["rate"]["replicas"] == 2


def test_several_profiles_and_prices(capsys):
    report = json_of(
        capsys, *QUICK, "--profile", "paper-qwen2.5-coder-3b,roofline-h200-qwen2.5-coder-7b",
        "--price", "2, 9", "--router", "least-requests",
    )  # fmt: skip

    assert report["configuration"]["prices_per_h"] == [2.0, 9.0]
    assert {a["profile"] for a in report["answers"]} == {
        "paper-qwen2.5-coder-3b",
        "roofline-h200-qwen2.5-coder-7b",
    }
    prices = [a["replicas"]["price_per_h"] for a in report["answers"] if a["reachable"]]
    assert report["best"]["price_per_h"] == min(prices)
    assert set(report["mix"]) == {"policy", "candidates", "tried", "left", "look"}
    assert any("roofline" in warning for warning in report["warnings"])


def test_exit_code_1_where_nothing_reaches_the_target(capsys):
    code, out, _ = run(capsys, *QUICK, "--rps", "300", "--max-replicas", "2", "--no-figure")

    assert code == 1
    assert "Nothing here reaches goodput>=95%." in out
    assert "with 2 replicas goodput is" in out

    report = json_of(capsys, *QUICK, "--target", "e2e_p50<=1ms", code=1)
    assert report["best"] is None
    assert "even alone on an idle replica" in report["answers"][0]["reason"]


def test_an_sla_no_request_can_meet_is_bad_input(capsys):
    code, _, err = run(capsys, *QUICK, "--sla", "0.001", "--no-figure")

    assert code == 2
    assert "no request can meet its SLA" in err
    # It says nothing about latencies.
    code, _, err = run(capsys, *QUICK, "--sla", "0.001", "--target", "ttft_p99<=5", "--no-figure")
    assert code == 0


def test_a_kind_that_cannot_hold_the_requests_is_left_out(capsys):
    profiles = "paper-qwen2.5-coder-3b,roofline-l4-qwen2.5-coder-7b"
    code, out, err = run(capsys, *QUICK, "--profile", profiles, "--no-figure")

    assert code == 0
    assert "left out: roofline-l4" in err
    assert "roofline-l4" not in out


def test_a_trace_of_one_instant_has_no_rate(capsys):
    Path("one.csv").write_text("arrival_s,prompt_tokens,output_tokens\n1,10,5\n1,10,5\n")
    code, _, err = run(capsys, "plan", "--trace", "one.csv", "--target", "ttft_p99<=1")

    assert code == 2
    assert "a plan needs a rate" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target", "quick"], "expected goodput>=95%"),
        (["--target", "goodput>=95%", "--target-percentile", "99"], "both set the goodput"),
        (["--target-percentile", "0"], "above 0"),
        (["--target", "ttft_p99<=1", "--goodput", "ttft:100"], "--goodput has no effect"),
        (["--price", "1,2"], "2 prices for 1 profiles"),
        (["--price", "cheap"], "--price 'cheap'"),
        (["--price", "-1"], "price_per_h=-1.0"),
        (["--profile", "a,,b"], "expected NAME"),
        (["--profile", "paper-qwen2.5-coder-3b,paper-qwen2.5-coder-3b"], "twice"),
        (["--profile", "nobody"], "there is no profile 'nobody'"),
        (["--policies", "sabre"], "did you mean 'saber'"),
        (["--policies", "static,static"], "static is given 2 times"),
        (["--policies", "static", "--max-num-seqs", "8"], "both set the batch size"),
        (["--confidence", "30"], "from 50"),
        (["--confidence", "95", "--seeds", "1"], "raise --seeds"),
        (["--jobs", "0"], "jobs=0"),
        (["--seeds", "0"], "at least 1"),
        (["--max-replicas", "0"], "at least 1"),
        (["--replicas", "none"], "at least 1"),
        (["--router", "nobody"], "router"),
        (["--figure", "plan.txt"], "ends in .png"),
        (["--trace", "missing.csv"], "--n 80 has no effect with --trace"),
        (["--skip-bad"], "no effect without --trace"),
    ],
)
def test_what_cannot_be_meant_is_one_line(capsys, words, message):
    drawn = [] if "--figure" in words else ["--no-figure"]
    code, out, err = run(capsys, *QUICK, *drawn, *words)

    assert code == 2
    assert out == ""
    errors = [line for line in err.splitlines() if "error:" in line]
    assert len(errors) == 1
    assert message in errors[0]


def test_goodput_over_no_sla_says_what_to_do(capsys, trace):
    code, _, err = run(capsys, "plan", "--trace", trace)

    assert code == 2
    assert "no request has an SLA: give one with --sla" in err
