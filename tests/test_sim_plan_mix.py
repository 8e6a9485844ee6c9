"""Mixes: what is worth a look, and that the cheapest is found without looking at all."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from sim.plan.band import Rules
from sim.plan.evaluate import Runs
from sim.plan.measure import Sample
from sim.plan.mix import Need, candidates, cheapest_mix, cheapest_that_meets, price
from sim.plan.target import parse_target


def test_candidates_are_cheaper_mixes_that_add_up():
    # A needs 1.2 and so 2 at 4; B needs 5.5 and so 6 at 1: the price to beat is 6.
    needs = [Need(2, 1.2, 4.0), Need(6, 5.5, 1.0)]

    # One A is 0.83 of the need, one B is 0.18: the parts of four B are 0.73.
    assert candidates(needs) == [(1, 1)]


def test_candidates_fall_short_of_the_sum_of_their_parts_by_so_much():
    needs = [Need(4, 4.0, 3.0), Need(10, 10.0, 1.0)]

    # Of what costs less than 10: 1 A and 3 B are 0.55 of the need, 1 A and 4 B are 0.65.
    assert candidates(needs) == [(1, 4), (2, 1), (1, 5), (2, 2), (1, 6), (2, 3)]


def test_counts_of_many_kinds_are_listed_in_no_time():
    needs = [Need(30, 30.0, 1.0 + kind / 100) for kind in range(4)]

    assert all(price(counts, needs) < 30 for counts in candidates(needs))


def test_a_kind_for_nothing_leaves_nothing_to_beat():
    assert candidates([Need(4, 4.0, 3.0), Need(10, 10.0, 0.0)]) == []


def test_nothing_to_beat_no_candidates():
    assert candidates([Need(None, float("inf"), 1.0), Need(None, float("inf"), 2.0)]) == []


def test_a_kind_that_does_for_no_number_is_in_no_mix():
    found = candidates([Need(3, 2.1, 4.0), Need(None, float("inf"), 0.1), Need(9, 8.2, 1.5)])

    assert found
    assert all(counts[1] == 0 for counts in found)


kinds = st.tuples(st.floats(0.5, 8), st.floats(0.2, 5))


@given(st.lists(kinds, min_size=2, max_size=3), st.floats(0.65, 1.1))
def test_the_cheapest_mix_is_found_where_replicas_add_up(given_kinds, enough):
    needs = [Need(int(-(-exact // 1)), exact, cost) for exact, cost in given_kinds]

    def does(counts):
        return sum(n / need.exact for n, need in zip(counts, needs, strict=True)) >= enough

    listed = candidates(needs)
    search, met, tried = cheapest_that_meets(listed, lambda c: price(c, needs)), [], []
    try:
        counts = next(search)
        while True:
            tried.append(counts)
            met += [counts] * does(counts)
            counts = search.send(does(counts))
    except StopIteration as end:
        left = end.value

    alone = min(need.replicas * need.price_per_h for need in needs)
    every = product(*(range(need.replicas + 1) for need in needs))
    cheaper = [
        counts
        for counts in every
        if does(counts) and sum(n > 0 for n in counts) > 1 and price(counts, needs) < alone
    ]
    assert left == 0
    assert bool(met) == bool(cheaper)
    if met:
        assert price(met[-1], needs) == min(price(counts, needs) for counts in cheaper)
    for place, counts in enumerate(tried):
        for failed in (other for other in tried[:place] if not does(other)):
            assert any(a > b for a, b in zip(counts, failed, strict=True))


def test_few_are_asked_and_the_rest_is_told():
    listed = sorted(product(range(1, 80), range(1, 80)), key=sum)
    asked = 0
    search = cheapest_that_meets(listed, sum)
    try:
        counts = next(search)
        while True:
            asked += 1
            counts = search.send(sum(counts) >= 80)
    except StopIteration as end:
        left = end.value

    assert asked == 40
    assert 0 < left < 100


def test_the_mix_that_is_named_is_the_cheapest_that_met_not_the_last_that_was_tried():
    needs = [Need(4, 4.0, 3.0), Need(10, 10.0, 1.0)]

    def run(point, seed):
        counts = dict(point.fleet)
        does = (
            counts[0] / 4 + counts[1] / 10 >= 0.72
        )  # of what costs less than 10: from 1 A and 5 B
        return Sample((0.5 if does else 2.5,), {}, None, None, None, 0, 1, True, {}, ())

    rules = Rules(parse_target("e2e_mean<=1"), seeds=3)
    [mix] = Runs(run).follow([cheapest_mix(needs, "saber", rules)])

    assert mix.at.meets
    assert dict(mix.at.point.fleet) == {0: 1, 1: 5}
    assert len(mix.at.samples) == 3
    assert mix.tried < mix.candidates
    assert mix.left == 0
