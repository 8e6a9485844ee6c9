"""How a finding is told: what was allowed, what changed, what is to be done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim import console
from sim.check.guard import BASELINE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sim.check.guard import Guard
    from sim.check.report import Finding, Report, State

DIGITS = 4

VERDICTS: Mapping[State, str] = {
    "pass": "pass",
    "fail": "FAIL",
    "inconclusive": "inconclusive",
    "skipped": "skipped",
    "incomplete": "not finished",
}
"""The states as tables show them."""


def allowed(guard: Guard) -> str:
    """Return what a guard allows, or asks for."""
    if guard.number is not None and not guard.relative:
        low, high = guard.number - guard.tolerance, guard.number + guard.tolerance
        if guard.better == "same":
            return f"{low:.6g} to {high:.6g}"
        return f"at least {low:.6g}" if guard.better == "higher" else f"at most {high:.6g}"
    better, worse = ("higher", "lower") if guard.better == "higher" else ("lower", "higher")
    if guard.at_least:
        return f"at least {_amount(guard, guard.at_least)} {better}"
    if not guard.tolerance:
        return "no change" if guard.better == "same" else f"no {worse}"
    way = "either way" if guard.better == "same" else worse
    return f"at most {_amount(guard, guard.tolerance)} {way}"


def bounds(guard: Guard) -> str:
    """Return the same in signs, for tables."""
    if guard.number is not None and not guard.relative:
        return allowed(guard).replace("at least", "≥").replace("at most", "≤")
    if guard.better == "same":
        return f"± {_amount(guard, guard.tolerance)}"
    gain = guard.at_least or -guard.tolerance
    sign = "" if not gain else "+" if (gain > 0) == (guard.better == "higher") else "-"
    return f"{'≥' if guard.better == 'higher' else '≤'} {sign}{_amount(guard, abs(gain))}"


def against(guard: Guard, reference: str) -> str:
    """Return what a guard compares with; `reference` is what a baseline is called."""
    if guard.number is not None:
        return f"{guard.number:.6g}"
    return reference if guard.against == BASELINE else guard.against


def change(finding: Finding) -> str:
    """Return the mean change and its interval."""
    if finding.change is None:
        return console.MISSING
    mean = signed(finding.change)
    if finding.low is None and finding.high is None:
        return mean
    if finding.low == finding.high:
        return f"{mean} on every seed" if finding.change else "none"
    return f"{mean} ({signed(finding.low)} to {signed(finding.high)})"


def signed(value: float | None) -> str:
    """Return a difference with its sign; a dash for an end that there is not."""
    if value is None:
        return console.MISSING
    text = console.number(abs(value), DIGITS - 1)
    return f"{'-' if value < 0 else '+'}{text}" if text != "0" else "0"


def mean(value: float | None) -> str:
    """Return a mean."""
    if value is None:
        return console.MISSING
    return f"-{console.number(-value, DIGITS)}" if value < 0 else console.number(value, DIGITS)


def told(finding: Finding, reference: str) -> str:
    """Return a finding in one sentence that starts with scenario, metric and policy."""
    guard = finding.guard
    start = f"{guard.scenario}: {guard.metric} of {guard.policy}"
    if finding.broken:
        return f"{start} is not known: {finding.reason}"
    if finding.state == "skipped":
        return f"{start} was not looked at: {finding.reason}"
    if finding.change is None:
        return f"{start}: {finding.reason}" if finding.reason else f"{start} was not measured"
    way = "higher" if finding.change > 0 else "lower"
    size = f"{signed(finding.change)[1:]} {way} than" if finding.change else "as"
    other = against(guard, reference)
    if guard.number is None:
        other += f" ({mean(finding.reference)})"
    sentence = f"{start} is {mean(finding.candidate)}, {size} {other} over {finding.seeds} seeds"
    if finding.low == finding.high:
        sentence += ", the same on every seed" if finding.low is not None else ""
    else:
        sentence += f", change {signed(finding.low)} to {signed(finding.high)}"
    sentence += f"; allowed: {allowed(guard)}"
    if finding.reason:
        return f"{sentence}; {finding.reason}"
    if finding.state == "inconclusive":
        return f"{sentence}; {_remedy(finding)}"
    return sentence


def _remedy(finding: Finding) -> str:
    if finding.needed is None:
        return "more seeds would not tell: it is too near to what is allowed"
    return f"more seeds needed, about {finding.needed:,}: --max-seeds {finding.needed}"


def headline(report: Report) -> str:
    """Return the outcome in one line."""
    total = len(report.findings)
    words = {
        "fail": "{} failed",
        "incomplete": "{} not finished",
        "inconclusive": "{} inconclusive",
        "pass": "{} passed",
        "skipped": "{} skipped",
    }
    more = any(finding.needed for finding in report.findings)
    states: tuple[State, ...] = ("fail", "incomplete", "inconclusive", "pass", "skipped")
    counts = [words[state].format(report.count(state)) for state in states if report.count(state)]
    what = {
        "fail": "Regression",
        "incomplete": "Interrupted",
        "inconclusive": f"Inconclusive{': more seeds needed' if more else ''}",
        "skipped": "Nothing was judged",
    }.get(report.outcome, "No regression")
    return f"{what}: {', '.join(counts)} of {total} guards"


def versions(versions: Mapping[str, str]) -> str:
    """Return versions on one line."""
    ours_first = sorted(versions.items(), key=lambda item: (item[0] != "sabersim", item[0]))
    return ", ".join(f"{name} {version}" for name, version in ours_first)


def _amount(guard: Guard, amount: float) -> str:
    return f"{100 * amount:.6g} %" if guard.relative else f"{amount:.6g}"
