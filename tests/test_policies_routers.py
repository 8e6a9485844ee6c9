"""Routers by name, and the two that look at nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from calibrate import load_profile
from policies.guarded import GuardedRouter
from policies.protocol import NEVER_PS, Pending, PolicyError
from policies.routers import ROUTERS, Random, RoundRobin, make_router
from policies.routers_affinity import Affinity
from policies.routers_looking import LeastRequests, LeastTokens, PowerOfTwo
from policies.routers_slack import SlaSlack
from policies.routing import Fleet
from sim import simulate
from traces import workload

if TYPE_CHECKING:
    from pathlib import Path

    from policies.routing import Router

REQUEST = Pending(0, 0, NEVER_PS, 10, 20)


def fleet(replicas: int, taking: list[int] | None = None) -> Fleet:
    made = Fleet([None] * replicas)
    if taking is not None:
        made.taking = taking
    return made


def routes(router: Router, over: Fleet, count: int, seed: int = 0) -> list[int]:
    route = router.start(over.profiles, np.random.default_rng(seed)).route
    return [route(REQUEST, over) for _ in range(count)]


@pytest.mark.parametrize(
    ("text", "router"),
    [
        ("round-robin", RoundRobin()),
        (" round-robin ", RoundRobin()),
        ("round_robin", RoundRobin()),
        ("random", Random()),
        ("power-of-two", PowerOfTwo()),
        ("power-of-two(3)", PowerOfTwo(choices=3)),
        ("least-requests", LeastRequests()),
        ("least-tokens()", LeastTokens()),
        ("sla-slack", SlaSlack()),
        ("sla-slack(margin=0.5)", SlaSlack(margin=0.5)),
        ("affinity", Affinity()),
        ("affinity(prefix)", Affinity(key="prefix")),
        ("affinity(tenant, spill=1.25)", Affinity(key="tenant", spill=1.25)),
        ("affinity(spill=None)", Affinity()),
    ],
)
def test_a_text_names_a_router_and_its_label_names_it_again(text, router):
    assert make_router(text) == router
    assert make_router(router.label) == router
    assert make_router(router) is router


def test_every_name_is_a_label():
    for name in set(ROUTERS) - {"pools"}:  # which needs sizes
        assert make_router(name).label == name


def test_labels_name_what_differs_from_the_defaults():
    assert PowerOfTwo(4).label == "power-of-two(choices=4)"
    assert Affinity("tenant", 2).label == "affinity(key=tenant, spill=2)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("round-robbin", "unknown router 'round-robbin', did you mean 'round-robin'?"),
        ("fastest", "unknown router 'fastest': expected one of random, power-of-two, "),
        ("fastest", "(module:object names your own)"),
        ("round-robin(3)", "router 'round-robin(3)': round-robin has no parameters"),
        ("random(seed=3)", "router 'random(seed=3)': random has no parameters"),
        ("power-of-two(1)", "power-of-two: choices=1: expected a whole number of at least 2"),
        ("power-of-two(2.5)", "power-of-two: choices=2.5: expected a whole number of at least 2"),
        ("power-of-two(True)", "power-of-two: choices=True: expected a whole number"),
        ("power-of-two(choice=3)", "unknown parameter 'choice', did you mean 'choices'?"),
        (
            "sla-slack(-1)",
            "sla-slack: margin=-1: expected a number of at least 0 and at most 1e+06",
        ),
        ("sla-slack(wide)", "sla-slack: margin='wide': expected a number"),
        ("sla-slack(1e999)", "sla-slack: margin=inf: expected a number"),
        ("affinity(user)", "affinity: key='user': expected session, prefix, tenant"),
        ("affinity(3)", "affinity: key=3: expected session, prefix, tenant"),
        ("affinity(spill=0.9)", "affinity: spill=0.9: expected a number of at least 1 and at most"),
        ("affinity(spill=True)", "affinity: spill=True: expected a number of at least 1"),
        ("least-requests(", "router 'least-requests(': expected a name such as round-robin"),
        ("", "router '': expected a name such as round-robin"),
    ],
)
def test_what_a_text_can_not_mean(text, message):
    with pytest.raises(PolicyError) as error:
        make_router(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("wrong", [RoundRobin, 3, None, [Random()]])
def test_an_object_that_is_no_router_is_refused(wrong):
    with pytest.raises(PolicyError, match="router"):
        make_router(wrong)


def test_those_that_look_say_so():
    blind = {name for name in set(ROUTERS) - {"pools"} if not make_router(name).looks}
    assert blind == {"round-robin", "random"}


def test_in_turn_among_those_that_take():
    assert routes(RoundRobin(), fleet(3), 7) == [0, 1, 2, 0, 1, 2, 0]
    assert routes(RoundRobin(), fleet(5, [1, 4]), 3) == [1, 4, 1]
    over = fleet(4)
    route = RoundRobin().start(over.profiles, np.random.default_rng(0)).route
    first = [route(REQUEST, over) for _ in range(3)]
    over.taking = [0, 3]
    assert first + [route(REQUEST, over) for _ in range(2)] == [0, 1, 2, 0, 3]


def test_at_random_among_those_that_take():
    n = 20_000
    chosen = np.bincount(routes(Random(), fleet(6, [0, 2, 3, 5]), n), minlength=6)
    assert chosen[1] == chosen[4] == 0
    # Binomial with probability 1/4: standard deviation 61.
    assert np.abs(chosen[[0, 2, 3, 5]] - n / 4).max() < 4 * (n * 3 / 16) ** 0.5
    # One after the other without memory: pairs of equals are a quarter of all.
    row = np.array(routes(Random(), fleet(4), n))
    assert abs((row[1:] == row[:-1]).sum() - n / 4) < 4 * (n * 3 / 16) ** 0.5
    assert routes(Random(), fleet(4), 9, seed=1) == routes(Random(), fleet(4), 9, seed=1)
    assert routes(Random(), fleet(4), 9, seed=1) != routes(Random(), fleet(4), 9, seed=2)


MODULE = """
class Last:
    label = "last"
    looks = False
    def start(self, profiles, rng):
        return self
    def route(self, request, fleet):
        return fleet.taking[-1]

