"""What `saber run` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sim import console

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sim.timeline import Timeline

MOST_GROUPS = 16


def show_summary(
    summary: dict[str, Any], title: str, *, limited: bool, timeline: Timeline | None = None
) -> None:
    """Print the latencies as a table and everything else in lines."""
    spread = ("mean", "p50", "p90", "p95", "p99")
    latencies = {
        "TTFT [s]": ("ttft_s", 1.0),
        "TPOT [ms]": ("tpot_s", 1e3),
        "ITL [ms]": ("itl_s", 1e3),
        "E2E [s]": ("e2e_s", 1.0),
    }
    console.show_table(
        title,
        ["", *spread],
        [
            [name, *(_scaled(summary[key][part], scale) for part in spread)]
            for name, (key, scale) in latencies.items()
        ],
    )
    ratio = summary["sla_ratio"]
    statuses = [f"{count:,} {name}" for name, count in summary["statuses"].items() if count]
    counted = "all requests, within the limits" if limited else "the requests with an SLA"
    facts = {
        "goodput": f"{console.number(summary['goodput_pct'])} % of {counted}, "
        f"{console.number(summary['goodput_rps'])} requests/s",
        "SLA ratio": f"mean {console.number(ratio['mean'])}, CV {console.number(ratio['cv'])}",
        "throughput": f"{console.number(summary['throughput_tok_s'])} output tokens/s",
        "utilisation": f"{_scaled(summary['utilisation'], 100)} % of "
        f"{console.number(summary['duration_s'])} s",
        "requests": ", ".join(statuses),
        "preemptions": f"{summary['preemptions']:,}",
        "demoted": f"{summary['demoted']:,}",
        "replicas": f"{console.number(summary['replica_hours'])} replica-hours",
    }
    if summary["cost"] is not None:
        facts["replicas"] += f", cost {console.number(summary['cost'])}"
    again = summary["attempts"] - summary["requests"]
    if again:
        facts["sent again"] = (
            f"{again:,} times ({summary['attempts'] / summary['requests']:.2f} attempts a "
            f"request); {summary['wasted_tokens']:,} output tokens for nothing"
        )
    if summary["prefix_hit_pct"] is not None:
        facts["prefix hits"] = f"{console.number(summary['prefix_hit_pct'])} % of prompt tokens"
    if timeline is not None:
        facts |= _over_time(timeline)
    console.show(*(f"{name:12} {value}" for name, value in facts.items()))


def show_groups(label: str, groups: dict[str, dict[str, Any]]) -> None:
    """Print a line for each group, where there are several and not too many to read."""
    if not 2 <= len(groups) <= MOST_GROUPS:
        return
    headings = ["requests", "finished", "goodput [%]"]
    latencies = [(key, part) for key in ("ttft_s", "e2e_s") for part in ("p50", "p99")]
    console.show_table(
        f"by {label}",
        [label, *headings, *(f"{key[:-2].upper()} {part} [s]" for key, part in latencies)],
        [
            [
                name or "(none)",
                f"{group['requests']:,}",
                f"{group['finished']:,}",
                console.number(group["goodput_pct"]),
                *(console.number(group[key][part]) for key, part in latencies),
            ]
            for name, group in groups.items()
        ],
    )


def _over_time(timeline: Timeline) -> dict[str, str]:
    """Return mean and peak over replicas and time."""
    series: dict[str, tuple[NDArray[Any], str]] = {
        "held": (timeline.held, "requests the policy holds back, a replica"),
        "waiting": (timeline.waiting, "requests without a seat in the engine"),
        "running": (timeline.running, "requests with a seat"),
        "KV in use": (100 * timeline.kv_usage, "% of the blocks"),
    }
    return {
        name: f"mean {console.number(float(values.mean()))}, peak "
        f"{console.number(float(values.max()))} {what}"
        for name, (values, what) in series.items()
    }


def _scaled(value: float | None, scale: float) -> str:
    return console.number(None if value is None else value * scale)
