"""Where a band crosses the target, and what is asked for on the way to an answer."""

import math
from dataclasses import replace

import pytest

from sim.plan.answer import Lane, Span
from sim.plan.band import Rules, Verdict
from sim.plan.evaluate import Point, Runs
from sim.plan.lane import crossing, follow_lane, rate_by_seeds
from sim.plan.measure import Sample
from sim.plan.target import parse_target


@pytest.mark.parametrize("where", [0.8, 1.0, 1.1, 1.3, 1.6])
def test_a_power_law_crosses_where_it_does(where):
    rates = [1.0, 1.2, 1.5]

    assert crossing(rates, [(rate / where) ** 3 for rate in rates]) == pytest.approx(where)


def test_no_crossing_where_the_strain_does_not_rise_or_has_no_number():
    assert crossing([1.0, 1.2], [0.9, 0.8]) is None
    assert crossing([1.0, 1.2], [0.0, 0.8]) is None
    assert crossing([1.0, 1.2], [0.5, math.inf]) is None
    assert crossing([1.0, 1.2], [0.5, 0.5001]) is None  # far beyond what was looked at


SIZES = {size: f"static({size})" for size in (16, 32, 64, 128)}


def formula(point, seed):
    """Latency grows with rate over replicas; the best size is 32, by a tenth a step."""
    [(_, count)] = point.fleet
    labels = list(SIZES.values())
    off = abs(labels.index(point.policy) - 1) if point.policy in labels else 0
    value_s = 0.1 if not point.rate else point.rate / count * (1 + 0.1 * off) * 3.05
    value_s *= 1 + 0.004 * (seed - 2)
    return Sample((value_s,), {}, None, None, None, 0, 99, False, {}, ())


def follow(lane, rules, run=formula):
    [answer] = Runs(run).follow([follow_lane(lane, rules)])
    return answer


RULES = Rules(parse_target("e2e_mean<=1"), seeds=5)
POINT = Point(((0, 1),), "saber")


def test_answers_of_a_formula():
    answer = follow(Lane(0, "saber", {}, 64, None, False), RULES)

    assert answer.replicas == 4  # 3.05 replicas' worth
    assert answer.rate.meets <= 4 / 3.05 < answer.rate.misses
    # Seeds lie within 0.8 % of the mean.
    assert answer.rate_by_seeds.low == pytest.approx(4 / 3.05, rel=0.02)
    assert answer.rate_by_seeds.low < answer.rate.meets < answer.rate_by_seeds.high
    assert (answer.replicas_by_seeds.low, answer.replicas_by_seeds.high) == (4, 4)
    assert answer.fewer.point.fleet == ((0, 3),)
    assert answer.breaks.cause is None  # lifting a limit changes nothing here


def test_a_first_seed_that_is_far_off_does_not_decide_the_rate():
    def run(point, seed):  # the mean over five seeds is the formula's own
        sample = formula(point, 2)
        return replace(sample, values=((2.2 if seed == 0 else 0.7) * sample.values[0],))

    answer = follow(Lane(0, "saber", {}, 64, 4, False), RULES, run)

    assert answer.rate.meets <= 4 / 3.05 < answer.rate.misses
    assert answer.rate.misses / answer.rate.meets <= 1.011


def look_at(rate, *values_s):
    samples = tuple(replace(formula(POINT, 2), values=(value_s,)) for value_s in values_s)
    return Verdict(replace(POINT, rate=rate), samples, RULES)


def test_a_band_leans_on_looks_that_are_apart_and_on_the_same_seeds():
    def strain(rate):
        return rate**2

    at_rate = look_at(1.0, 0.98, 1.0, 1.02)
    half = at_rate.worst_strain - 1
    apart = [look_at(r, *(strain(r) * v for v in (0.98, 1.0, 1.02))) for r in (0.9, 1.1)]
    beside = look_at(1.015, 1.2, 1.2, 1.2)  # noise
    other_seeds = look_at(1.1, 5.0)

    found = rate_by_seeds([beside, other_seeds, *apart], at_rate)

    assert found.low == pytest.approx((1 + half) ** -0.5, rel=1e-6)
    assert found.high == pytest.approx((1 - half) ** -0.5, rel=1e-6)
    assert rate_by_seeds([other_seeds], look_at(1.0, 1.0)) is None
    assert rate_by_seeds([], at_rate) == Span(None, None)


def test_the_best_size_is_found_and_planned_for():
    answer = follow(Lane(0, "static(128)", SIZES, 64, None, False), RULES)

    assert answer.policy == "static(32)"
    assert answer.replicas == 4
    assert answer.at.point.policy == "static(32)"


def test_a_band_over_replicas():
    # The mean with 3 is 1.01667 and just meets; the seeds lie up to 0.8 % on either side.
    lane = Lane(0, "saber", {}, 64, None, False)
    wide = Rules(parse_target("e2e_mean<=1.0167"), seeds=5)
    answer = follow(lane, wide)

    assert answer.replicas == 3
    assert answer.at.straddles
    assert (answer.replicas_by_seeds.low, answer.replicas_by_seeds.high) == (3, 4)
    assert len(answer.breaks.at.samples) == 5  # missed, so on every seed: the band leans on it


def test_ends_of_the_costs_are_asked_for():
    answer = follow(Lane(0, "saber", {}, 64, None, True), RULES, _scaled)

    assert (answer.replicas_by_costs.low, answer.replicas_by_costs.high) == (2, 7)
    assert answer.rate_by_costs.low == pytest.approx(2 / 3.05, rel=0.011)
    assert answer.rate_by_costs.high == pytest.approx(8 / 3.05, rel=0.011)


def _scaled(point, seed):
    sample = formula(point, seed)
    factor = {"low": 0.5, "high": 2.0}.get(point.costs, 1.0)
    return Sample((factor * sample.values[0],), {}, None, None, None, 0, 99, False, {}, ())
