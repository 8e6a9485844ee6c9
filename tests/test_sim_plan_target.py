"""Targets as typed, and the strain they put into one number."""

import math

import pytest

from sim.options import OptionError
from sim.plan.target import Condition, Target, parse_target


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("goodput>=95%", Condition("goodput", None, 95)),
        ("goodput >= 99.5", Condition("goodput", None, 99.5)),
        ("ttft_p99<=0.5", Condition("ttft", 99, 0.5)),
        ("ttft_p99 <= 500ms", Condition("ttft", 99, 0.5)),
        ("e2e_p95<=2s", Condition("e2e", 95, 2)),
        ("e2el_p99.9<=2", Condition("e2e", 99.9, 2)),
        ("tpot_mean<=50ms", Condition("tpot", None, 0.05)),
    ],
)
def test_conditions(text, expected):
    [condition] = parse_target(text).conditions

    assert condition == expected
    assert parse_target(condition.text).conditions == (expected,)


def test_several_conditions():
    target = parse_target("goodput>=95%, ttft_p99<=0.5,ttft_p50<=100ms")

    assert [c.name for c in target.conditions] == ["goodput", "ttft_p99", "ttft_p50"]
    assert target.needs_goodput
    assert not parse_target("ttft_p99<=1").needs_goodput


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected goodput>=95%"),
        ("fast", "expected goodput>=95%"),
        ("goodput>=95%,,", "expected goodput>=95%"),
        ("goodput<=95%", "kept with >="),
        ("goodput>=95ms", "kept with >="),
        ("goodput>=0.95", "in percent"),
        ("goodput>=101", "up to 100"),
        ("goodput>=0%", "above 0"),
        ("ttft_p99>=1", "kept with <="),
        ("ttft_p99<=5%", "seconds"),
        ("ttft_p99<=0", "above 0"),
        ("ttft_p99<=1e999", "above 0"),
        ("ttft_p99<=1-1", "not a number"),
        ("ttft<=1", "which part"),
        ("ttft_p0<=1", "which part"),
        ("ttft_p100<=1", "which part"),
        ("ttft_max<=1", "which part"),
        ("ttft_px<=1", "which part"),
        ("itl_p99<=1", "unknown 'itl'"),
        ("ttft_p99<=1,ttft_p99<=2", "ttft_p99 twice"),
    ],
)
def test_texts_that_are_none(text, message):
    with pytest.raises(OptionError, match=message) as error:
        parse_target(text)
    assert "\n" not in str(error.value)


def test_strain_is_1_at_the_limit_and_more_outside():
    goodput, ttft = parse_target("goodput>=95%,ttft_p99<=0.5").conditions

    assert goodput.strain(95) == 1
    assert goodput.strain(90) == pytest.approx(2)
    assert goodput.strain(100) == 0
    assert ttft.strain(0.5) == 1
    assert ttft.strain(2) == 4
    assert ttft.strain(math.inf) == math.inf


def test_all_requests_is_a_target_too():
    [every] = parse_target("goodput>=100%").conditions

    assert every.strain(100) == 0
    assert every.strain(99.99) == math.inf


def test_what_is_not_known_is_not_met():
    for condition in parse_target("goodput>=95%,ttft_p99<=0.5").conditions:
        assert condition.strain(math.nan) == math.inf


def test_the_hardest_pressed_condition_decides():
    target = Target((Condition("goodput", None, 95), Condition("ttft", 99, 0.5)))

    assert target.strain([99, 0.4]) == pytest.approx(0.8)
    assert target.strain([90, 0.4]) == pytest.approx(2)


def test_values_with_units():
    goodput, ttft = parse_target("goodput>=95%,ttft_p99<=0.5").conditions

    assert goodput.show(95.04) == "95 %"
    assert goodput.show(99.87) == "99.87 %"
    assert ttft.show(0.0123) == "12.3 ms"
    assert ttft.show(2.5) == "2.5 s"
    assert ttft.show(math.inf) == "without end"
