"""`saber sweep`: every cell of a grid, kept as it comes, on one machine or a cluster."""

import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim import cli_options as given
from sim import console
from sim.options import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sim.sweep.cells import Cell
    from sim.sweep.inputs import Inputs
    from sim.sweep.overview import Configuration
    from sim.sweep.store import Store
    from sim.sweep.sweep import Progress, Report

RUNNING = "Running"
MOST_ROWS = 40
"""Configurations, or failures, that are printed; the rest is in the files."""

MOST_WARNINGS = 5
"""That are printed; all are in the table's column and in the JSON document."""

SPEAK_EVERY_S = 30.0
"""Where there is no terminal to draw a bar on."""


def sweep(
    grid: Annotated[
        Path | None, typer.Argument(metavar="GRID", help="A TOML file; see --example.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where the results are kept.",
            show_default="GRID's name with -results",
            rich_help_panel=given.OUTPUT,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with what the folder holds: run what is missing, and what failed again.",
            rich_help_panel=RUNNING,
        ),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Remove the results the folder holds and start over.",
            rich_help_panel=RUNNING,
        ),
    ] = False,
    jobs: Annotated[
        int,
        typer.Option(
            help="Worker processes, -1 for one a core; results do not depend on it.",
            rich_help_panel=RUNNING,
        ),
    ] = -1,
    backend: Annotated[
        str,
        typer.Option(
            help="loky (processes of this machine), dask or ray; results do not depend on it.",
            rich_help_panel=RUNNING,
        ),
    ] = "loky",
    address: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Of a Dask or Ray cluster that is there already, such as tcp://host:8786.",
            show_default="a cluster of --jobs processes on this machine",
            rich_help_panel=RUNNING,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say how many cells there are and about how long they take; keep nothing.",
            rich_help_panel=RUNNING,
        ),
    ] = False,
    show: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN,...",
            help="Columns of the table at the end.",
            show_default="goodput_pct,ttft_s.p99,tpot_s.mean,e2e_s.p95,utilisation",
            rich_help_panel=given.OUTPUT,
        ),
    ] = None,
    example: Annotated[
        bool,
        typer.Option(
            "--example",
            help="Print a grid that explains itself.",
            rich_help_panel=given.OUTPUT,
        ),
    ] = False,
    json: given.Json = False,
) -> None:
    """Run every combination of a grid: requests, policies, replicas, options, seeds.

    A row a cell goes into FOLDER/cells.parquet. Nothing that is finished is lost when the sweep is
    stopped, however: --resume runs the rest.

    Examples:
      saber sweep --example > grid.toml
      saber sweep grid.toml --dry-run
      saber sweep grid.toml --out results
      saber sweep grid.toml --out results --resume --backend dask --address tcp://host:8786
    """
    if example:
        from importlib.resources import files

        console.show(files("sim.sweep").joinpath("example.toml").read_text("utf-8").rstrip("\n"))
        return
    if grid is None:
        raise OptionError("GRID is missing: expected a TOML file, such as --example prints")
    if resume and overwrite:
        raise OptionError("--resume and --overwrite contradict each other: expected one of them")
    from sim import cli_inputs
    from sim.sweep.cells import cells_of
    from sim.sweep.grid import read_grid
    from sim.sweep.inputs import Inputs
    from sim.sweep.overview import SHOWN, names_that_differ, overview, warnings_of
    from sim.sweep.pools import check_pool, opened_pool
    from sim.sweep.store import opened
    from sim.sweep.sweep import run_sweep

    check_pool(backend, jobs, address)
    folder = Path(f"{grid.stem}-results") if out is None else out
    columns = SHOWN if show is None else tuple(word.strip() for word in show.split(","))
    cli_inputs.look_here()
    with console.stdout_for_json(json), console.progress("reading the grid"):
        inputs = Inputs(grid.parent)
        cells, repeated = cells_of(read_grid(grid), inputs)
    if repeated:
        console.note(f"{repeated:,} cells say the same as others in other words: each runs once")
    if dry_run:
        _estimate(cells, inputs, jobs, json)
        return
    with console.stdout_for_json(json), opened(folder) as store:
        _look_at(store, resume=resume, overwrite=overwrite)
        workers = opened_pool(backend, jobs, address, inputs.objects, folder)
        with workers as pool, _shown() as on_progress:
            try:
                report = run_sweep(cells, inputs, store, pool, on_progress)
            except KeyboardInterrupt:
                console.note(
                    f"stopped: {len(store.done & {c.key for c in cells}):,} of {len(cells):,} "
                    f"cells are finished and kept in {folder}; go on with --resume"
                )
                raise
    table = overview(report.path, cells, columns) if report.path.exists() else []
    warnings = warnings_of(report.path, cells) if report.path.exists() else {}
    for text, count in list(warnings.items())[:MOST_WARNINGS]:
        console.note(f"warning: {text} ({count:,} of {len(cells):,} cells)")
    if len(warnings) > MOST_WARNINGS:
        console.note(f"warning: {len(warnings) - MOST_WARNINGS:,} others, in the column warnings")
    if json:
        console.show_json(_document(report, table, warnings))
    else:
        _print(report, table, columns, names_that_differ(cells))
    if report.failures:
        raise typer.Exit(1)


def _look_at(store: "Store", *, resume: bool, overwrite: bool) -> None:
    """Refuse to mix with results that are there, unless that is wanted."""
    if overwrite:
        store.clear()
    elif store.done and not resume:
        raise OptionError(
            f"{store.folder} holds {len(store.done):,} cells of a sweep: go on with --resume, "
            "start over with --overwrite, or name another --out"
        )


def _estimate(cells: "list[Cell]", inputs: "Inputs", jobs: int, json: bool) -> None:
    """Say how many cells there are and about how long they take."""
    from sim.sweep.estimate import estimated_cpu_s
    from sim.sweep.pools import core_count

    with console.stdout_for_json(json), console.progress("trying some cells"):
        cpu_s = estimated_cpu_s(cells, inputs)
    workers = min(core_count(jobs), len(cells))
    requests = sum(cell.requests for cell in cells)
    if json:
        console.show_json(
            {"cells": len(cells), "requests": requests, "cpu_s": cpu_s, "workers": workers,
             "wall_s": cpu_s / workers}
        )  # fmt: skip
        return
    console.show(
        f"{len(cells):,} cells, {requests:,} requests: about {_duration(cpu_s / workers)} with "
        f"{workers} worker{'s' if workers > 1 else ''}, by a few cells cut to some requests."
    )


@contextmanager
def _shown() -> "Iterator[Callable[[Progress], None]]":
    """Show how far a sweep is: a bar on a terminal, a line now and then elsewhere."""
    if not sys.stderr.isatty():
        spoke = time.monotonic()

        def speak(progress: "Progress") -> None:
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

        def draw(progress: "Progress") -> None:
            done = progress.done + progress.failed
            shown.update(task, completed=done, total=progress.cells, description=_far(progress))

        yield draw


def _far(progress: "Progress") -> str:
    failed = f", {progress.failed:,} failed" if progress.failed else ""
    left = "" if progress.left_s is None else f", about {_duration(progress.left_s)} left"
    return f"{progress.done:,} of {progress.cells:,} cells{failed}{left}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def _document(
    report: "Report", table: "list[Configuration]", warnings: dict[str, int]
) -> dict[str, Any]:
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


def _print(
    report: "Report",
    table: "list[Configuration]",
    columns: "tuple[str, ...]",
    varying: "Sequence[str]",
) -> None:
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
        f"{report.ran:,} of {report.cells:,} cells run in {_duration(report.wall_s)} on "
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
