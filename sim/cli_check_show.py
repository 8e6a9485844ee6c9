"""What `saber check` shows: a table of its guards, and in words what is wrong."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from sim import console
from sim.check.guard import BASELINE
from sim.check.wording import (
    VERDICTS,
    bounds,
    change,
    headline,
    mean,
    told,
    versions,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sim.check.guard import Guard
    from sim.check.report import Report

COLUMNS = (*("scenario, metric", "policy", "was", "is", "change", "allowed", "seeds", "verdict"),)


def show_report(report: Report) -> None:
    """Print the table, what is wrong in words, and the outcome."""
    console.show_table(
        f"{report.suite}: means and changes over seeds; all verdicts together hold with "
        f"{report.confidence:.6g} confidence",
        COLUMNS,
        _rows(report),
    )
    for finding in report.findings:
        if finding.state in ("fail", "inconclusive"):
            console.show(f"{VERDICTS[finding.state]}: {told(finding, report.reference)}")
    for name, why in report.skipped.items():
        console.show(f"skipped: {name}: {why}")
    if report.outcome == "fail":
        others = [v for v in report.reference_versions if v != report.versions]
        for other in others:
            console.show(
                f"{report.reference} is of {versions(other)}; this is {versions(report.versions)}"
            )
    console.show(headline(report))


def _rows(report: Report) -> list[list[str]]:
    """Return a row for each guard, under a row for each scenario."""
    rows: list[list[str]] = []
    for scenario, findings in groupby(report.findings, key=lambda f: f.guard.scenario):
        rows.append([scenario, *[""] * (len(COLUMNS) - 1)])
        rows += [
            [
                f"  {_metric(finding.guard)}",
                finding.guard.policy,
                mean(finding.reference),
                mean(finding.candidate),
                change(finding),
                bounds(finding.guard),
                str(finding.seeds or console.MISSING),
                VERDICTS[finding.state],
            ]
            for finding in findings
        ]
    return rows


def _metric(guard: Guard) -> str:
    """Return the metric, and what it is compared with if that is another policy."""
    against_policy = guard.number is None and guard.against != BASELINE
    return f"{guard.metric} against {guard.against}" if against_policy else guard.metric


def show_update(
    path: Path, changes: Mapping[str, tuple[str, ...]], kept: Mapping[str, str], written: bool
) -> None:
    """Print what changed in a baseline."""
    for name, told_changes in changes.items():
        for line in told_changes or ("as it was",):
            console.show(f"{name}: {line}")
    for name, why in kept.items():
        console.show(f"{name}: {why}")
    console.show(f"{path} written" if written else f"{path} is up to date: nothing was written")
