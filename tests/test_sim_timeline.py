"""What a timeline says is what the requests say, and it stays small."""

from __future__ import annotations

import json

import numpy as np
import pytest
from cases import Case, limits, run

from calibrate import load_profile
from sim import simulate
from sim.cluster.run import run_cluster
from sim.options import OptionError
from sim.stepwise import run_stepwise
from sim.timeline import GAUGES, MOST_SAMPLES, SHORTEST_PS, Samples, Timeline, interval_ps
from traces import workload

PROFILE = load_profile("paper-qwen2.5-coder-3b")


@pytest.mark.parametrize("policy", ["saber", "static(8)", "static(64)"])
@pytest.mark.parametrize("discipline", ["prefill-first", "chunked"])
def test_whoever_is_in_the_system_is_in_one_of_the_three_places(policy, discipline):
    trace = workload("W1", rps=12, n=150, seed=3)
    r = simulate(
        trace, PROFILE, policy, replicas=2, discipline=discipline, client_overhead_s=0.0,
        timeline=True,
    )  # fmt: skip
    line, requests = r.timeline, r.requests
    assert (requests["status"] == "finished").all()
    for replica in range(2):
        mine = requests[requests["replica"] == replica]
        # Only instants clear of any event: seconds are rounded to what a float can hold.
        near = np.sort(mine[["arrival_s", "admitted_s", "finished_s"]].to_numpy().ravel())
        clear = np.abs(near[:, np.newaxis] - line.at_s).min(axis=0) > 1e-9
        assert clear.sum() > 100

        def since(name, mine=mine, line=line):
            return np.searchsorted(np.sort(mine[name].to_numpy()), line.at_s, side="right")

        arrived, admitted, finished = since("arrival_s"), since("admitted_s"), since("finished_s")
        in_engine = line.waiting[replica] + line.running[replica]
        assert np.array_equal((arrived - admitted)[clear], line.held[replica][clear])
        assert np.array_equal((admitted - finished)[clear], in_engine[clear])
    assert (line.held.max() > 0) == (policy == "saber")  # a static size lets the engine queue
    assert line.waiting.max() > 0 or policy != "static(8)"
    assert line.running.max() <= r.options.max_num_seqs


@pytest.mark.parametrize("runner", [run_cluster, run_stepwise])
def test_by_hand(runner):
    # Blocks of 4 tokens.  Prefill of 6 tokens: 5 + 6 ps, first token at 11.  Decodes attend to 7
    # and 8 tokens: 11 + 7 ps and 11 + 8 ps, the last token comes at 48.
    case = Case(((0, 6, 3),), (limits(blocks=100, block_size=4),))
    line = Timeline.from_dict(run(case, runner).timeline)
    assert line.interval_s == 7e-12
    # At 0, 7 | 14, 21, 28 | 35, 42: 6, 7 and 8 tokens are stored.
    assert line.kv_blocks.tolist() == [[2, 2, 2, 2, 2, 2, 2]]
    assert line.running.tolist() == [[1] * 7]
    grown = Case(((0, 7, 3),), (limits(blocks=100, block_size=4),))
    line = Timeline.from_dict(run(grown, runner).timeline)
    # Prefill until 12, then 8 tokens until 31, then 9 until 51.
    assert line.kv_blocks.tolist() == [[2, 2, 2, 2, 2, 3, 3, 3]]


@pytest.mark.parametrize("runner", [run_cluster, run_stepwise])
def test_a_state_that_lasts_is_shown_to_the_end(runner):
    # Two replicas in turn: the first is idle from 12 on, the second works until much later.
    case = Case(((0, 1, 1), (1, 1, 1), (2, 1, 1), (3, 3, 20), (4, 1, 1)), (limits(), limits()))
    line = Timeline.from_dict(run(case, runner).timeline)
    assert line.running[0][-1] == 0
    assert line.running[1][-1] == 1
    assert line.up_s[0] == line.up_s[1]


def test_recording_changes_nothing():
    trace = workload("W3", rps=10, n=120, seed=1)
    with_it, without = (
        simulate(trace, PROFILE, "saber", kv_tokens=8000, jitter_cv=0.1, timeline=on)
        for on in (True, False)
    )
    assert without.timeline is None
    assert with_it.requests.equals(without.requests)
    assert with_it.summary() == without.summary()


def test_samples_are_few_however_long_the_run():
    assert interval_ps(0) == SHORTEST_PS
    for span_ps in (10**9, 10**12, 10**15, 123_456 * 10**12):
        interval = interval_ps(span_ps)
        assert span_ps // interval < MOST_SAMPLES
        assert interval == SHORTEST_PS or span_ps // (interval // 2) >= MOST_SAMPLES
    samples = Samples(1)
    for k in range(100_000):
        if samples.due_ps == k:
            samples.add(k, 0, 0, 0)
        assert len(samples.rows) < MOST_SAMPLES
    # What is kept was taken when it says.
    instants = [k * samples.interval_ps for k in range(len(samples.rows))]
    assert [row[0] for row in samples.rows] == instants
    assert samples.interval_ps == 64


def test_a_late_trace_is_seen_as_sharply_as_an_early_one():
    trace = workload("W3", rps=10, n=60, seed=1)
    late = trace.replace(arrival_s=trace.arrival_s + 4e6)
    early, shifted = (
        simulate(t, PROFILE, "static(16)", timeline=True).timeline for t in (trace, late)
    )
    assert shifted.interval_s == early.interval_s
    assert late.arrival_s[0] - 0.001 < shifted.start_s <= late.arrival_s[0]
    # Instants differ by less than a sample: peaks do by no more than a few requests.
    assert abs(int(shifted.running.max()) - int(early.running.max())) <= 1
    assert abs(shifted.running.shape[1] - early.running.shape[1]) <= 2


def test_the_clock_that_stops_ends_the_timeline():
    trace = workload("W3", rps=10, n=100, seed=0)
    r = simulate(trace, PROFILE, "saber", until_s=4.0, timeline=True)
    assert r.timeline.at_s[-1] <= 4.0 < r.timeline.at_s[-1] + r.timeline.interval_s
    assert r.timeline.up_s == (((0.0, 4.0),),)
    assert r.timeline.running[0, -1] > 0


def test_usage_is_the_share_of_the_blocks():
    r = simulate(workload("W3", rps=10, seed=0), PROFILE, "saber", kv_tokens=6000, timeline=True)
    assert r.timeline.kv_capacity_blocks == (375,)
    assert 0.9 < r.timeline.kv_usage.max() <= 1.0


def test_there_and_back():
    line = simulate(workload("W3", rps=10, seed=0), PROFILE, replicas=3, timeline=True).timeline
    again = Timeline.from_dict(json.loads(json.dumps(line.to_dict())))
    for gauge in GAUGES:
        assert np.array_equal(getattr(line, gauge), getattr(again, gauge))
    assert (again.interval_s, again.kv_capacity_blocks, again.up_s) == (
        line.interval_s,
        line.kv_capacity_blocks,
        line.up_s,
    )


def test_a_stream_has_none():
    from sim.streaming.stream import simulate_stream

    with pytest.raises(OptionError, match="timeline needs the trace in one piece"):
        simulate_stream([workload("W3", rps=10)], PROFILE, timeline=True)
