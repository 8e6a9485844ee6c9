"""Transforms: what they keep and what they change."""

import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trace_strategies import any_trace

from traces.columns import HashIds
from traces.describe import describe
from traces.request import Trace, TraceError
from traces.transform import merge, repeat, resample, scale_rate, select_tasks, thin, window


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def trace() -> Trace:
    return Trace(
        [1, 2, 4, 7],
        [10, 20, 30, 40],
        [1, 2, 3, 4],
        task=["a", "b", None, "a"],
        session=["s", None, "s", None],
        parent=[-1, -1, 0, -1],
        sla_s=[1, 2, 3, np.nan],
        hash_ids=HashIds(np.array([0, 1, 3, 3, 4]), np.array([0, 5, 6, 0]), 16),
        meta={"source": "x"},
    )


def bursty(n: int = 4000) -> Trace:
    """Return bursts of ten arrivals 10 ms apart, a burst a minute."""
    arrival = np.repeat(np.arange(n // 10) * 60.0, 10) + np.tile(np.arange(10) * 0.01, n // 10)
    return Trace(arrival, np.ones(n), np.ones(n))


def test_window_is_half_open_and_counts_from_its_start() -> None:
    part = window(trace(), 2, 7)
    assert part.arrival_s.tolist() == [0, 2]
    assert part.prompt_tokens.tolist() == [20, 30]
    assert part.parent.tolist() == [-1, -1]
    assert window(trace(), 2).arrival_s.tolist() == [0, 2, 5]
    with pytest.raises(
        TraceError, match="no request arrives from 8 to 9 s; the trace has arrivals"
    ):
        window(trace(), 8, 9)
    for start, end in [(5, 5), (-1, 3), (6, 5), (float("nan"), 1)]:
        with pytest.raises(TraceError, match="expected 0 <= start < end"):
            window(trace(), start, end)


def test_scale_rate() -> None:
    assert scale_rate(trace(), 2).arrival_s.tolist() == [0.5, 1, 2, 3.5]
    assert scale_rate(trace(), 2).replace(arrival_s=trace().arrival_s) == trace()
    scaled = scale_rate(bursty(), rps=7)
    assert describe(scaled)["mean_rps"] == pytest.approx(7)
    assert describe(scaled)["interarrival_cv"] == pytest.approx(
        describe(bursty())["interarrival_cv"]
    )
    for arguments in ({}, {"factor": 1, "rps": 1}):
        with pytest.raises(TraceError, match="either factor or rps"):
            scale_rate(trace(), **arguments)
    with pytest.raises(TraceError, match="factor is 0; expected a finite number above 0"):
        scale_rate(trace(), 0)
    with pytest.raises(TraceError, match="mean gap of 1 requests over 0 s is undefined"):
        scale_rate(trace()[:1], rps=2)


def test_thinning_by_burst_keeps_bursts_whole() -> None:
    t = bursty()
    part = thin(t, 0.3, rng())
    assert len(part) == 1200
    assert describe(part)["peak_1s"] == 10
    assert set(Counter(np.floor(part.arrival_s / 60).tolist()).values()) == {10}
    assert len(thin(t, 0.3, rng(), gap_s=0.005)) == 1200
    apart = thin(t, 0.3, rng(), gap_s=0.005)
    assert len(set(Counter(np.floor(apart.arrival_s / 60).tolist()).values())) > 1
    assert thin(t, 0.3, rng()) == thin(t, 0.3, rng())
    assert thin(t, 0.3, rng()) != thin(t, 0.3, rng(1))
    assert thin(t, 1, rng()) == t


def test_thinning_by_session_keeps_conversations_whole() -> None:
    n = 600
    t = Trace(
        np.arange(n),
        np.ones(n),
        np.ones(n),
        session=[None if i % 3 == 0 else str(i % 100) for i in range(n)],
    )
    part = thin(t, 0.5, rng(), by="session")
    assert abs(len(part) - 300) <= 4
    whole, kept = Counter(r.session for r in t), Counter(r.session for r in part)
    assert all(kept[s] == whole[s] for s in kept if s is not None)
    assert 0 < kept[None] < whole[None]


def test_thinning_by_request_spreads() -> None:
    assert len(thin(bursty(), 0.25, rng(), by="request")) == 1000
    for share in (0, 1.5, float("nan")):
        with pytest.raises(TraceError, match="expected above 0 and at most 1"):
            thin(bursty(), share, rng())
    with pytest.raises(TraceError, match="unknown unit of thinning 'requests'"):
        thin(bursty(), 0.5, rng(), by="requests")
    with pytest.raises(TraceError, match="gap_s has no effect"):
        thin(bursty(), 0.5, rng(), by="request", gap_s=1)


def test_repeat_tiles_with_span_plus_mean_gap() -> None:
    t = repeat(trace(), 2)
    assert t.arrival_s.tolist() == [1, 2, 4, 7, 9, 10, 12, 15]
    assert t.prompt_tokens.tolist() == [10, 20, 30, 40] * 2
    assert [r.task for r in t] == ["a", "b", None, "a"] * 2
    assert [r.session for r in t] == ["s", None, "s", None, "s~2", None, "s~2", None]
    assert t.parent.tolist() == [-1, -1, 0, -1, -1, -1, 4, -1]
    assert [t.hash_ids.row(i).tolist() for i in range(8)] == [
        *([0], [5, 6], [], [0]),
        *([7], [12, 13], [], [7]),
    ]
    assert describe(t)["mean_rps"] == pytest.approx(describe(trace())["mean_rps"])
    assert repeat(trace(), 3, period_s=10).arrival_s.tolist() == [
        *(1, 2, 4, 7, 11, 12, 14, 17, 21, 22, 24, 27)
    ]
    twice = repeat(repeat(trace(), 2), 2)
    assert twice.sessions == ("s", "s~2", "s~~2", "s~2~~2")
    assert repeat(trace(), 1) == trace()
    assert repeat(trace()[:1], 1) == trace()[:1]
    for arguments, message in [
        ({"times": 0}, "times is 0"),
        ({"times": 2, "period_s": 5}, "period_s is 5; expected at least the span, 6 s"),
    ]:
        with pytest.raises(TraceError, match=message):
            repeat(trace(), **arguments)
    with pytest.raises(TraceError, match="mean gap"):
        repeat(trace()[:1], 2)


def test_a_million_rows_are_repeated_in_a_moment() -> None:
    start = time.process_time()
    t = repeat(bursty(10_000), 100)
    assert len(t) == 1_000_000
    assert time.process_time() - start < 1.5
    assert t.sla_s.strides == t.parent.strides == (0,)
    assert t.max_tokens is t.output_tokens


def test_merge_orders_and_keeps_origins_apart() -> None:
    other = Trace(
        [2, 3],
        [50, 60],
        [5, 6],
        task=["b", "c"],
        parent=[-1, 0],
        hash_ids=HashIds(np.array([0, 1, 2]), np.array([0, 1]), 16),
        warnings=["w"],
    )
    t = merge(trace(), other)
    assert t.arrival_s.tolist() == [1, 2, 2, 3, 4, 7]
    assert t.prompt_tokens.tolist() == [10, 20, 50, 60, 30, 40]
    assert [r.task for r in t] == ["a", "b", "b", "c", None, "a"]
    assert t.parent.tolist() == [-1, -1, -1, 2, 0, -1]
    assert [t.hash_ids.row(i).tolist() for i in (0, 2, 3)] == [[0], [7], [8]]
    assert t.warnings == ("w",)
    assert merge(trace()) == trace()
    without = merge(trace(), other.replace(hash_ids=None))
    assert without.hash_ids is None
    assert without.warnings[-1].startswith("block ids were dropped")
    with pytest.raises(TraceError, match="at least one trace"):
        merge()


@given(any_trace(), any_trace())
def test_merging_loses_nothing(a: Trace, b: Trace) -> None:
    def key(t: Trace) -> Counter:
        return Counter((r.arrival_s, r.prompt_tokens, r.task, r.sla_s, r.tenant) for r in t)

    merged = merge(a, b)
    assert key(merged) == key(a) + key(b)
    assert (np.diff(merged.arrival_s) >= 0).all()
    assert (merged.parent < np.arange(len(merged))).all()


def test_select_tasks() -> None:
    assert select_tasks(trace(), ["a"]).prompt_tokens.tolist() == [10, 40]
    assert select_tasks(trace(), "b").prompt_tokens.tolist() == [20]
    with pytest.raises(TraceError, match=r"unknown task 'A'; .* did you mean 'a'"):
        select_tasks(trace(), ["A"])
    with pytest.raises(TraceError, match="no request of the trace has such a task"):
        select_tasks(trace()[:1], ["b"])


def test_resample_redraws_requests_onto_the_same_arrivals() -> None:
    n = 1000
    t = Trace(
        np.arange(n),
        np.arange(1, n + 1),
        np.arange(1, n + 1) * 2,
        task=["a" if i % 10 else "b" for i in range(n)],
        session=["s"] * n,
        sla_s=np.arange(1, n + 1) * 3.0,
    )
    mixed = resample(t, rng(), shares={"b": 3, "a": 1})
    assert mixed.arrival_s.tolist() == t.arrival_s.tolist()
    assert Counter(r.task for r in mixed) == {"b": 750, "a": 250}
    original = {r.prompt_tokens: r for r in t}
    for r in mixed:
        row = original[r.prompt_tokens]
        assert (r.output_tokens, r.task, r.sla_s) == (row.output_tokens, row.task, row.sla_s)
        assert r.session is None
    assert Counter(r.task for r in mixed[:500])["b"] < 500  # shuffled
    plain = resample(t, rng())
    assert len(set(plain.prompt_tokens.tolist())) < n  # with replacement
    assert plain != resample(t, rng(1))
    for shares, message in [
        ({"c": 1}, "unknown task 'c'"),
        ({}, "expected weights >= 0, not all 0"),
        ({"a": -1, "b": 2}, "expected weights >= 0"),
        ({"a": 0}, "not all 0"),
    ]:
        with pytest.raises(TraceError, match=message):
            resample(t, rng(), shares=shares)
    with pytest.raises(TraceError, match="no request of the trace has task 'a' to draw from"):
        resample(t[:1], rng(), shares={"a": 1})


@given(any_trace(), st.integers(1, 4))
def test_repeat_is_merging_shifted_copies(t: Trace, times: int) -> None:
    period = t.span_s + 1
    copies = [t.replace(arrival_s=t.arrival_s + i * period) for i in range(times)]
    tiled, merged = repeat(t, times, period_s=period), merge(*copies)
    assert tiled.replace(session_code=merged.session_code, sessions=merged.sessions) == merged
