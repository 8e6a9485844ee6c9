"""`saber calibrate gpu` as a user types it, on a bench whose cost is known."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from bench_cases import CostBench

from calibrate.library import load_profile
from sim.cli import main

CPU = ("calibrate", "gpu", "--model", "tiny", "--device", "cpu", "--quick", "--out", "p.json")


@pytest.fixture(autouse=True)
def bench(tmp_path, monkeypatch):
    """Stand in for PyTorch in an empty folder; `given` is what the bench was opened for."""
    monkeypatch.chdir(tmp_path)
    bench = CostBench()

    def opened(model, dtype, options):
        bench.given = {"model": model.name, **asdict(options), "dtype": dtype}
        return bench

    monkeypatch.setattr("calibrate.gpu._torch_bench", lambda: opened)
    return bench


def test_it_measures_shows_the_error_and_names_the_next_step(capsys):
    assert main(CPU) == 0
    out = capsys.readouterr().out
    profile = load_profile("p.json")
    for kind in ("decode", "prefill", "chunk", "mixed"):
        assert any(line.split()[0] == kind for line in out.splitlines() if line.split())
    assert f"{profile.kv_tokens:,} tokens" in out
    assert "Caveat: kernel-only" in out
    assert "Next: saber calibrate show p.json" in out
    assert "--resume" not in out


def test_every_option_reaches_the_measurement(bench):
    words = ("--dtype", "bf16", "--threads", "2", "--seed", "5",
             "--engine-overhead-s", "0.002", "--engine-overhead-request-s", "1e-4",
             "--engine-overhead-source", "guessed")  # fmt: skip
    assert main([*CPU, *words, "--budget", "8m"]) == 0
    expected = {
        "model": "tiny", "config": None, "device": "cpu", "dtype": "bf16", "quick": True,
        "budget_s": 480.0, "out": Path("p.json"), "resume": False, "gpu_memory_utilization": None,
        "engine_overhead_s": 0.002, "engine_overhead_request_s": 1e-4,
        "engine_overhead_source": "guessed", "threads": 2, "seed": 5,
    }  # fmt: skip
    assert bench.given == expected
    assert main(["calibrate", "gpu", "--model", "tiny", "--gpu-memory-utilization", "0.5"]) == 0
    assert bench.given["gpu_memory_utilization"] == 0.5
    assert (bench.given["device"], bench.given["quick"]) == ("cuda", False)
    assert Path("tiny-cuda-bf16.json").exists()


def test_json_has_the_profile_and_nothing_else_is_on_stdout(capsys):
    assert main([*CPU, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["path"], document["complete"]) == ("p.json", True)
    assert document["profile"]["name"] == load_profile("p.json").name


def test_a_budget_that_ended_first_is_gone_on_from(capsys, monkeypatch):
    clock = iter(range(100_000))
    with monkeypatch.context() as patch:
        patch.setattr("calibrate.gpu.time.monotonic", lambda: next(clock))
        assert main([*CPU, "--budget", "40s"]) == 0
    assert "--resume goes on from p.json.partial" in capsys.readouterr().out
    assert main(CPU) == 2
    assert "go on with --resume" in capsys.readouterr().err
    assert main([*CPU, "--resume"]) == 0
    assert not Path("p.json.partial").exists()


def test_an_interruption_says_how_to_go_on(bench, capsys):
    def interrupt(step):
        raise KeyboardInterrupt

    bench.before = interrupt
    assert main(CPU) == 130
    assert "go on with --resume" in capsys.readouterr().err
