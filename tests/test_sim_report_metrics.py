"""Numbers of a summary and what one run has more than another, in words."""

import pytest
from report_cases import simulated

from sim.report.metrics import (
    COUNTS,
    GOODPUT,
    LATENCY,
    Metric,
    difference,
    sections,
    shown,
    value_of,
)

GOODPUT_PCT = GOODPUT[0]
TTFT_MEAN = LATENCY[0]
FINISHED = COUNTS[1]
PLAIN = Metric("duration_s", "Duration", "s")


def test_values_are_in_the_unit_that_is_shown():
    summary = simulated().summary
    tpot = next(metric for metric in LATENCY if metric.path == "tpot_s.p99")
    assert value_of(summary, tpot) == pytest.approx(1e3 * summary["tpot_s"]["p99"])
    assert shown(12345.0, FINISHED) == "12,345"
    assert shown(0.01234, TTFT_MEAN) == "0.0123"
    assert shown(None, TTFT_MEAN) == "-"


@pytest.mark.parametrize(
    ("metric", "a", "b", "absolute", "relative", "verdict"),
    [
        (GOODPUT_PCT, 80.0, 90.0, "+10.0 points", "+12.5 %", "better"),
        (GOODPUT_PCT, 90.0, 80.0, "~10.0 points", "~11.1 %", "worse"),
        (TTFT_MEAN, 2.0, 1.0, "~1.00 s", "~50.0 %", "better"),
        (TTFT_MEAN, 1.0, 2.0, "+1.00 s", "+100 %", "worse"),
        (TTFT_MEAN, 1.0, 1.0005, "+0.000500 s", "+0.0500 %", "same"),
        (TTFT_MEAN, 1.0, 1.0, "±0", "", "same"),
        (TTFT_MEAN, 0.0, 1.0, "+1.00 s", "", "worse"),
        (FINISHED, 90.0, 100.0, "+10", "+11.1 %", "better"),
        (PLAIN, 10.0, 11.0, "+1.00 s", "+10.0 %", "other"),
        (TTFT_MEAN, None, 1.0, "", "", ""),
        (TTFT_MEAN, 1.0, None, "", "", ""),
    ],
)
def test_a_difference_is_signed_and_judged(metric, a, b, absolute, relative, verdict):
    found = difference(metric, a, b)
    written = (found.absolute, found.relative)
    assert tuple(text.replace("\N{MINUS SIGN}", "~") for text in written) == (absolute, relative)
    assert found.verdict == verdict


def test_sections_hold_what_any_run_has_and_what_happened():
    summary = simulated().summary
    paths = {metric.path for _, some in sections([summary]) for metric in some}
    assert {"goodput_pct", "ttft_s.p99", "requests", "statuses.finished"} <= paths
    assert not paths & {"cost", "prefix_hit_pct", "preemptions", "statuses.failed", "attempts"}
    failed = {**summary, "cost": 3.5, "statuses": {**summary["statuses"], "failed": 2}}
    more = {metric.path for _, some in sections([summary, failed]) for metric in some}
    assert more - paths == {"cost", "statuses.failed"}