class Broken(Last):
    def route(self, request, fleet):
        raise ValueError("two\\nlines")

class NoRoute(Last):
    def start(self, profiles, rng):
        return 5

class Silent:
    label = "silent"
    start = Last.start

last, broken, no_route, silent = Last(), Broken(), NoRoute(), Silent()

def emptiest(request, fleet):
    return min(fleet.taking, key=lambda replica: fleet.outstanding_tokens[replica])

def outside(request, fleet):
    return 3

def nothing(request, fleet):
    return None

def yes(request, fleet):
    return True

def one(view):
    return ()
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "own_routers.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("own_routers", None)


def test_a_router_of_a_module(module):
    router = make_router("own_routers:last")
    assert isinstance(router, GuardedRouter)
    assert (router.label, router.looks) == ("last", False)
    assert routes(router, fleet(4, [0, 2]), 1) == [2]


def test_a_function_of_a_module_looks(module):
    router = make_router("own_routers:emptiest")
    assert (router.label, router.looks) == ("own_routers:emptiest", True)
    over = fleet(3)
    over.outstanding_tokens[:] = [5, 4, 6]
    assert routes(router, over, 1) == [1]


def test_a_function_is_a_router():
    def second(request, fleet):
        return np.int64(fleet.taking[1])

    router = make_router(second)
    assert (router.label, router.looks) == ("second", True)
    assert routes(router, fleet(4, [1, 3]), 1) == [3]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("outside", "router own_routers:outside chose 3: expected the index of a replica that "),
        ("outside", "one of fleet.taking, here 0, 1"),
        ("nothing", "router own_routers:nothing chose None: expected the index"),
        ("yes", "router own_routers:yes chose True: expected the index"),
        ("broken", "router last: its route failed with ValueError: two lines at "),
        (
            "no_route",
            "router last: start returned 5: expected an object with route(request, fleet)",
        ),
        ("silent", "router silent: expected an attribute 'looks', True if it reads"),
        ("one", "is neither a router (start(profiles, rng)) nor a function of two arguments, "),
        ("one", "the request and the fleet"),
        ("lost", "module own_routers has no 'lost', did you mean 'last'?"),
    ],
)
def test_what_goes_wrong_in_a_module_is_one_line(module, name, message):
    with pytest.raises(PolicyError) as error:
        routes(make_router(f"own_routers:{name}"), fleet(4, [0, 1]), 1)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("looks", [False, True])
def test_an_object_of_ones_own_that_chooses_nobody_is_an_error(looks):
    class Nobody:
        label = "nobody"

        def __init__(self):
            self.looks = looks

        def start(self, profiles, rng):
            return self

        def route(self, request, fleet):
            return -1

    with pytest.raises(PolicyError, match="nobody"):
        simulate(
            workload("W3", rps=5, n=5),
            load_profile("paper-qwen2.5-coder-3b"),
            replicas=2,
            router=Nobody(),
        )
