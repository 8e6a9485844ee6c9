"""A check as Markdown: a comment on a pull request."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sim.check.wording import (
    VERDICTS,
    against,
    bounds,
    change,
    headline,
    mean,
    told,
    versions,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.check.report import Finding, Report

HEAD = ("scenario", "guard", "compared with", "was", "is", "change", "allowed", "seeds", "verdict")
_SIGNS = {"fail": "❌", "pass": "✅"}
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~&!])")
_CALLING = re.compile("([@#])")
_LIST = re.compile(r"^([-+]|\d+[.)])(?=\s)")


def markdown(report: Report) -> str:
    """Return the comment: the outcome, what is wrong first, the rest folded away."""
    wrong = [f for f in report.findings if f.state in ("fail", "inconclusive", "incomplete")]
    wrong.sort(key=lambda finding: finding.state != "fail")
    rest = [f for f in report.findings if f not in wrong]
    sign = _SIGNS.get(report.outcome, "⚠️")
    parts = [f"## {sign} {headline(report)}"]
    if wrong:
        parts += ["\n".join(f"- {_plain(told(finding, report.reference))}" for finding in wrong)]
        parts += [_table(wrong, report.reference)]
    if report.skipped:
        skipped = (f"- {_plain(f'{name}: {why}')}" for name, why in report.skipped.items())
        parts += ["Scenarios that were skipped:\n\n" + "\n".join(skipped)]
    if rest:
        title = "What held" if wrong else f"All {len(rest)} guards"
        parts += [
            f"<details>\n<summary>{title}</summary>\n\n{_table(rest, report.reference)}\n\n"
            "</details>"
        ]
    parts += [_about(report)]
    return "\n\n".join(parts) + "\n"


def _about(report: Report) -> str:
    lines = [
        f"Mean changes with intervals; all verdicts together hold with {report.confidence:.6g} "
        "confidence.",
        f"Checked: {_plain(versions(report.versions))}.",
    ]
    if report.reference:
        told_versions = "; ".join(map(versions, report.reference_versions))
        lines += [f"{_plain(report.reference)}: {_plain(told_versions)}."]
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", report.command))])
    return f"<sub>{'<br>'.join(lines)}</sub>\n\n{fence}\n{report.command}\n{fence}"


def _table(findings: Sequence[Finding], reference: str) -> str:
    rows = [HEAD, ["---"] * len(HEAD), *(_row(finding, reference) for finding in findings)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(finding: Finding, reference: str) -> list[str]:
    guard = finding.guard
    cells = [
        guard.scenario,
        f"{guard.metric} of {guard.policy}",
        against(guard, reference),
        mean(finding.reference),
        mean(finding.candidate),
        change(finding),
        bounds(guard),
        str(finding.seeds or ""),
        VERDICTS[finding.state],
    ]
    return [_plain(cell) for cell in cells]


def _plain(text: str) -> str:
    """Return a text that Markdown shows as it is, on one line; nobody is called by it."""
    plain = _SPECIAL.sub(r"\\\1", " ".join(text.split()))
    # GitHub finds people and issues in what is shown, where a backslash is gone.
    plain = _CALLING.sub(r"\\\1&#8203;", plain)
    return _LIST.sub(lambda mark: f"{mark[1][:-1]}\\{mark[1][-1]}", plain)
