"""CONCUR: a window that follows how full the KV cache is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from queue_cases import PAPER, Bench

from policies.catalog import make_policy
from policies.concur import Concur
from policies.protocol import PS_PER_S, PolicyError
from sim import simulate
from traces import workload

SMALL = Concur(start_at=4, step=2, beta=0.5, low=0.5, high=0.8, period_s=1.0, max_num_seqs=9)
"""On a cache of 1000 tokens."""


def full(bench: Bench) -> None:
    """Let 30 requests of 50 prompt tokens arrive at once."""
    for request in range(30):
        bench.arrive(request, prompt=50)


def test_the_window_grows_while_the_cache_has_room():
    bench = Bench(SMALL)
    full(bench)
    assert list(bench.generated) == [0, 1, 2, 3]
    assert bench.choice.wake_ps == PS_PER_S
    bench.generated[0] = 100  # 4 x 50 + 100 of 1000 tokens
    assert bench.wake(1.0) == [4, 5]
    assert bench.choice.wake_ps == 2 * PS_PER_S
    assert bench.finish(0, at_s=1.5) == [6]  # not yet: only the seat that is free
    assert bench.wake(2.0) == [7, 8]
    assert bench.wake(3.0) == [9]  # no further than max_num_seqs
    assert bench.wake(4.0) == []


def test_it_stays_between_the_marks_and_shrinks_above():
    bench = Bench(SMALL)
    full(bench)
    bench.generated[0] = 500  # 700 of 1000
    assert bench.wake(1.0) == []
    bench.generated[0] = 601  # 801: a window of 2
    assert bench.wake(2.0) == []
    assert bench.finish(1, at_s=2.1) == []
    assert bench.finish(2, at_s=2.2) == []
    assert bench.finish(3, at_s=2.3) == [4]
    bench.generated[0] = 800
    for second in (4.0, 5.0, 6.0):
        bench.wake(second)
    # Never below one.
    assert bench.finish(4, at_s=6.1) == []
    assert bench.finish(0, at_s=6.2) == [5]


def test_it_neither_looks_nor_grows_while_nobody_waits():
    bench = Bench(SMALL)
    for request in range(3):
        bench.arrive(request, at_s=float(request))
        assert bench.choice.wake_ps > 10**6 * PS_PER_S
    assert [len(bench.arrive(request, at_s=9.0)) for request in range(10, 14)] == [1, 0, 0, 0]
    bench.give_up(11, at_s=9.5)
    assert bench.wake(10.0) == [12, 13]


def test_it_keeps_a_tight_cache_from_thrashing():
    """Arxiv 2601.22705: admission by KV use prevents what preemption would do too late."""
    trace = workload("W1", rps=15, n=200, seed=1)
    preempted = {
        policy: simulate(trace, PAPER, policy, kv_tokens=12_000).requests.preemptions.sum()
        for policy in ("fcfs", "concur")
    }
    assert preempted["concur"] < preempted["fcfs"] / 3


def test_with_an_ample_cache_it_is_first_come_first_served_in_the_end():
    trace = workload("W3", rps=15, n=300, seed=1)
    result = simulate(trace, PAPER, replace(Concur(), period_s=0.1))
    assert result.accounts[0].peak_batch > 100
    assert result.requests.admitted_s.is_monotonic_increasing


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("concur(low=0.9, high=0.5)", "concur: high=0.5: expected a number of at least 0.9"),
        ("concur(beta=0)", "concur: beta=0: expected a number above 0 and at most 1"),
        ("concur(start_at=257)", "concur: start_at=257: expected at most max_num_seqs=256"),
        ("concur(period_s=0)", "concur: period_s=0: expected a number of at least 0.001"),
    ],
)
def test_parameters_are_checked(text, message):
    with pytest.raises(PolicyError) as error:
        make_policy(text)
    assert message in str(error.value)
