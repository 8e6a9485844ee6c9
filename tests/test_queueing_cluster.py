"""Routers against closed forms and against each other; tolerances are four standard errors."""

from __future__ import annotations

from functools import cache
from math import factorial
from typing import TYPE_CHECKING

import numpy as np
import pytest
from test_queueing_theory import STEP_S, profile_of

from policies.protocol import PS_PER_S
from sim import simulate
from traces.request import Trace

if TYPE_CHECKING:
    from numpy.typing import NDArray

REPLICATIONS = 16
REQUESTS = 10_000
WARM_UP = 1_000
MEAN_STEPS = 2000
SERVICE_S = MEAN_STEPS * STEP_S
LOAD = 0.7
SERVERS = 4


@cache
def mean_waits(router: str, replicas: int, slots: int) -> NDArray[np.float64]:
    """Return the mean wait [s] of each replication, on the same requests for every cluster.

    Replicas have so many slots, and no batch slows a step; service is geometric in steps of 0.25
    ms, which is exponential up to one step in 2000.
    """
    waits = []
    for replication in range(REPLICATIONS):
        rng = np.random.default_rng([replication])
        arrival_s = np.cumsum(rng.exponential(SERVICE_S / (LOAD * SERVERS), REQUESTS))
        output = rng.geometric(1 / MEAN_STEPS, REQUESTS)
        trace = Trace(arrival_s, np.ones(REQUESTS, dtype=np.int64), output)
        columns = simulate(
            trace,
            profile_of(0.0),
            f"static({slots})",
            replicas=replicas,
            router=router,
            seed=replication,
        ).columns
        wait_s = columns.e2e_ps / PS_PER_S - (output - 1) * STEP_S
        waits.append(float(wait_s[WARM_UP:].mean()))
    return np.array(waits)


def assert_mean_is(samples: NDArray[np.float64], expected: float, bias: float = 0.0) -> None:
    error = samples.std(ddof=1) / np.sqrt(len(samples))
    assert error < 0.03 * expected
    assert expected - 4 * error <= samples.mean() <= expected + bias + 4 * error


def assert_less(a: NDArray[np.float64], b: NDArray[np.float64]) -> None:
    """Assert that the mean of `a` is below that of `b`, paired, by more than chance allows."""
    difference = b - a
    assert difference.mean() > 4 * difference.std(ddof=1) / np.sqrt(len(difference))


def erlang_c_wait(servers: int) -> float:
    """Return the mean wait [s] of M/M/c; the first token costs nothing, so service is one short."""
    offered = LOAD * servers
    tail = offered**servers / factorial(servers) / (1 - LOAD)
    busy = tail / (sum(offered**k / factorial(k) for k in range(servers)) + tail)
    return busy * (SERVICE_S - STEP_S) / (servers * (1 - LOAD))


ROUNDING = 2 * STEP_S / (1 - LOAD)
"""A request is seated when a step ends: at most one step late, and those behind it with it."""


def test_random_routing_over_single_slots_is_so_many_m_m_1() -> None:
    waits = mean_waits("random", SERVERS, 1)
    assert_mean_is(waits, LOAD * SERVICE_S / (1 - LOAD), ROUNDING)


def test_one_replica_with_all_the_slots_is_m_m_c() -> None:
    assert_mean_is(mean_waits("round-robin", 1, SERVERS), erlang_c_wait(SERVERS), ROUNDING)


def test_least_requests_lies_between_one_queue_and_chance() -> None:
    shortest = mean_waits("least-requests", SERVERS, 1)
    assert_less(mean_waits("round-robin", 1, SERVERS), shortest)
    assert_less(shortest, mean_waits("random", SERVERS, 1))


def test_power_of_two_lies_between_chance_and_least_requests() -> None:
    two = mean_waits("power-of-two", SERVERS, 1)
    assert_less(mean_waits("least-requests", SERVERS, 1), two)
    assert_less(two, mean_waits("random", SERVERS, 1))


def test_taking_turns_is_better_than_chance_and_worse_than_looking() -> None:
    turns = mean_waits("round-robin", SERVERS, 1)
    assert_less(turns, mean_waits("random", SERVERS, 1))
    assert_less(mean_waits("least-requests", SERVERS, 1), turns)


@pytest.mark.parametrize("router", ["random", "round-robin", "least-requests", "least-tokens"])
def test_two_pools_never_beat_one(router: str) -> None:
    assert_less(mean_waits("round-robin", 1, SERVERS), mean_waits(router, 2, SERVERS // 2))
