"""`saber sweep`: every cell of a grid, kept as it comes, on one machine or a cluster."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sim import cli_options as given
from sim import cli_sweep_show as shown
from sim import console
from sim.options import OptionError

if TYPE_CHECKING:
    from sim.sweep.cells import Cell
    from sim.sweep.inputs import Inputs
    from sim.sweep.store import Store


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
            rich_help_panel=given.RUNNING,
        ),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Remove the results the folder holds and start over.",
            rich_help_panel=given.RUNNING,
        ),
    ] = False,
    jobs: given.Jobs = -1,
    backend: given.Backend = "loky",
    address: given.Address = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say how many cells there are and about how long they take; keep nothing.",
            rich_help_panel=given.RUNNING,
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
        with workers as pool, shown.progress() as on_progress:
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
    shown.show_warnings(warnings, len(cells))
    if json:
        console.show_json(shown.document(report, table, warnings))
    else:
        shown.show_report(report, table, columns, names_that_differ(cells))
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
    wall = shown.duration(cpu_s / workers)
    console.show(
        f"{len(cells):,} cells, {requests:,} requests: about {wall} with {workers} "
        f"worker{'s' if workers > 1 else ''}, by a few cells cut to some requests."
    )
