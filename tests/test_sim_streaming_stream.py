"""A trace read in batches is simulated as it would be in one piece, in memory that stays."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrate import load_profile
from policies.protocol import Choice
from policies.static import Static
from sim.cluster.clients import Clients
from sim.cluster.failures import Failures, Outage
from sim.cluster.fleet import Replica
from sim.ledger import OpenLedger
from sim.options import OptionError
from sim.simulation import simulate
from sim.streaming import underway
from sim.streaming.histogram import RELATIVE_ERROR
from sim.streaming.stream import simulate_stream
from traces.batches import load_batches
from traces.formats import load, save
from traces.request import Trace
from traces.workloads import workload

if TYPE_CHECKING:
    from pathlib import Path

    from sim.streaming.stream import StreamResult

PROFILE = load_profile("paper-qwen2.5-coder-3b")
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


@settings(max_examples=40)
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


def test_kinds_that_differ_refuse_what_they_cannot_hold(tmp_path):
    profile = replace(PROFILE, kv_tokens=2_000)
    trace = made()
    check_same(trace, 30, tmp_path, [Replica(profile, 1), Replica(PROFILE, 1)])
    stream = streamed(trace, 30, tmp_path, [Replica(profile, 1), Replica(PROFILE, 1)])
    whole = simulate(trace, [Replica(profile, 1), Replica(PROFILE, 1)])
    assert stream.warnings == whole.warnings
    assert any("requests were refused; the first, request" in each for each in stream.warnings)


def test_a_file_is_run_from_file_to_file(tmp_path):
    save(made(), tmp_path / "trace.csv")
    batches = load_batches(tmp_path / "trace.csv", rows=20).with_sla("0.5+0.05*output")
    stream = simulate_stream(batches, PROFILE, out=tmp_path / "rows.csv")
    found = pd.read_csv(stream.out).sort_values("id", ignore_index=True)
    whole = simulate(load(tmp_path / "trace.csv").with_sla("0.5+0.05*output"), PROFILE)
    whole.save(tmp_path / "whole.csv")
    pd.testing.assert_frame_equal(found, pd.read_csv(tmp_path / "whole.csv"), check_exact=True)
    assert stream.submitted == whole.submitted == len(found) == 300


def test_memory_holds_what_is_under_way_and_no_more(monkeypatch):
    """Twice the requests, but as many at one time."""
    known: list[int] = []
    settle = underway.Clerk._settle

    def watched(self, ids):
        columns = vars(self._underway).values()
        book = [getattr(self._underway.ledger, name) for name in OpenLedger.__slots__]
        sized = [each for each in (*columns, *book) if isinstance(each, dict)]
        arrays = [each for a in self.summary._accounts for each in (a.gaps, a.busy_ps)]
        known.append(max(map(len, (*sized, *arrays))))
        settle(self, ids)

    monkeypatch.setattr(underway.Clerk, "_settle", watched)
    most = []
    for n in (2_000, 4_000):
        simulate_stream(cut(workload("W1", rps=4, n=n, seed=0), 500), PROFILE, "saber")
        most.append(max(known))
        known.clear()
    assert most[0] <= most[1] < 1_000


def test_policies_are_told_the_mean_context_of_the_whole_trace():
    told = []

    class Curious(Static):
        def start(self, rng, profile):
            told.append(profile.mean_context_tokens)
            return super().start(rng, profile)

    trace = made()
    simulate(trace, PROFILE, Curious(8))
    for rows in (1, 13, 300):
        simulate_stream(cut(trace, rows), PROFILE, Curious(8))
    assert told == [told[0]] * 4


def test_work_of_the_warm_up_that_lasts_until_later_counts_as_busy(tmp_path, monkeypatch):
    monkeypatch.setattr(underway, "SETTLE_ROWS", 1)
    # Replica 0 works on the first beyond all that has ended and counts; the second lasts longer.
    trace = Trace([0, 1, 2, 20, 21, 22], [10] * 6, [300, 4_000, 5, 5, 5, 5])
    whole = simulate(trace, PROFILE, replicas=2)
    assert whole.requests.finished_s[0] > 1.5
    check_same(trace, 1, tmp_path, replicas=2, warmup_s=0.5)


def test_no_file_is_left_when_a_run_fails(tmp_path):
    def broken(view):
        if view.now_s > 10:
            raise ValueError("no")
        return view.queue

    with pytest.raises(ValueError, match="no"):
        simulate_stream(cut(made(), 50), PROFILE, broken, out=tmp_path / "rows.parquet")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clients": Clients(timeout_s=3)}, "clients needs the trace in one piece"),
        ({"failures": Failures((Outage(1.0, 0, 1.0),))}, "failures needs the trace in one piece"),
        ({"prefix_caching": True}, "prefix_caching needs the trace in one piece"),
        ({"startup_s": 3}, "startup_s needs the trace in one piece"),
        ({"warmup_s": 1e5}, "warmup_s=100000 is after the last arrival"),
        ({"rooter": "random"}, "unknown run option 'rooter': did you mean router"),
        ({"out": "rows.txt"}, "rows.txt: cannot write '.txt': expected .parquet or .csv"),
    ],
)
def test_what_a_stream_does_not_have_is_refused(options, message):
    with pytest.raises(OptionError, match=message):
        simulate_stream(cut(made(), 50), PROFILE, **options)


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        (lambda: iter(cut(made(), 50)), "batches can be read only once"),
        (lambda: cut(made(), 50)[::-1], "before the end of the one ahead of it"),
        (lambda: made(), "batches hold a Request: expected each to be a Trace"),
        (lambda: [], "the trace has no requests"),
    ],
)
def test_batches_that_make_no_trace_are_refused(batches, message):
    with pytest.raises(OptionError, match=message):
        simulate_stream(batches(), PROFILE)
