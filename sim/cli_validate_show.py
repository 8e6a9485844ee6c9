"""What `saber validate` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sim import console
from sim.validate.caveats import arrival_lateness, notice_lateness

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.interval import Estimate
    from sim.result import Result
    from sim.validate.compare import Error
    from sim.validate.document import Validated
    from sim.validate.lateness import Lateness
    from sim.validate.session import Sending
    from sim.validate.verdict import Limit

SCALES = {"ttft": ("s", 1.0), "tpot": ("ms", 1e3), "e2e": ("s", 1.0)}
HEADINGS = ["", "measured", "simulated", "error", "95 % interval", "limit", ""]


def show_validated(validated: Sequence[Validated], title: str, limits: Sequence[Limit]) -> None:
    """Print a table for each policy, and what the limits say."""
    if not validated:
        console.show("Nothing was sent: there is nothing to compare.")
        return
    for each in validated:
        repeats = each.comparison.repeats
        again = f", {repeats} repeats" if repeats > 1 else ""
        outcomes = {verdict.limit.name: verdict for verdict in each.verdicts}
        rows = []
        for error in each.comparison.errors:
            verdict = outcomes.get(error.name)
            rows.append(
                [
                    *_cells(error),
                    "" if verdict is None else f"± {verdict.limit.most:g}",
                    "" if verdict is None else verdict.outcome,
                ]
            )
        console.show_table(f"{title}, under {each.policy}{again}", HEADINGS, rows)
        console.show(*(f"{name:12} {value}" for name, value in _facts(each).items()), "")
    judged = ", ".join(f"{limit.name} {limit.most:g}" for limit in limits)
    was_driven = any(_worst(each).p99_s is not None for each in validated)
    console.show(
        f"Limits: {judged} (percent of what was measured; points of goodput).",
        "Latencies are over the requests that finished on both sides. "
        + (
            "Intervals are over the repeats."
            if validated[0].comparison.repeats > 1
            else "Intervals are over the requests of one replay: another one would differ by more "
            f"than they say; {'repeat it (--repeats 5)' if was_driven else 'measure it again'}."
        ),
        *_conclusion(validated),
    )


def _cells(error: Error) -> list[str]:
    if error.metric in SCALES:
        unit, scale = SCALES[error.metric]
        name, sign = f"{error.metric.upper()} {error.part} [{unit}]", " %"
    else:
        scale = 1.0
        unit, sign = ("%", " points") if error.metric == "goodput" else ("tok/s", " %")
        name = f"{error.metric} [{unit}]"
    return [
        name,
        *(_scaled(side, scale) for side in (error.measured, error.simulated)),
        console.MISSING if error.error is None else f"{error.error.mean:+.1f}{sign}",
        _interval(error.error),
    ]


def _scaled(value: float | None, scale: float) -> str:
    return console.number(None if value is None else value * scale)


def _interval(estimate: Estimate | None) -> str:
    if estimate is None or estimate.low is None or estimate.high is None:
        return console.MISSING
    return f"{estimate.low:+.1f} to {estimate.high:+.1f}"


def _facts(each: Validated) -> dict[str, str]:
    comparison = each.comparison
    one_by_one = ", ".join(
        f"{name.upper()} {console.number(apart)} %"
        for name, apart in comparison.per_request_pct.items()
    )
    facts = {
        "requests": f"{comparison.submitted:,} sent, {comparison.both_finished:,} finished on both "
        "sides",
        "measured": _statuses([replay.pair.measured for replay in each.replays]),
        "simulated": _statuses([replay.pair.simulated for replay in each.replays]),
        "one by one": f"off by {one_by_one} in the median",
    }
    worst = _worst(each)
    if worst.p99_s is not None:  # else it was not this driver that sent them
        records = [record for replay in each.replays for record in replay.done.replayed.records]
        facts["driver"] = (
            f"event loop late by {_late(worst)}; arrivals by {_late(arrival_lateness(records))}; "
            f"completions told after {_late(notice_lateness(records))}"
        )
    return facts


def _worst(each: Validated) -> Lateness:
    """Return the lateness of the replay whose driver was latest."""
    found = [replay.done.replayed.lateness for replay in each.replays]
    return max(found, key=lambda late: late.p99_s or 0)


def _statuses(results: Sequence[Result]) -> str:
    counts: dict[str, int] = {}
    for result in results:
        for name, count in result.summary()["statuses"].items():
            counts[name] = counts.get(name, 0) + count
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)


def _late(late: Lateness) -> str:
    if late.p50_s is None or late.p99_s is None or late.max_s is None:
        return console.MISSING
    return f"{1e3 * late.p50_s:.1f} ms (p99 {1e3 * late.p99_s:.1f}, max {1e3 * late.max_s:.1f})"


def _conclusion(validated: Sequence[Validated]) -> list[str]:
    """Return one line for each outcome that there is."""
    lines = []
    for outcome in ("within", "outside", "cannot be told"):
        names = [
            f"{verdict.limit.name} of {each.policy}" if len(validated) > 1 else verdict.limit.name
            for each in validated
            for verdict in each.verdicts
            if verdict.outcome == outcome
        ]
        if names:
            lines.append(f"{outcome.capitalize()}: {', '.join(names)}.")
    if any(v.outcome == "cannot be told" for each in validated for v in each.verdicts):
        lines.append(
            "What cannot be told has an interval across its limit, or too few requests for one: "
            "more requests tell."
        )
    return lines


def show_dry_run(
    results: Sequence[Result], configuration: dict[str, Any], sending: Sending, *, json: bool
) -> None:
    """Print what would be sent and what the simulation expects of it."""
    summaries = [(result, result.summary()) for result in results]
    warnings = [warning for result in results for warning in result.warnings]
    for warning in dict.fromkeys(warnings):
        console.note(f"warning: {warning}")
    if json:
        console.show_json(
            {
                "configuration": configuration,
                "sending": vars(sending),
                "simulated": [
                    {"policy": result.policy, "seed": result.seed, **summary}
                    for result, summary in summaries
                ],
            }
        )
        return
    console.show_table(
        "simulated; nothing was sent",
        [
            "policy",
            "seed",
            "goodput [%]",
            "TTFT p50 [s]",
            "TPOT p50 [ms]",
            "E2E p50 [s]",
            "finished",
        ],
        [
            [
                result.policy,
                f"{result.seed}",
                console.number(summary["goodput_pct"]),
                console.number(summary["ttft_s"]["p50"]),
                _scaled(summary["tpot_s"]["p50"], 1e3),
                console.number(summary["e2e_s"]["p50"]),
                f"{summary['statuses']['finished']:,}",
            ]
            for result, summary in summaries
        ],
    )
