"""Mixes: what is worth a look, and that the cheapest is found without looking at all."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from sim.plan.mix import Need, candidates, first_that_meets, price


def test_candidates_are_cheaper_mixes_that_add_up():
    # A needs 1.2 and so 2 at 4; B needs 5.5 and so 6 at 1: the price to beat is 6.
    needs = [Need(2, 1.2, 4.0), Need(6, 5.5, 1.0)]

    # One A is 0.83 of the need; one B is 0.18.
    assert candidates(needs) == [(1, 1)]


def test_nothing_to_beat_no_candidates():
    assert candidates([Need(None, float("inf"), 1.0), Need(None, float("inf"), 2.0)]) == []


def test_a_kind_that_does_for_no_number_is_in_no_mix():
    found = candidates([Need(3, 2.1, 4.0), Need(None, float("inf"), 0.1), Need(9, 8.2, 1.5)])

    assert found
    assert all(counts[1] == 0 for counts in found)


kinds = st.tuples(st.floats(0.5, 8), st.floats(0.2, 5))


@given(st.lists(kinds, min_size=2, max_size=3))
def test_the_cheapest_mix_is_found_where_replicas_add_up(given_kinds):
    needs = [Need(int(-(-exact // 1)), exact, cost) for exact, cost in given_kinds]

    def does(counts):
        return sum(n / need.exact for n, need in zip(counts, needs, strict=True)) >= 1

    listed = candidates(needs)
    search, found, tried = first_that_meets(listed), None, []
    try:
        counts = next(search)
        while True:
            tried.append(counts)
            counts = search.send(does(counts))
    except StopIteration as end:
        found = end.value

    alone = min(need.replicas * need.price_per_h for need in needs)
    every = product(*(range(need.replicas + 1) for need in needs))
    cheaper = [
        counts
        for counts in every
        if does(counts) and sum(n > 0 for n in counts) > 1 and price(counts, needs) < alone
    ]
    assert (found is None) == (not cheaper)
    if found is not None:
        assert price(found, needs) == min(price(counts, needs) for counts in cheaper)
    for place, counts in enumerate(tried):
        for failed in tried[:place]:
            assert any(a > b for a, b in zip(counts, failed, strict=True))
