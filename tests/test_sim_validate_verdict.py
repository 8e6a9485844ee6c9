"""Limits, and the three things they can say."""

import pytest

from sim.interval import Estimate
from sim.options import OptionError
from sim.validate.compare import Comparison, Error
from sim.validate.verdict import (
    DEFAULT_TOLERANCE,
    Limit,
    parse_tolerance,
    together,
    verdicts_of,
)


def outcomes(text, **estimates):
    """Return the outcomes of limits on errors given as (mean, low, high) by name."""
    errors = []
    for name, estimate in estimates.items():
        metric, _, part = name.partition("_")
        value = None if estimate is None else Estimate(*estimate)
        errors.append(Error(metric, part, None if value is None else 1.0, 1.0, value))
    comparison = Comparison(tuple(errors), {}, 1, 10, 10)
    return verdicts_of(comparison, parse_tolerance(text))


@pytest.mark.parametrize(
    ("estimate", "outcome"),
    [
        ((1, -5, 5), "within"),
        ((0, 0, 0), "within"),
        ((4, 3, 5.1), "cannot be told"),
        ((7, 5.1, 9), "outside"),
        ((-7, -9, -5.1), "outside"),
        ((-4, -9, -4), "cannot be told"),
        ((0, -9, 9), "cannot be told"),
        ((50, None, None), "cannot be told"),
        (None, "cannot be told"),
    ],
)
def test_an_interval_lies_within_outside_or_across(estimate, outcome):
    [verdict] = outcomes("e2e:5", e2e_p50=estimate)
    assert verdict.outcome == outcome


def test_goodput_is_not_judged_where_there_is_none():
    assert outcomes("goodput:5", goodput=None) == ()


def test_the_default_judges_medians_and_goodput():
    assert parse_tolerance(DEFAULT_TOLERANCE) == (
        Limit("e2e.p50", 5),
        Limit("tpot.p50", 5),
        Limit("ttft.p50", 10),
        Limit("goodput", 5),
    )
    assert parse_tolerance("e2e.p90:2.5, throughput:3") == (
        Limit("e2e.p90", 2.5),
        Limit("throughput", 3),
    )


@pytest.mark.parametrize(
    "text",
    ["", "e2e", "e2e:", "e2e:0", "e2e:-5", "e2e:nan", "e2e:inf", "e2e.p95:5", "e2e.:5", "itl:5",
     "goodput.p50:5", "e2e:5,e2e.p50:5"],
)  # fmt: skip
def test_other_limits_are_refused_in_one_line(text):
    with pytest.raises(OptionError, match=r"--tolerance .*expected") as refused:
        parse_tolerance(text)
    assert "\n" not in str(refused.value)


def test_one_number_outside_fails_and_all_undecided_is_no_pass():
    inside, outside, unknown = (1, 0, 2), (9, 8, 10), (4, 3, 7)
    assert together(outcomes("e2e:5,ttft:5", e2e_p50=inside, ttft_p50=inside)) == "within"
    assert together(outcomes("e2e:5,ttft:5", e2e_p50=inside, ttft_p50=unknown)) == "within"
    assert together(outcomes("e2e:5,ttft:5", e2e_p50=inside, ttft_p50=outside)) == "outside"
    assert together(outcomes("e2e:5,ttft:5", e2e_p50=unknown, ttft_p50=outside)) == "outside"
    assert together(outcomes("e2e:5,ttft:5", e2e_p50=unknown, ttft_p50=unknown)) == "cannot be told"
    assert together([]) == "cannot be told"
