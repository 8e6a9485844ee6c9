"""`saber compare --leaderboard`: its flags, and what it runs, writes and shows."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sim import cli_options as given
from sim import console
from sim.cli_figure import figure_file, write_figure
from sim.described import described
from sim.lineup import ALL, lineup
from sim.options import OptionError, RunOptions

if TYPE_CHECKING:
    from calibrate.profile import Profile
    from sim.cluster.fleet import Replica
    from sim.leaderboard.board import Leaderboard
    from traces.request import Trace

LEADERBOARD = "Leaderboard"
DEFAULT_SEEDS = 30
DEFAULT_FIGURE = Path("saber-leaderboard.png")
HEEDED = frozenset(
    (
        *("leaderboard", "leaderboard_traces", "cells", "oracle_seeds", "by_task", "out"),
        *("policies", "profile", "seeds", "first_seed", "jobs", "figure", "no_figure", "json"),
        *("discipline", "max_num_batched_tokens", "block_size", "kv_tokens"),
        *("gpu_memory_utilization", "client_overhead_s"),
    )
)
"""The flags of `saber compare` that mean something here."""


@dataclass(frozen=True)
class LeaderboardFlags:
    """What the leaderboard adds to `saber compare`."""

    leaderboard: Annotated[
        bool,
        typer.Option(
            "--leaderboard",
            help="Every policy, and an oracle, in many settings: W1, W2, W3 at 5, 8, 10 and 15 "
            "requests/s, bursts, tenants, and trace files; who wins where, and where SABER loses.",
            rich_help_panel=LEADERBOARD,
        ),
    ] = False
    leaderboard_traces: Annotated[
        str | None,
        typer.Option(
            metavar="FILE,FILE",
            help="Trace files to add, each at 0.6, 0.9 and 1.2 of what the engine can serve, with "
            "SLAs of three times the unloaded latency.",
            show_default="none",
            rich_help_panel=LEADERBOARD,
        ),
    ] = None
    cells: Annotated[
        str | None,
        typer.Option(
            metavar="full|quick",
            help="All settings, or four of them for a first look.",
            show_default="full",
            rich_help_panel=LEADERBOARD,
        ),
    ] = None
    oracle_seeds: Annotated[
        int | None,
        typer.Option(
            help="On how many of the seeds to look for the best schedule there is; 0 for none.",
            show_default="10",
            rich_help_panel=LEADERBOARD,
            parser=given.whole(0),
            metavar="N",
        ),
    ] = None
    by_task: Annotated[
        bool,
        typer.Option(
            "--by-task",
            help="Show goodput by task and tenant too.",
            rich_help_panel=LEADERBOARD,
        ),
    ] = False
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where to write everything as CSV, Parquet and JSON.",
            show_default="nowhere",
            rich_help_panel=LEADERBOARD,
        ),
    ] = None


def refuse_without_effect(flags: LeaderboardFlags, typed: Collection[str]) -> None:
    """Raise OptionError for a flag that was typed and means nothing in this mode."""
    if flags.leaderboard:
        idle, mode = sorted(set(typed) - HEEDED), "with"
        why = "its settings are fixed, so that results can be compared"
    else:
        idle = sorted(set(typed) & {field.name for field in fields(LeaderboardFlags)})
        mode, why = "without", "add it"
    if idle:
        raise OptionError(
            f"--{idle[0].replace('_', '-')} has no effect {mode} --leaderboard: {why}"
        )


def show_leaderboard(
    flags: LeaderboardFlags,
    *,
    policies: str | None,
    profile: str,
    options: RunOptions,
    seeds: int | None,
    first_seed: int | None,
    jobs: int | None,
    figure: Path | None,
    no_figure: bool,
    json: bool,
) -> None:
    """Run the leaderboard, write what is to be written, and show it."""
    from sim import cli_inputs
    from sim.leaderboard.frames import to_dict
    from sim.leaderboard.running import ORACLE_SEEDS, leaderboard
    from sim.leaderboard.windows import cells_of

    if json and flags.by_task:
        raise OptionError("--by-task has no effect with --json, which has it all: leave it out")
    out = flags.out
    default = DEFAULT_FIGURE if out is None else console.folder(out) / "leaderboard.png"
    picture = figure_file(figure, no_figure, default)
    count = DEFAULT_SEEDS if seeds is None else seeds
    drawn = range(first_seed or 0, (first_seed or 0) + count)
    with console.stdout_for_json(json), console.progress("reading"):
        made = cli_inputs.policies_of(lineup(policies or ALL))
        engine = _one_engine(cli_inputs.fleet_of(profile, None, None, options))
        traces = _traces(flags.leaderboard_traces)
        cells = cells_of(flags.cells or "full", traces, engine, options)
    total = len(cells) * count
    with console.stdout_for_json(json), console.progress("simulating", total=total) as on_done:
        board = leaderboard(
            cells,
            engine,
            made,
            options,
            seeds=drawn,
            jobs=-1 if jobs is None else jobs,
            oracle_seeds=ORACLE_SEEDS if flags.oracle_seeds is None else flags.oracle_seeds,
            on_done=on_done,
        )
    document = {
        "configuration": {
            "profile": profile,
            "policies": [policy.label for policy in made],
            "cells": flags.cells or "full",
            "traces": [str(path) for path in traces],
            **described(options),
        },
        **to_dict(board),
        "figure": picture,
    }
    if picture is not None:
        from sim.leaderboard.figure import plot_leaderboard

        write_figure(plot_leaderboard(board), picture)
    if out is not None:
        from sim.leaderboard.files import write_leaderboard

        for path in write_leaderboard(board, document, out):
            console.note(f"written: {path}")
    for warning in board.warnings:
        console.note(f"warning: {warning}")
    if json:
        console.show_json(document)
        return
    _show(board, by_task=flags.by_task, with_traces=bool(traces))


def _one_engine(fleet: tuple["Replica", ...]) -> "Profile":
    """Return the profile of the one replica there is."""
    count = sum(kind.count for kind in fleet)
    if count > 1:
        raise OptionError(
            f"{count} replicas with --leaderboard: expected one engine, for which its rates are "
            "chosen"
        )
    return fleet[0].profile


def _traces(text: str | None) -> Mapping[Path, "Trace"]:
    """Return the trace files by path."""
    from traces.formats import load

    if text is None:
        return {}
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise OptionError(
            f"--leaderboard-traces {text!r}: expected files separated by single commas"
        )
    return {Path(name): load(name) for name in names}


def _show(board: "Leaderboard", *, by_task: bool, with_traces: bool) -> None:
    from sim.leaderboard.tables import group_tables, overall_table, task_table, told_table
    from sim.leaderboard.words import words

    seeds = len(board.seeds)
    console.show(
        f"Goodput with 95 % interval over {seeds} seeds; * best, or not told apart from it."
        if seeds > 1
        else "Goodput on one seed; * best."
    )
    for title, columns, rows in (
        *group_tables(board),
        overall_table(board),
        *([told_table(board)] if board.told else ()),
    ):
        console.show_table(title, columns, rows)
    if by_task:
        for each in board.standings:
            if any(each.comparison.rows[0].metrics[f"by_{label}"] for label in ("task", "tenant")):
                title, columns, rows = task_table(each, board.names)
                console.show_table(title, columns, rows)
    console.show(*words(board))
    if not with_traces:
        console.show(
            "Not in here: the Azure LLM inference traces of 2023, code and conversation, which can "
            "not be shipped. Get the two CSV files from github.com/Azure/AzurePublicDataset and add"
            " --leaderboard-traces CODE.csv,CONV.csv"
        )
