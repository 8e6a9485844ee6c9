"""The numbers of a run's summary in the words, units and order of the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sim.console import MISSING, number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Better = Literal["higher", "lower", ""]

SLIGHT = 0.001
"""A relative difference below this is no difference worth a colour."""


@dataclass(frozen=True)
class Metric:
    """One number of a summary.

    Attributes
    ----------
    path : str
        Where it is: keys joined by dots.
    label, unit : str
        What it is called, and its unit once scaled.
    better : str
        Which direction is good; "" where neither is.
    scale : float
        From the summary's unit to this one.
    """

    path: str
    label: str
    unit: str = ""
    better: Better = ""
    scale: float = 1.0

    @property
    def whole(self) -> bool:
        """Whether it counts something."""
        return not self.unit and self.scale == 1.0


SPREAD = ("mean", "p50", "p90", "p95", "p99")
LATENCIES = (("ttft_s", "TTFT", "s", 1.0), ("tpot_s", "TPOT", "ms", 1e3),
             ("itl_s", "ITL", "ms", 1e3), ("e2e_s", "E2E", "s", 1.0))  # fmt: skip
GOODPUT = (
    Metric("goodput_pct", "Goodput", "%", "higher"),
    Metric("goodput_rps", "Goodput", "requests/s", "higher"),
)
LATENCY = tuple(
    Metric(f"{key}.{part}", f"{name} {part}", unit, "lower", scale)
    for key, name, unit, scale in LATENCIES
    for part in SPREAD
)
EFFICIENCY = (
    Metric("sla_ratio.mean", "E2E / SLA, mean", "ratio", "lower"),
    Metric("throughput_tok_s", "Throughput", "tokens/s", "higher"),
    Metric("utilisation", "Utilisation", "%", "", 100.0),
    Metric("duration_s", "Duration", "s"),
    Metric("prefix_hit_pct", "Prefix hits", "% of prompt tokens", "higher"),
    Metric("replica_hours", "Replica-hours", "h", "lower"),
    Metric("cost", "Cost", "in the unit of the prices", "lower"),
)
COUNTS = (
    Metric("requests", "Requests"),
    Metric("statuses.finished", "finished", "", "higher"),
    Metric("statuses.refused", "refused", "", "lower"),
    Metric("statuses.failed", "failed", "", "lower"),
    Metric("statuses.timed_out", "timed out", "", "lower"),
    Metric("statuses.cancelled", "cancelled", "", "lower"),
    Metric("statuses.unfinished", "unfinished", "", "lower"),
    Metric("preemptions", "Preemptions", "", "lower"),
    Metric("demoted", "Demoted"),
    Metric("attempts", "Attempts"),
    Metric("wasted_tokens", "Wasted output tokens", "", "lower"),
)
LATENCY_SECTION = "Latency of finished requests"
SECTIONS = (
    ("Goodput", GOODPUT),
    (LATENCY_SECTION, LATENCY),
    ("Throughput and cost", EFFICIENCY),
    ("Requests", COUNTS),
)
HEADLINES = ("goodput_pct", "ttft_s.p99", "tpot_s.p99", "e2e_s.p99", "throughput_tok_s")


def value_of(summary: Mapping[str, Any], metric: Metric) -> float | None:
    """Return the number in the metric's unit; None where it is not defined."""
    found: Any = summary
    for key in metric.path.split("."):
        found = found[key]
    return None if found is None else float(found) * metric.scale


def shown(value: float | None, metric: Metric) -> str:
    """Return a number as it is shown, without its unit."""
    if value is None:
        return MISSING
    return f"{value:,.0f}" if metric.whole else number(value)


@dataclass(frozen=True)
class Difference:
    """One number of a run less that of another, in words.

    Attributes
    ----------
    absolute, relative : str
        Signed; "" where there is none.
    verdict : {"better", "worse", "same", "other", ""}
        "other" is a difference that is neither good nor bad, "" none that is known.
    """

    absolute: str
    relative: str
    verdict: Literal["better", "worse", "same", "other", ""]


def difference(metric: Metric, a: float | None, b: float | None) -> Difference:
    """Return what B has more than A."""
    if a is None or b is None:
        return Difference("", "", "")
    if a == b:
        return Difference("±0", "", "same")
    gain = b - a
    unit = "points" if metric.unit.startswith("%") else metric.unit
    size = f"{abs(gain):,.0f}" if metric.whole else number(abs(gain))
    absolute = f"{_sign(gain)}{size} {unit}".rstrip()
    relative = f"{_sign(gain)}{number(100 * abs(gain / a))} %" if a else ""
    if a and abs(gain / a) < SLIGHT:
        return Difference(absolute, relative, "same")
    if not metric.better:
        return Difference(absolute, relative, "other")
    good = (gain > 0) == (metric.better == "higher")
    return Difference(absolute, relative, "better" if good else "worse")


def _sign(value: float) -> str:
    return "+" if value > 0 else "\N{MINUS SIGN}"


def sections(summaries: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Metric]]]:
    """Return the metrics to show by section: those that any run has."""
    found = []
    for title, metrics in SECTIONS:
        some = [m for m in metrics if any(value_of(each, m) is not None for each in summaries)]
        told = [m for m in some if _worth_telling(m, summaries)]
        if told:
            found.append((title, told))
    return found


def _worth_telling(metric: Metric, summaries: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether a metric says something: what never happened is left out."""
    if metric.path == "attempts":
        return any(each["attempts"] != each["requests"] for each in summaries)
    if not metric.whole or metric.path in ("requests", "statuses.finished"):
        return True
    return any(value_of(each, metric) for each in summaries)
