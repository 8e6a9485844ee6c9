"""A run on disk is the run that was made."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from calibrate import load_profile
from sim import Replica, simulate
from sim.breakdown import breakdown
from sim.cluster.failures import parse_failures
from sim.options import OptionError
from sim.runfile import read_run, run_of
from traces import workload

PROFILE = load_profile("paper-qwen2.5-coder-3b")
H100 = load_profile("roofline-h100-qwen2.5-coder-7b")


def test_there_and_back(tmp_path):
    trace = workload("W3", rps=10, n=80, seed=2)
    r = simulate(
        trace,
        [Replica(PROFILE, 2, 1.5), Replica(H100, 1, 4.0)],
        "saber",
        seed=2,
        kv_tokens=9000,
        max_model_len=700,
        failures=parse_failures("at(3, 0, 2)"),
        timeline=True,
    )
    r.save(tmp_path / "a.parquet", {"trace": "mine"})
    kept = read_run(tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(kept.requests, r.requests)
    summary = r.summary()
    assert kept.summary["goodput_pct"] == summary["goodput_pct"]
    assert kept.summary["ttft_s"] == summary["ttft_s"]
    assert kept.summary["warnings"] == summary["warnings"]
    assert kept.groups["task"] == breakdown(r, "task")
    assert kept.policy == r.policy
    assert kept.configuration["trace"] == "mine"
    assert kept.configuration["options"]["max_model_len"] == 700
    assert [(p.name, count, price) for p, count, price in kept.fleet] == [
        (PROFILE.name, 2, 1.5),
        (H100.name, 1, 4.0),
    ]
    assert kept.reasons == r.ledger.reason
    assert kept.reasons  # something is refused, so that this says something
    assert np.array_equal(kept.timeline.kv_blocks, r.timeline.kv_blocks)
    in_memory = run_of(r, {"trace": "mine"}, "a")
    assert in_memory.configuration == kept.configuration
    assert in_memory.reasons == kept.reasons


def test_alone_on_an_idle_replica_it_takes_what_is_said():
    trace = workload("W3", rps=10, n=30, seed=0)
    slow = trace.replace(arrival_s=np.arange(30) * 100.0)
    for discipline in ("prefill-first", "chunked"):
        r = simulate(slow, PROFILE, "static(8)", discipline=discipline)
        took_s = r.requests["finished_s"] - r.requests["arrival_s"]
        assert run_of(r).unloaded_s() == pytest.approx(took_s.to_numpy(), rel=1e-9)


def test_what_is_no_run_is_one_line(tmp_path):
    with pytest.raises(OptionError, match="there is no such file"):
        read_run(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("nothing of the kind")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "other.parquet")
    for name in ("text.parquet", "other.parquet"):
        with pytest.raises(OptionError, match=r"this is no run; expected .*--out RUN.parquet") as e:
            read_run(tmp_path / name)
        assert "\n" not in str(e.value)


def test_the_same_run_is_the_same_file(tmp_path):
    for name in ("a", "b"):
        r = simulate(workload("W1", rps=8, n=50, seed=0), PROFILE, "saber", timeline=True)
        r.save(tmp_path / f"{name}.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
