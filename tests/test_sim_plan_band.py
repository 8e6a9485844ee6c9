"""Means, intervals and verdicts; how many seeds a case gets."""

import math

import pytest
from scipy import stats

from sim.plan.band import Rules, Verdict, difference, interval, judged, looked_at
from sim.plan.evaluate import Point
from sim.plan.measure import Sample
from sim.plan.target import parse_target

POINT = Point(((0, 2),), "saber")
GOODPUT = parse_target("goodput>=95%")
RULES = Rules(GOODPUT, seeds=5)


def sample(*values: float) -> Sample:
    return Sample(values, {}, None, None, None, 0, 1, True, {}, ())


def verdict(values, rules=RULES):
    return Verdict(POINT, tuple(sample(value) for value in values), rules)


def drive(lane, values):
    """Answer a lane from a list of values by seed; return its end and what it asked for."""
    asked = []
    try:
        ask = next(lane)
        while True:
            asked.append(ask.seeds)
            ask = lane.send(tuple(sample(values[seed]) for seed in ask.seeds))
    except StopIteration as end:
        return end.value, asked


def test_interval_is_students():
    values = [93.0, 95.5, 97.0, 94.0]
    found = interval(values, 95, 100)

    low, high = stats.t.interval(0.95, 3, sum(values) / 4, stats.sem(values))
    assert (found.mean, found.low, found.high) == pytest.approx((sum(values) / 4, low, high))
    narrower = interval(values, 80, 100)
    assert narrower.high - narrower.low < found.high - found.low


def test_interval_within_what_can_be():
    assert interval([100.0, 99.0, 100.0], 95, 100).high == 100
    assert interval([0.01, 0.2, 0.02], 95).low == 0


def test_one_number_and_an_infinite_one_have_no_interval():
    assert interval([95.0], 95).low is None
    assert interval([1.0, math.inf], 95) == interval([math.inf], 95)
    assert interval([1.0, math.nan], 95).mean == 1.0
    assert math.isnan(interval([math.nan], 95).mean)


def test_difference_may_be_below_0():
    assert difference([-1.0, -2.0, -3.0], 95).high < 0.5
    assert difference([-1.0, -2.0, -3.0], 95).mean == -2


def test_a_verdict_by_the_mean():
    found = verdict([94.0, 97.0, 96.0, 95.0, 94.5])

    assert found.meets
    assert found.straddles
    assert found.seeds_met == 3
    assert not verdict([94.0, 94.2, 94.1]).meets
    assert not verdict([94.0, 94.2, 94.1]).straddles


def test_a_cautious_verdict_is_by_the_worse_end():
    cautious = Rules(GOODPUT, seeds=5, cautious=True)

    assert verdict([94.0, 97.0, 96.0, 95.0, 94.5]).meets
    assert not verdict([94.0, 97.0, 96.0, 95.0, 94.5], cautious).meets
    assert verdict([97.0, 97.1, 97.2, 97.0, 97.1], cautious).meets


def test_the_worse_end_of_a_latency_is_the_high_one():
    rules = Rules(parse_target("ttft_p99<=1"), seeds=3, cautious=True)

    assert verdict([0.9, 0.91, 0.92], rules).meets
    assert not verdict([0.6, 0.9, 1.2], rules).meets
    assert verdict([0.6, 0.9, 1.2], rules).best_strain < 1 < verdict([0.6, 0.9, 1.2], rules).strain


def test_one_seed_decides_nothing():
    assert verdict([96.0]).straddles
    assert not verdict([99.9]).straddles  # but for what is clear


def test_a_clear_case_gets_one_seed_and_a_close_one_all():
    clear, asked = drive(judged(POINT, RULES), [50.0] * 5)
    assert len(clear.samples) == 1
    assert asked == [(0,)]
    met, asked = drive(judged(POINT, RULES), [99.0] * 5)
    assert asked == [(0,)]
    assert met.meets

    some, asked = drive(judged(POINT, RULES), [94.0, 94.1, 93.9, 94.0, 94.0])
    assert asked[-1] == (0, 1, 2)
    assert not some.meets

    close, asked = drive(judged(POINT, RULES), [96.0, 93.0, 97.0, 95.0, 95.0])
    assert asked[-1] == (0, 1, 2, 3, 4)
    assert len(close.samples) == 5


@pytest.mark.parametrize(("at_least", "seeds"), [(1, 1), (2, 3), (3, 3), (5, 5), (9, 5)])
def test_at_least_so_many_seeds_are_looked_at(at_least, seeds):
    _, asked = drive(judged(POINT, RULES, at_least=at_least), [50.0] * 5)
    assert asked == [tuple(range(seeds))]


def test_a_look_takes_just_so_many():
    assert drive(looked_at(POINT, RULES, 3), [95.0] * 5)[1] == [(0, 1, 2)]
    assert drive(looked_at(POINT, RULES, 9), [95.0] * 5)[1] == [(0, 1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("seeds", "first", "stages"),
    [(1, 1, (1,)), (2, 1, (1, 2)), (5, 1, (1, 3, 5)), (30, 5, (5, 15, 30)), (3, 5, (3,))],
)
def test_stages(seeds, first, stages):
    assert Rules(GOODPUT, seeds, first).stages == stages
