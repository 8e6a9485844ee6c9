"""What `saber sweep` shows: how far it is, and at the end a table and what became of the cells."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sim import console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sim.sweep.overview import Configuration
    from sim.sweep.sweep import Progress, Report

MOST_ROWS = 40
"""Configurations, or failures, that are printed; the rest is in the files."""

MOST_WARNINGS = 5
"""That are printed; all are in the table's column and in the JSON document."""

SPEAK_EVERY_S = 30.0
"""Where there is no terminal to draw a bar on."""


@contextmanager
def progress() -> Iterator[Callable[[Progress], None]]:
    """Show how far a sweep is: a bar on a terminal, a line now and then elsewhere."""
    if not sys.stderr.isatty():
        spoke = time.monotonic()

        def speak(progress: Progress) -> None:
            nonlocal spoke
            if time.monotonic() - spoke >= SPEAK_EVERY_S:
                spoke = time.monotonic()
                console.note(_far(progress))

        yield speak
        return

    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    text, bar = TextColumn("{task.description}"), BarColumn()
    with Bar(bar, text, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("starting workers", total=None)

        def draw(progress: Progress) -> None:
            done = progress.done + progress.failed
            shown.update(task, completed=done, total=progress.cells, description=_far(progress))

        yield draw


def _far(progress: Progress) -> str:
    failed = f", {progress.failed:,} failed" if progress.failed else ""
    left = "" if progress.left_s is None else f", about {duration(progress.left_s)} left"
    return f"{progress.done:,} of {progress.cells:,} cells{failed}{left}"


def duration(seconds: float) -> str:
    """Return a duration as one would say it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def show_warnings(warnings: Mapping[str, int], cells: int) -> None:
    """Say what the runs warn of, and how many of the cells each is about."""
    for text, count in list(warnings.items())[:MOST_WARNINGS]:
        console.note(f"warning: {text} ({count:,} of {cells:,} cells)")
    if len(warnings) > MOST_WARNINGS:
        console.note(f"warning: {len(warnings) - MOST_WARNINGS:,} others, in the column warnings")


def document(
    report: Report, table: list[Configuration], warnings: dict[str, int]
) -> dict[str, Any]:
    """Return the JSON document of a sweep."""
    from dataclasses import asdict

    return {
        "cells": report.cells,
        "skipped": report.skipped,
        "ran": report.ran,
        "failed": [
            {"key": failure.cell.key, "setting": failure.cell.setting, "error": failure.error}
            for failure in report.failures
        ],
        "outside": report.outside,
        "dataset": report.path,
        "workers": report.workers,
        "wall_s": report.wall_s,
        "workers_busy": report.busy,
        "configurations": [asdict(configuration) for configuration in table],
        "warnings": [{"text": text, "cells": count} for text, count in warnings.items()],
    }


def show_report(
    report: Report,
    table: list[Configuration],
    columns: tuple[str, ...],
    varying: Sequence[str],
) -> None:
    """Print the table, what failed, and where the rows are."""
    from sim.sweep.cells import describe
    from sim.sweep.store import FAILED

    if table:
        names = list(table[0].setting)
        console.show_table(
            "Means over seeds and their 95 % intervals",
            [", ".join(names) or "the one configuration", "seeds", *columns],
            [
                [
                    ", ".join("-" if v is None else str(v) for v in row.setting.values()),
                    str(row.seeds),
                    *(_interval(row.estimates[name]) for name in columns),
                ]
                for row in table[:MOST_ROWS]
            ],
        )
        if len(table) > MOST_ROWS:
            console.show(f"... and {len(table) - MOST_ROWS:,} configurations more, in the table.")
    if report.failures:
        failed = f"{len(report.failures):,} cell{'s' if len(report.failures) > 1 else ''} failed"
        console.show(f"{failed}; --resume tries again:")
        for failure in report.failures[:MOST_ROWS]:
            words = {n: v for n, v in failure.cell.setting.items() if n in varying or n == "seed"}
            console.show(f"  {failure.cell.key} ({describe(words)}): {failure.error}")
        if len(report.failures) > MOST_ROWS:
            console.show(f"  ... and others, in {report.path.with_name(FAILED)}")
    kept = f", {report.skipped:,} were there before" if report.skipped else ""
    busy = "" if report.busy is None else f", workers busy {100 * report.busy:.0f} %"
    console.show(
        f"{report.ran:,} of {report.cells:,} cells run in {duration(report.wall_s)} on "
        f"{report.workers} worker{'s' if report.workers > 1 else ''}{busy}{kept}."
    )
    if report.outside:
        console.show(
            f"{report.outside:,} kept cells belong to no cell of this grid: they are in "
            f"{report.path.with_name('_outside.parquet')}, and come back when the grid does."
        )
    if report.path.exists():
        console.show(f'pandas.read_parquet("{report.path}") reads them, a row a cell.')


def _interval(estimate: Any) -> str:
    if estimate is None:
        return console.MISSING
    if estimate.low is None:
        return console.number(estimate.mean)
    return f"{console.number(estimate.mean)} ± {console.number(estimate.high - estimate.mean, 2)}"
