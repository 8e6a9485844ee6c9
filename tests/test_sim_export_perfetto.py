"""Traces for Perfetto: read back and held against the run and the Trace Event Format."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from calibrate import load_profile
from sim import simulate
from sim.cluster.clients import Clients
from sim.cluster.failures import parse_failures
from sim.export.perfetto import write_perfetto
from sim.options import OptionError
from sim.runfile import read_run, run_of
from traces import workload

PAPER = load_profile("paper-qwen2.5-coder-3b")


def failing(**options):
    """Return a run in which requests end in every way a cluster knows."""
    return simulate(
        workload("W3", rps=30, n=400, seed=3),
        PAPER,
        "saber",
        replicas=3,
        timeline=True,
        max_model_len=1200,
        failures=parse_failures("at(4, replica=1, for_s=3)", on_failure="lost"),
        startup_s=1.0,
        clients=Clients(timeout_s=4.5, cancel_after="exponential(40)"),
        **options,
    )


RUN = run_of(failing(until_s=14.0))


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    path = tmp_path_factory.mktemp("trace") / "run.json"
    write_perfetto(RUN, path)
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def events(document):
    return document["traceEvents"]


def slices(events):
    """Return (process, name, begin, end, depth) of asynchronous slices, by id, checked to nest."""
    stacks, found = defaultdict(list), defaultdict(list)
    for event in (each for each in events if each["ph"] in "be"):
        key = event["pid"], event["cat"], event["id"]
        if event["ph"] == "b":
            assert not stacks[key] or event["ts"] >= stacks[key][-1]["ts"]
            stacks[key].append(event)
            continue
        begin = stacks[key].pop()
        assert begin["name"] == event["name"]
        assert event["ts"] >= begin["ts"]
        found[event["id"]].append(
            (event["pid"], event["name"], begin["ts"], event["ts"], len(stacks[key]))
        )
    assert not any(stacks.values())
    return found


def test_there_is_every_kind_of_end():
    statuses = set(RUN.requests["status"])
    assert statuses == {"unfinished", "finished", "refused", "failed", "timed_out", "cancelled"}


def test_events_have_what_the_format_asks_for(document, events):
    assert document["displayTimeUnit"] in ("ms", "ns")
    assert document["otherData"]["sabersim"] == RUN.provenance["sabersim"]
    required = {"M": {"args"}, "C": {"args"}, "X": {"tid", "dur"}, "i": {"tid", "s"}}
    required |= {"b": {"cat", "id"}, "e": {"cat", "id"}}
    for event in events:
        assert {"ph", "pid", "ts", "name"} <= set(event)
        assert required[event["ph"]] <= set(event)
        assert isinstance(event["pid"], int)
        assert event["ts"] >= 0


def test_every_begin_has_its_end_and_slices_nest(events):
    by_id = slices(events)
    assert len(by_id) == len(RUN.requests)
    for parts in by_id.values():
        (_, _, begin, end, depth) = parts[-1]
        assert depth == 0
        reached = begin
        for _, _, start, stop, inner in parts[:-1]:
            assert inner == 1
            assert reached <= start < stop <= end
            reached = stop


def test_slices_are_where_the_requests_were(events):
    by_id = slices(events)
    overhead_s = PAPER.client_overhead_s
    for row in RUN.requests[RUN.requests["status"] == "finished"].itertuples():
        parts = {name: (begin, end) for _, name, begin, end, _ in by_id[f"{row.id:#x}"]}
        assert {pid for pid, *_ in by_id[f"{row.id:#x}"]} == {row.replica + 2}
        assert parts[row.task] == pytest.approx((row.arrival_s * 1e6, row.finished_s * 1e6))
        first_us = (row.first_token_s - overhead_s) * 1e6
        assert parts["waiting + prefill"] == pytest.approx((row.admitted_s * 1e6, first_us))
        if row.output_tokens > 1:
            last_us = (row.finished_s - overhead_s) * 1e6
            assert parts["decode"] == pytest.approx((first_us, last_us))
        held = row.admitted_s - row.arrival_s
        assert ("held" in parts) == (held > 1e-9)


def test_slices_say_what_became_of_a_request(events):
    told = {
        each["args"]["id"]: each["args"] for each in events if each["ph"] == "b" and "args" in each
    }
    for row in RUN.requests.itertuples():
        args = told[row.id]
        assert (args["status"], args["prompt_tokens"]) == (row.status, row.prompt_tokens)
        assert args["met"] == row.met
        assert args.get("reason") == RUN.reasons.get(row.id)


def test_what_ended_badly_has_an_instant_at_the_end_of_its_slice(events):
    instants = {each["args"]["id"]: each for each in events if each["ph"] == "i"}
    frame = RUN.requests
    bad = frame[~frame["status"].isin(["finished", "unfinished"])]
    assert set(instants) == set(bad["id"])
    by_id = slices(events)
    for row in bad.itertuples():
        event = instants[row.id]
        assert event["name"] == row.status
        assert event["ts"] == by_id[f"{row.id:#x}"][-1][3]
        if row.status == "timed_out":  # the client sees it later, by its overhead
            assert event["ts"] == pytest.approx((row.arrival_s + 4.5) * 1e6, abs=2e3)
        if row.status == "failed" and "replica" in event["args"]["reason"] and row.replica >= 0:
            assert event["ts"] == pytest.approx(4e6)
        assert event["ts"] == pytest.approx(RUN.gone_s[row.id] * 1e6)


def test_unfinished_requests_last_until_the_run_stopped(events):
    open_still = RUN.requests[RUN.requests["status"] == "unfinished"]
    by_id = slices(events)
    assert {by_id[f"{request:#x}"][-1][3] for request in open_still["id"]} == {14e6}


def test_counters_are_the_timelines_and_go_forward(events):
    timeline = RUN.timeline
    for replica in range(3):
        mine = [each for each in events if each["ph"] == "C" and each["pid"] == replica + 2]
        for name, series in (("requests", ("held", "waiting", "running")), ("KV cache", ())):
            samples = [each for each in mine if each["name"] == name]
            at_us = [each["ts"] for each in samples]
            assert all(a < b for a, b in pairwise(at_us))
            assert at_us[0] == pytest.approx(timeline.start_s * 1e6)
            assert at_us[-1] == pytest.approx(timeline.at_s[-1] * 1e6)
            # A counter keeps its value: every sample of the timeline, kept or not.
            place = np.searchsorted(at_us, timeline.at_s * 1e6 + 0.5) - 1
            for one in series:
                values = np.array([each["args"][one] for each in samples])
                assert np.array_equal(values[place], getattr(timeline, one)[replica])
            if not series:
                values = np.array([each["args"]["usage %"] for each in samples])
                assert values[place] == pytest.approx(100 * timeline.kv_usage[replica], abs=1e-3)


def test_a_replica_shows_when_it_was_up(events):
    periods = [each for each in events if each["ph"] == "X" and each["pid"] == 3]
    spans = [(each["ts"] / 1e6, (each["ts"] + each["dur"]) / 1e6) for each in periods]
    assert spans == [pytest.approx(period) for period in RUN.timeline.up_s[1]]
    assert len(spans) == 2


def test_processes_and_threads_have_names(events):
    names = {each["pid"]: each["args"]["name"] for each in events if each["name"] == "process_name"}
    assert names[2] == "replica 0 (paper-qwen2.5-coder-3b)"
    assert {each["pid"] for each in events} <= set(names)
    threads = {each["tid"] for each in events if each["name"] == "thread_name"}
    assert {each["tid"] for each in events if "tid" in each} == threads
    assert len(threads) == 2 * len(names)


def test_a_run_on_disk_gives_the_same_trace_compressed_or_not(tmp_path):
    result = failing()
    result.save(tmp_path / "run.parquet")
    write_perfetto(run_of(result), tmp_path / "a.json")
    write_perfetto(read_run(tmp_path / "run.parquet"), tmp_path / "b.json.gz")
    write_perfetto(read_run(tmp_path / "run.parquet"), tmp_path / "c.json.gz")
    plain = (tmp_path / "a.json").read_bytes()
    assert gzip.decompress((tmp_path / "b.json.gz").read_bytes()) == plain
    assert (tmp_path / "b.json.gz").read_bytes() == (tmp_path / "c.json.gz").read_bytes()


def test_without_a_timeline_there_are_no_counters(tmp_path):
    write_perfetto(replace(RUN, timeline=None), tmp_path / "run.json")
    events = json.loads((tmp_path / "run.json").read_text())["traceEvents"]
    assert {each["ph"] for each in events} == {"M", "b", "e", "i"}


def test_another_suffix_is_refused_and_nothing_written(tmp_path):
    with pytest.raises(OptionError, match=r"trace.txt: expected a name that ends in .json or"):
        write_perfetto(RUN, tmp_path / "trace.txt")
    assert not list(tmp_path.iterdir())
