"""Tokens that came together."""

from calibrate.imported.arrivals import share_together, together_s
from calibrate.imported.result import ImportedRequest


def request(*gaps_s):
    return ImportedRequest(10, len(gaps_s) + 1, 0.0, 0.1, 0.1 + sum(gaps_s), gaps_s)


def test_a_gap_far_below_the_long_ones_is_none():
    rows = [request(*[0.01] * 30, *[1e-5] * 10)]
    assert 1e-5 < together_s(rows) < 0.01
    assert share_together(rows) == 0.25


def test_stalls_do_not_make_steps_look_like_nothing():
    # One gap in twenty holds a prompt of ten steps.
    assert share_together([request(*([0.01] * 19 + [0.1]))] * 3) == 0


def test_without_gaps_nothing_came_together():
    assert together_s([request()]) == 0
    assert share_together([]) == 0
