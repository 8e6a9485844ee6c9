"""A sorted queue whose entries expire."""

from bisect import insort

from hypothesis import given
from hypothesis import strategies as st

from policies.hopeful import Entry, Hopeful
from policies.protocol import NEVER_PS, Pending


def entry(id, rank, tie=0):
    return Entry(rank, tie, id, Pending(id, 0, NEVER_PS, 1, 1), 0.1)


def test_the_least_is_first_and_the_tie_decides_between_equals():
    waiting = Hopeful()
    assert not waiting
    for id, (rank, tie) in enumerate([(2.0, 1), (1.0, 5), (1.0, -5)]):
        waiting.put(entry(id, rank, tie), NEVER_PS)
    assert [each.id for each in waiting.entries] == [2, 1, 0]
    assert waiting
    assert waiting.next_expiry_ps() == NEVER_PS


def test_who_left_expires_no_more_and_may_come_back():
    waiting = Hopeful()
    waiting.put(entry(1, 1.0), 10)
    waiting.discard(1)
    waiting.discard(1)
    waiting.put(entry(1, 1.0), 20)
    assert waiting.next_expiry_ps() == 20
    assert waiting.expire(19) == []
    assert [request.id for request in waiting.expire(20)] == [1]
    assert waiting.get(1) is None


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 9), st.integers(0, 40)),
        st.tuples(st.just("discard"), st.integers(0, 9), st.just(0)),
        st.tuples(st.just("expire"), st.just(0), st.integers(0, 40)),
    ),
    max_size=60,
)


@given(STEPS)
def test_it_is_what_a_list_would_be(steps):
    waiting, model = Hopeful(), {}
    for what, id, at in steps:
        if what == "put" and id not in model:
            waiting.put(entry(id, at % 3), at)
            model[id] = at
        elif what == "discard":
            waiting.discard(id)
            model.pop(id, None)
        elif what == "expire":
            due = sorted((expiry, id) for id, expiry in model.items() if expiry <= at)
            assert [request.id for request in waiting.expire(at)] == [id for _, id in due]
            model = {id: expiry for id, expiry in model.items() if expiry > at}
        ids = []
        for id, expiry in model.items():
            insort(ids, (expiry % 3, 0, id))
        assert [(e.rank, e.tie, e.id) for e in waiting.entries] == ids
        assert waiting.next_expiry_ps() == min(model.values(), default=NEVER_PS)
