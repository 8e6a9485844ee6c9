"""A fixed batch size, and the round-robin router."""

from __future__ import annotations

import numpy as np
import pytest

from calibrate import load_profile
from policies.catalog import make_policy
from policies.routers import RoundRobin
from policies.routing import Fleet
from policies.static import Static
from sim import simulate
from traces import workload

PAPER = load_profile("paper-qwen2.5-coder-3b")
TRACE = workload("W3", rps=20, n=60, seed=0)


@pytest.mark.parametrize("size", [1, 7, 24])
def test_every_request_is_released_on_arrival_and_the_batch_is_limited(size):
    result = simulate(TRACE, PAPER, Static(size))
    assert (result.requests.admitted_s == result.requests.arrival_s).all()
    assert result.accounts[0].peak_batch == size
    assert result.options.max_num_seqs == size


def test_the_label_makes_the_same_policy():
    assert Static(7).label == "static(max_num_seqs=7)"
    assert make_policy(Static(7).label) == Static(7)


@pytest.mark.parametrize("replicas", [1, 2, 5])
def test_round_robin_gives_each_replica_its_turn(replicas):
    fleet = Fleet([PAPER] * replicas)
    route = RoundRobin().start(fleet.profiles, np.random.default_rng(0))
    assert [route.route(None, fleet) for _ in range(12)] == [i % replicas for i in range(12)]
