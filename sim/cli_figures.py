"""`saber figures`: the study's figures from simulation, beside the published numbers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sim import cli_options as given
from sim import console
from sim.options import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.study.fidelity import Fidelity
    from sim.study.figure import StudyFigure

DEFAULT_FOLDER = Path("figures")
DEFAULT_SEEDS = 60
QUICK_SEEDS = 6
FIDELITY = "fidelity"


def figures(
    only: Annotated[
        str | None,
        typer.Option(
            metavar="N,N",
            help=f'Numbers of the figures, and "{FIDELITY}" for the table of errors: "3,5".',
            show_default="everything",
            rich_help_panel=given.OUTPUT,
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Where to write.", rich_help_panel=given.OUTPUT),
    ] = DEFAULT_FOLDER,
    seeds: Annotated[
        int | None,
        typer.Option(
            help="Runs of every cell.",
            show_default=str(DEFAULT_SEEDS),
            rich_help_panel=given.MEASURING,
            parser=given.whole(1),
            metavar="N",
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help=f"A first look: {QUICK_SEEDS} seeds; the files say so.",
            rich_help_panel=given.MEASURING,
        ),
    ] = False,
    jobs: Annotated[
        int,
        typer.Option(
            help="Worker processes, -1 for one a core; results do not depend on it.",
            rich_help_panel=given.MEASURING,
        ),
    ] = 2,
    json: given.Json = False,
) -> None:
    """Redraw the figures of the SABER study from simulation, beside what it measured.

    Each figure as PNG, SVG and the CSV it is drawn from; then fidelity.md and fidelity.json: how
    far the simulation is from the published cells, and how far a perfect one would be.

    Examples:
      saber figures
      saber figures --quick --out look
      saber figures --only 3,5 --jobs -1
      saber figures --only fidelity --json
    """
    if quick and seeds is not None:
        raise OptionError(f"--seeds {seeds} and --quick contradict each other")
    from calibrate.library import load_profile
    from sim.study.fidelity import FIRST_SEED
    from sim.study.fidelity_report import fidelity_dict
    from sim.study.figures import FIGURES
    from sim.study.files import cells_of, write_study

    chosen, with_fidelity = _chosen(only, FIGURES)
    count = QUICK_SEEDS if quick else seeds or DEFAULT_SEEDS
    profile = load_profile(given.DEFAULT_PROFILE)
    console.folder(out)
    total = len(cells_of(chosen, with_fidelity))
    with console.stdout_for_json(json), console.progress("simulating", total=total) as on_done:
        written = write_study(
            chosen,
            out,
            profile,
            range(FIRST_SEED, FIRST_SEED + count),
            with_fidelity=with_fidelity,
            quick=quick,
            jobs=jobs,
            on_done=on_done,
        )
    found = written.fidelity
    if json:
        console.show_json(
            {
                "configuration": {
                    "profile": profile.name,
                    "seeds": count,
                    "first_seed": FIRST_SEED,
                    "quick": quick,
                    "out": out,
                },
                "figures": [
                    {"number": f.number, "slug": f.slug, "title": f.title, "files": files}
                    for f, files in written.figures
                ],
                "fidelity": None if found is None else fidelity_dict(found, quick=quick),
                "fidelity_files": written.fidelity_files,
            }
        )
        return
    if found is not None:
        _show(found)
    for figure, files in written.figures:
        console.show(f"Figure {figure.number}: {figure.title}", *(f"  {path}" for path in files))
    if found is not None:
        console.show("Fidelity", *(f"  {path}" for path in written.fidelity_files))
    if quick:
        console.show(f"A quick look at {count} seeds: not for numbers to quote.")


def _chosen(only: str | None, known: "Sequence[StudyFigure]") -> "tuple[list[StudyFigure], bool]":
    """Return the figures that are wanted, and whether the fidelity is."""
    if only is None:
        return list(known), True
    by_number = {str(figure.number): figure for figure in known}
    words = [word.strip() for word in only.split(",")]
    for word in words:
        if word not in by_number and word != FIDELITY:
            raise OptionError(
                f"--only {only}: there is no figure {word!r}, expected {', '.join(by_number)} or "
                f"{FIDELITY}, separated by commas"
            )
    return [figure for number, figure in by_number.items() if number in words], FIDELITY in words


def _show(found: "Fidelity") -> None:
    from sim.study.fidelity import STATIC
    from sim.study.fidelity_report import policy_of

    rows = [row for row in found.rows if row.group == STATIC]
    console.show_table(
        f"Simulated against published goodput; {found.seeds} "
        f"seed{'s' if found.seeds > 1 else ''} a cell",
        [
            "",
            "workload",
            "cells",
            "mean abs. error",
            "of a perfect simulator",
            "bias",
            "in band",
            "of a perfect simulator",
        ],
        [
            [
                policy_of(row),
                row.workload,
                str(row.score.cells),
                f"{row.score.mae_points:.1f}",
                console.MISSING if row.noise is None else f"{row.noise.mae_points:.1f}",
                f"{row.score.bias_points:+.1f}",
                _percent(row.score.inside_pct),
                _percent(None if row.noise is None else row.noise.inside_pct),
            ]
            for row in (*rows, *found.best)
        ],
    )
    console.show(
        "Errors in points of goodput. Every published cell is one run of 100 requests: a perfect "
        "simulator would miss it too.",
        "SABER's reading is the best of those the study leaves open, picked after the fact: that "
        "flatters it.",
    )


def _percent(share: float | None) -> str:
    return console.MISSING if share is None else f"{share:.0f} %"
