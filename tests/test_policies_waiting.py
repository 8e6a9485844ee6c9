"""The queue in some order that several policies share."""

from __future__ import annotations

from random import Random

import pytest

from policies.waiting import STALE_ENTRIES, Waiting, release


def test_the_least_key_is_first_and_of_equals_who_came_first():
    waiting = Waiting()
    for request, key in ((4, 2.0), (2, 1.0), (9, 1.0), (1, 3.0)):
        waiting.put(request, key)
    assert [waiting.pop() for _ in range(4)] == [(1.0, 2), (1.0, 9), (2.0, 4), (3.0, 1)]
    with pytest.raises(IndexError):
        waiting.pop()


def test_who_left_is_skipped_and_may_come_back_with_another_key():
    waiting = Waiting()
    for request in range(4):
        waiting.put(request, request)
    waiting.discard(0)
    waiting.discard(2)
    waiting.discard(77)
    waiting.put(0, 2.5)
    assert 0 in waiting
    assert 2 not in waiting
    assert len(waiting) == 3
    assert [waiting.pop()[1] for _ in range(3)] == [1, 0, 3]
    assert not waiting


def test_seats_are_filled_as_far_as_there_are_any():
    waiting = Waiting()
    for request in range(5):
        waiting.put(request, -request)
    assert release(waiting, 0).release == ()
    assert release(waiting, -3).release == ()
    assert release(waiting, 2).release == [4, 3]
    assert release(waiting, 9).release == [2, 1, 0]
    assert release(waiting, 9).release == ()


def test_it_is_a_queue_whatever_comes_and_goes_and_does_not_grow_with_what_left():
    dice = Random(1)
    waiting, known = Waiting(), {}
    for turn in range(20_000):
        request = dice.randrange(60)
        if request in known:
            del known[request]
            waiting.discard(request)
        else:
            known[request] = (dice.randrange(9), turn)
            waiting.put(request, known[request][0])
        assert len(waiting._heap) <= 2 * 60 + STALE_ENTRIES + 1
    assert [waiting.pop()[1] for _ in range(len(waiting))] == sorted(known, key=known.get)
