"""AIMD: how the limit moves, and that it reacts late to a burst."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from queue_cases import LINE, PAPER, Bench, standard_errors

from policies.aimd import Aimd
from policies.catalog import make_policy
from policies.protocol import PolicyError
from sim import simulate
from traces import workload
from traces.transform import merge, window

SMALL = Aimd(start_at=2, period_s=1.0, max_num_seqs=6)


def limit_of(bench: Bench) -> int:
    """Return the limit, read off how many are in the engine while somebody waits."""
    return len(bench.generated)


def test_the_limit_rises_by_one_a_period_while_slas_are_met_and_somebody_waits():
    bench = Bench(SMALL)
    released = [bench.arrive(request, sla_s=100) for request in range(12)]
    assert released == [[0], [1], *[[]] * 10]
    assert bench.finish(0, at_s=1.0) == [2, 3]
    assert bench.finish(1, at_s=1.5) == [4]  # within the period: only the seat that is free
    assert bench.finish(2, at_s=2.0) == [5, 6]
    assert limit_of(bench) == 4


def test_it_does_not_rise_while_nobody_has_to_wait():
    bench = Bench(SMALL)
    for second in range(10):
        bench.arrive(second, at_s=float(second), sla_s=100)
        bench.finish(second, at_s=second + 0.5)
    released = [len(bench.arrive(request, at_s=20.0, sla_s=100)) for request in range(100, 105)]
    assert sum(released) == 2


def test_it_falls_to_nine_tenths_when_one_sla_is_exceeded():
    bench = Bench(replace(SMALL, start_at=6, max_num_seqs=9))
    for request in range(20):
        bench.arrive(request, sla_s=1 if request == 0 else 100)
    assert bench.finish(1, at_s=0.5) == [6, 7]  # 7 seats
    # One is late and one is not: 6.3 seats.
    assert bench.finish(0, 2, at_s=2.0) == [8]
    assert limit_of(bench) == 6


def test_it_falls_to_one_and_rises_to_the_engines_limit():
    bench = Bench(replace(SMALL, backoff=0.1, period_s=0.0))
    for request in range(40):
        bench.arrive(request, sla_s=100 if request > 3 else 0.1)
    bench.finish(0, at_s=1.0)
    bench.finish(1, at_s=1.0)
    assert limit_of(bench) == 1
    for second in range(2, 14):
        bench.finish(next(iter(bench.generated)), at_s=float(second))
    assert limit_of(bench) == 6


@pytest.mark.parametrize(
    ("latency", "sla_s", "seats"), [("service", 2, 4), ("e2e", 2, 1), ("e2e", 10, 4)]
)
def test_the_wait_in_front_of_the_engine_counts_only_end_to_end(latency, sla_s, seats):
    bench = Bench(Aimd(start_at=1, step=1, period_s=0, backoff=0.5, latency=latency))
    bench.arrive(0, at_s=50.0, sla_s=100)
    for request in range(1, 9):
        bench.arrive(request, at_s=50.0, sla_s=sla_s)
    assert bench.finish(0, at_s=55.0) == [1, 2]
    bench.finish(1, at_s=56.0)  # after 1 s in the engine and 6 s in all
    bench.finish(2, at_s=56.0)
    assert limit_of(bench) == seats


def test_the_way_to_the_client_counts():
    far = replace(LINE, client_overhead_s=0.5)
    for profile, seats in ((LINE, 3), (far, 1)):
        bench = Bench(replace(SMALL, period_s=0.0), profile)
        for request in range(9):
            bench.arrive(request, sla_s=1)
        bench.finish(0, at_s=0.8)
        assert limit_of(bench) == seats


def test_without_slas_nothing_is_exceeded():
    bench = Bench(replace(SMALL, period_s=0.0))
    for request in range(9):
        bench.arrive(request)
    assert bench.finish(0, at_s=1e5) == [2, 3]


def burst(seed):
    """Return 40 s of calm and 5 s of fifteen times as many requests."""
    calm = workload("W3", rps=2, n=120, seed=seed)
    busy = workload("W3", rps=30, n=150, seed=seed + 1000)
    return merge(
        window(calm, 0, 40),
        busy.replace(arrival_s=busy.arrival_s + 40.0),
    )


def in_engine(requests, at_s):
    """Return how many were released and had not finished at an instant."""
    return int(((requests.admitted_s <= at_s) & (requests.finished_s > at_s)).sum())


def test_it_reacts_late_to_a_burst():
    """What Clipper's limit learns from are answers: when the first ones come, the burst is in.

    Two seconds into the burst AIMD has let in far more than SABER, which predicts what that would
    do; and what it let in misses.
    """
    ratios, gains = [], []
    for seed in range(10):
        trace = burst(seed)
        aimd = simulate(trace, PAPER, Aimd(start_at=100), seed=seed).requests
        saber = simulate(trace, PAPER, "saber", seed=seed).requests
        ratios.append(in_engine(aimd, 42.0) / in_engine(saber, 42.0))
        hit = trace.arrival_s >= 40
        gains.append(float(saber.met[hit].mean() - aimd.met[hit].mean()))
    assert np.mean(ratios) > 1.3
    assert standard_errors(np.array(ratios) - 1) > 3
    assert standard_errors(np.array(gains)) > 3


def test_the_limit_is_down_long_after_the_burst_began():
    """The same burst on a bench: ten answers too late before the limit is where it should be."""
    bench = Bench(Aimd(start_at=100, period_s=0.5))
    for request in range(200):
        bench.arrive(request, sla_s=1)
    assert limit_of(bench) == 100
    for turn in range(10):
        bench.finish(next(iter(bench.generated)), at_s=3 + turn / 2)
    # 100 x 0.9^10: the seats above that are still taken.
    assert bench.decider.limit == 34
    assert limit_of(bench) == 90


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("aimd(start_at=300)", "aimd: start_at=300: expected at most max_num_seqs=256"),
        ("aimd(backoff=1.5)", "aimd: backoff=1.5: expected a number above 0 and at most 1"),
        ("aimd(latency=ttft)", "aimd: latency='ttft': expected service, e2e"),
        ("aimd(step=0)", "aimd: step=0: expected a number above 0"),
    ],
)
def test_parameters_are_checked(text, message):
    with pytest.raises(PolicyError) as error:
        make_policy(text)
    assert message in str(error.value)
