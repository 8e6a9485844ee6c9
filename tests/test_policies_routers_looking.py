"""Routers that count: where the fewest are, and how good two choices are."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.protocol import NEVER_PS, Pending
from policies.routers_looking import LeastRequests, LeastTokens, PowerOfTwo, least
from policies.routing import Fleet

REQUEST = Pending(0, 0, NEVER_PS, 10, 20)


def fleet(requests: list[int], tokens: list[int] | None = None) -> Fleet:
    made = Fleet([None] * len(requests))
    made.requests[:] = requests
    made.outstanding_tokens[:] = tokens or [0] * len(requests)
    return made


def chosen(router, over: Fleet, count: int, seed: int = 0) -> list[int]:
    route = router.start(over.profiles, np.random.default_rng(seed)).route
    return [route(REQUEST, over) for _ in range(count)]


@given(st.data())
def test_the_least_is_the_least_and_equals_take_turns(data):
    values = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=8))
    everyone = range(len(values))
    taking = data.draw(st.just(everyone) | st.sets(st.sampled_from(everyone), min_size=1))
    taking = sorted(taking) if isinstance(taking, set) else taking
    first = data.draw(st.integers(0, len(values)))
    # From the first one on and around, the first that has the least.
    order = [i for i in everyone if i >= first] + [i for i in everyone if i < first]
    smallest = min(values[i] for i in taking)
    expected = next(i for i in order if i in taking and values[i] == smallest)
    assert least(values, taking, first) == expected


def test_the_fewest_requests_or_tokens():
    over = fleet([3, 1, 2], tokens=[10, 40, 20])
    assert chosen(LeastRequests(), over, 2) == [1, 1]
    assert chosen(LeastTokens(), over, 2) == [0, 0]
    over.taking = [0, 2]
    assert chosen(LeastRequests(), over, 1) == [2]


@pytest.mark.parametrize("router", [LeastRequests(), LeastTokens()])
def test_an_idle_cluster_is_used_in_turn(router):
    over = fleet([0, 0, 0])
    assert chosen(router, over, 5) == [0, 1, 2, 0, 1]
    over.taking = [0, 2]
    assert chosen(router, over, 4) == [0, 2, 0, 2]


@pytest.mark.parametrize("choices", [2, 3, 5])
def test_the_best_of_so_many_drawn_without_repetition(choices):
    n, replicas = 20_000, 6
    # The replica at place k of the order is chosen if it is drawn and nobody before it is.
    over = fleet([50, 30, 10, 0, 20, 40])
    places = [5, 3, 1, 0, 2, 4]
    counts = np.bincount(chosen(PowerOfTwo(choices), over, n), minlength=replicas)
    for replica, place in enumerate(places):
        p = comb(replicas - 1 - place, choices - 1) / comb(replicas, choices)
        assert abs(counts[replica] - n * p) <= 4 * (n * p * (1 - p)) ** 0.5


def test_of_equals_the_first_drawn_each_as_likely():
    n = 20_000
    counts = np.bincount(chosen(PowerOfTwo(), fleet([7] * 5), n), minlength=5)
    assert np.abs(counts - n / 5).max() < 4 * (n * 4 / 25) ** 0.5


def test_what_is_drawn_and_that_the_first_of_equals_stays():
    class Dice:
        def __init__(self, *numbers: float) -> None:
            self.numbers = iter(numbers)

        def random(self) -> float:
            return next(self.numbers)

    def drawn(requests: list[int], *numbers: float) -> int:
        over = fleet(requests)
        return PowerOfTwo(3).start(over.profiles, Dice(*numbers)).route(REQUEST, over)

    # Places 2 of four, 2 of the three others, which is 3, and 1 of the two that are left.
    assert drawn([9, 9, 9, 9], 0.5, 0.7, 0.5) == 2
    assert drawn([9, 9, 9, 8], 0.5, 0.7, 0.5) == 3
    assert drawn([9, 7, 9, 8], 0.5, 0.7, 0.5) == 1


def test_it_draws_among_those_that_take():
    over = fleet([0, 5, 0, 6, 7])
    over.taking = [1, 3, 4]
    assert set(chosen(PowerOfTwo(), over, 300)) == {1, 3}
    assert set(chosen(PowerOfTwo(9), over, 50)) == {1}
    over.taking = [4]
    assert chosen(PowerOfTwo(), over, 3) == [4] * 3


def test_two_choices_level_out_what_one_leaves_uneven():
    # As many balls as bins: the fullest has about ln n / ln ln n with one choice and
    # ln ln n / ln 2 with two (Azar, Broder, Karlin, Upfal 1994); the least loaded has one each.
    n = 2_000

    def fullest(router, seed: int) -> int:
        over = fleet([0] * n)
        route = router.start(over.profiles, np.random.default_rng(seed)).route
        for _ in range(n):
            over.requests[route(REQUEST, over)] += 1
        return max(over.requests)

    one = [int(np.bincount(np.random.default_rng(s).integers(0, n, n)).max()) for s in range(5)]
    two = [fullest(PowerOfTwo(), seed) for seed in range(5)]
    assert max(two) <= 4 < min(one)
    assert fullest(LeastRequests(), 0) == 1
