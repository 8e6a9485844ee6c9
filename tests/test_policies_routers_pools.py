"""Pools: who goes where, and what keeping apart costs."""

from __future__ import annotations

import numpy as np
import pytest

from policies.protocol import NEVER_PS, Pending, PolicyError
from policies.routers import make_router
from policies.routers_pools import Pools
from policies.routing import Fleet


def requests(*labels: str) -> list[Pending]:
    return [Pending(i, 0, NEVER_PS, 1, 1, task=x, tenant=x) for i, x in enumerate(labels)]


@pytest.mark.parametrize("key", ["tenant", "task"])
def test_each_group_has_its_own_replicas_in_turn(key):
    fleet = Fleet([None] * 4)
    route = Pools("a:1, b:2, *:1", key).start(fleet.profiles, np.random.default_rng(0))
    asked = requests("a", "b", "b", "b", "c", "", "a")
    assert [route.route(each, fleet) for each in asked] == [0, 1, 2, 1, 3, 3, 0]


def test_within_a_pool_the_fewest_requests():
    fleet = Fleet([None] * 3)
    fleet.requests[:] = [0, 5, 2]
    route = Pools("a:1, b:2").start(fleet.profiles, np.random.default_rng(0))
    assert [route.route(each, fleet) for each in requests("b", "b", "a")] == [2, 2, 0]


def test_a_pool_that_is_down_goes_to_the_others():
    fleet = Fleet([None] * 3)
    route = Pools("a:1, b:2").start(fleet.profiles, np.random.default_rng(0))
    fleet.taking = [1, 2]
    assert [route.route(each, fleet) for each in requests("a", "a", "b")] == [1, 2, 1]


def test_labels_without_a_pool_are_an_error():
    fleet = Fleet([None] * 2)
    route = Pools("a:1, b:1").start(fleet.profiles, np.random.default_rng(0))
    with pytest.raises(PolicyError, match="request 0 has tenant 'c': expected one of a, b"):
        route.route(requests("c")[0], fleet)


@pytest.mark.parametrize("sizes", ["", "a", "a:0", "a:x", "a:-1", ":2", "a:1,a:2", 3])
def test_sizes_that_are_none(sizes):
    with pytest.raises(PolicyError, match="expected label:replicas"):
        Pools(sizes)


def test_pools_are_all_the_replicas():
    with pytest.raises(PolicyError, match="are 3 replicas and there are 2"):
        Pools("a:1, b:2").start([None] * 2, np.random.default_rng(0))


def test_the_label_makes_the_same_router():
    router = make_router('pools("a:1, b:2", key=task)')
    assert router == Pools("a:1, b:2", "task")
    assert make_router(router.label) == router
