"""A trace read in batches is simulated as it would be in one piece, in memory that stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrate import load_profile
from sim import underway
from sim.fleet import Replica
from sim.histogram import RELATIVE_ERROR
from sim.options import OptionError
from sim.simulation import simulate
from sim.stream import simulate_stream
from traces.batches import load_batches
from traces.formats import save
from traces.request import Trace
from traces.workloads import workload

if TYPE_CHECKING:
    from pathlib import Path

    from sim.stream import StreamResult

PROFILE = load_profile("paper-qwen2.5-coder-3b")
TIGHT = {"kv_tokens": 6_000}
INEXACT = ("ttft_s", "tpot_s", "itl_s", "e2e_s")


def made(n: int = 300, seed: int = 0, **columns) -> Trace:
    """Return requests of which many arrive at one instant; some have no task, some no SLA."""
    rng = np.random.default_rng(seed)
    arrival = np.sort(rng.integers(0, 1 + n // 3, n) / 4)
    sla = np.where(rng.random(n) < 0.1, np.nan, rng.uniform(0.5, 20, n))
    names = np.array(["code", "chat", None], dtype=object)
    return Trace(
        arrival,
        rng.integers(1, 2500, n),
        rng.integers(1, 60, n),
        sla_s=sla,
        task=names[rng.integers(0, 3, n)].tolist(),
        **columns,
    )


def cut(trace: Trace, rows: int) -> list[Trace]:
    return [trace[start : start + rows] for start in range(0, len(trace), rows)]


def streamed(trace: Trace, rows: int, folder: Path, fleet=PROFILE, **options) -> StreamResult:
    return simulate_stream(cut(trace, rows), fleet, out=folder / "rows.parquet", **options)


def check_same(trace: Trace, rows: int, folder: Path, fleet=PROFILE, **options) -> None:
    whole = simulate(trace, fleet, **options)
    stream = streamed(trace, rows, folder, fleet, **options)
    found = pd.read_parquet(stream.out).sort_values("id", ignore_index=True)
    wanted = whole.requests
    for name in ("task", "status"):
        found[name] = found[name].astype(object)
        wanted[name] = wanted[name].astype(object)
    pd.testing.assert_frame_equal(found, wanted, check_exact=True)
    check_summary(stream.summary(), whole.summary())


def check_summary(found: dict, wanted: dict) -> None:
    assert found.pop("percentile_error_pct") == 100 * RELATIVE_ERROR
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        if name == "sla_ratio":
            close(found[name], value, rel=1e-9)
        elif name in INEXACT:
            close({"mean": found[name]["mean"]}, {"mean": value["mean"]}, rel=1e-12)
            close(found[name], value, rel=RELATIVE_ERROR)
        else:
            assert found[name] == value, name


def close(found: dict, wanted: dict, rel: float) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        if value is None:
            assert found[name] is None
        else:
            assert found[name] == pytest.approx(value, rel=rel, abs=1e-9), name


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """Let requests that have ended be accounted for again and again, not once."""
    monkeypatch.setattr(underway, "SETTLE_ROWS", 7)





def fcfs_two(view):
    from policies.protocol import Choice

    return Choice([each.id for each in view.queue][: max(0, 2 - view.in_engine)])


@pytest.mark.parametrize("policy", ["static(4)", "static(256)", "saber", fcfs_two])
@pytest.mark.parametrize("discipline", ["prefill-first", "chunked"])
def test_one_replica_short_of_memory(policy, discipline, tmp_path):
    options = {"policy": policy, "discipline": discipline}
    if policy != "static(4)":
        options["max_num_seqs"] = 32
    if policy == "static(256)":
        options.pop("max_num_seqs")
    check_same(made(), 50, tmp_path, kv_tokens=4_000, seed=3, **options)


@pytest.mark.parametrize(
    "router",
    ["round-robin", "random", "power-of-two", "least-requests", "least-tokens", "sla-slack",
     "affinity(key=session)", "affinity(key=tenant, spill=1.5)"],
)  # fmt: skip
def test_several_replicas_under_any_router(router, tmp_path):
    n = 300
    names = [f"s{i % 17}" for i in range(n)]
    trace = made(n, session=names, tenant=[f"t{i % 3}" for i in range(n)])
    check_same(trace, 64, tmp_path, replicas=4, router=router, kv_tokens=8_000, seed=5)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_however_it_is_cut(tmp_path_factory, data):
    n = data.draw(st.integers(1, 80))
    trace = made(n, seed=data.draw(st.integers(0, 99)))
    options = {
        "policy": data.draw(st.sampled_from(["static(3)", "saber", "static(64)"])),
        "kv_tokens": data.draw(st.sampled_from([2_600, 3_000, 100_000])),
        "jitter_cv": data.draw(st.sampled_from([0.0, 0.2])),
        "goodput_ms": data.draw(st.sampled_from([None, {"ttft": 900, "tpot": 30}])),
        "until_s": data.draw(st.sampled_from([None, 0.25, 5.0])),
        "replicas": data.draw(st.integers(1, 3)),
        "router": data.draw(st.sampled_from(["round-robin", "least-tokens"])),
    }
    if options["until_s"] is None:
        options["warmup_s"] = data.draw(st.sampled_from([0.0, float(trace.arrival_s[n // 2])]))
    rows = data.draw(st.integers(1, n + 5))
    check_same(trace, rows, tmp_path_factory.mktemp("run"), **options)


def test_kinds_of_replicas_with_prices(tmp_path):
    fleet = [Replica(PROFILE, 2, 1.5), Replica(load_profile("paper-qwen2.5-coder-3b"), 1, 0.5)]
    check_same(made(), 40, tmp_path, fleet, router="least-requests", max_model_len=2_000)
