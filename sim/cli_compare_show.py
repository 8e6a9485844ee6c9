"""How `saber compare` shows what it found."""

from typing import TYPE_CHECKING

from sim import console

if TYPE_CHECKING:
    from sim.compare import Comparison, Difference, Row
    from sim.interval import Estimate


def show_comparison(comparison: "Comparison", title: str) -> None:
    """Show a row for each policy, and what the others gain on the best static size."""
    seeds = len(comparison.seeds)
    console.show_table(
        f"{title}; {seeds} seed{'s' if seeds > 1 else ''}",
        [
            "policy",
            "goodput [%]",
            "95 % interval",
            "TTFT p50 [s]",
            "TTFT p99 [s]",
            "TPOT [ms]",
            "E2E p95 [s]",
            "SLA ratio",
            "its CV",
        ],
        [_cells(row) for row in comparison.rows],
    )
    for difference in comparison.differences:
        console.show(_reading(difference))
    if comparison.differences and sum(row.fixed_size for row in comparison.rows) > 1:
        console.show(
            "The best static size is picked from these same runs, after the fact: that flatters it."
        )
    if seeds == 1:
        console.show("One seed has no interval: differences of several points may be noise.")


def _cells(row: "Row") -> list[str]:
    metrics = row.metrics
    goodput = row.goodput_pct
    return [
        row.policy,
        console.MISSING if goodput is None else f"{goodput.mean:.1f}",
        _interval(goodput),
        _mean(metrics["ttft_s"]["p50"]),
        _mean(metrics["ttft_s"]["p99"]),
        _mean(metrics["tpot_s"]["mean"], 1e3),
        _mean(metrics["e2e_s"]["p95"]),
        _mean(metrics["sla_ratio"]["mean"]),
        _mean(metrics["sla_ratio"]["cv"]),
    ]


def _mean(estimate: "Estimate | None", scale: float = 1.0) -> str:
    return console.number(None if estimate is None else estimate.mean * scale)


def _interval(estimate: "Estimate | None", form: str = ".1f") -> str:
    if estimate is None or estimate.low is None or estimate.high is None:
        return console.MISSING
    return f"{estimate.low:{form}} to {estimate.high:{form}}"


def _reading(difference: "Difference") -> str:
    points = difference.goodput_points
    within = "" if points.low is None else f" (95 % interval {_interval(points, '+.1f')})"
    return (
        f"{difference.policy} less the best static, {difference.baseline}: "
        f"{points.mean:+.1f} points{within}, paired by seed."
    )
