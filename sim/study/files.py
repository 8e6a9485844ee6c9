"""Writes the figures of the study and the fidelity, each file whole or not at all."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sim.console import plain
from sim.study.fidelity import fidelity, fidelity_cells
from sim.study.fidelity_report import fidelity_dict, fidelity_markdown
from sim.study.runs import each_cell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from matplotlib.figure import Figure

    from calibrate.profile import Profile
    from sim.study.fidelity import Fidelity
    from sim.study.figure import StudyFigure
    from sim.study.runs import Cell, CellRuns


@dataclass(frozen=True)
class Written:
    """What `write_study` made.

    Parameters
    ----------
    figures : tuple of (StudyFigure, tuple of Path)
        The files of each figure.
    fidelity : Fidelity or None
    fidelity_files : tuple of Path
    """

    figures: tuple[tuple[StudyFigure, tuple[Path, ...]], ...]
    fidelity: Fidelity | None
    fidelity_files: tuple[Path, ...]


def cells_of(figures: Iterable[StudyFigure], with_fidelity: bool) -> list[Cell]:
    """Return the cells that have to be run, each once."""
    cells = [cell for figure in figures for cell in figure.cells()]
    return list(dict.fromkeys([*cells, *(fidelity_cells() if with_fidelity else ())]))


def write_study(
    figures: Sequence[StudyFigure],
    out: Path,
    profile: Profile,
    seeds: Sequence[int],
    *,
    with_fidelity: bool = True,
    quick: bool = False,
    jobs: int = 1,
    on_done: Callable[[int], None] | None = None,
) -> Written:
    """Write PNG, SVG and CSV of every figure, then the fidelity, into the folder `out`.

    Each figure is written as soon as its cells are run, and no cell is run twice. The files do not
    depend on `jobs`. `quick` marks them as a first look. `on_done` is called with the number of
    cells finished, of those `cells_of` returns.

    Raises
    ------
    OptionError
        Without seeds, or for a number of jobs that makes no sense.
    OSError
        Where a file cannot be written.
    """
    runs: dict[Cell, CellRuns] = {}
    stream = each_cell(cells_of(figures, with_fidelity), profile, seeds, jobs=jobs)

    def wait_for(cells: Sequence[Cell]) -> None:
        """Take in runs until these are there; workers go on with those of later figures."""
        missing = set(cells) - runs.keys()
        while missing:
            cell, found = next(stream)
            runs[cell] = found
            missing.discard(cell)
            if on_done is not None:
                on_done(len(runs))

    written = []
    for figure in figures:
        wait_for(figure.cells())
        written.append((figure, _write_figure(figure, runs, out, len(seeds), quick)))
    if not with_fidelity:
        return Written(tuple(written), None, ())
    wait_for(fidelity_cells())
    found = fidelity(runs)
    return Written(tuple(written), found, _write_fidelity(found, out, quick))


def _write_figure(
    figure: StudyFigure, runs: dict[Cell, CellRuns], out: Path, seeds: int, quick: bool
) -> tuple[Path, ...]:
    from sim.study.style import write_figure

    table = figure.table(runs)
    drawn = figure.draw(table)
    if quick and figure.cells():
        mark_quick(drawn, seeds)
    stem = f"figure-{figure.number}-{figure.slug}"
    csv = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    # Made beside their places and then renamed: a file that is there is whole.
    with TemporaryDirectory(dir=out, prefix=".unfinished-") as unfinished:
        pictures = write_figure(drawn, Path(unfinished), stem)
        found = [picture.replace(out / picture.name) for picture in pictures]
    return (*found, _write(out / f"{stem}.csv", csv))


def mark_quick(drawn: Figure, seeds: int) -> None:
    """Say above a figure that it is a first look, and make room for it."""
    drawn.set_layout_engine("constrained")
    note = f"a quick look: {seeds} seeds a cell"
    drawn.suptitle(note, x=0.99, ha="right", fontsize=7)


def _write_fidelity(found: Fidelity, out: Path, quick: bool) -> tuple[Path, ...]:
    document = json.dumps(plain(fidelity_dict(found, quick=quick)), indent=2, allow_nan=False)
    return (
        _write(out / "fidelity.md", fidelity_markdown(found, quick=quick)),
        _write(out / "fidelity.json", f"{document}\n"),
    )


def _write(path: Path, content: str) -> Path:
    """Write a file beside its place and rename it, so that it is whole whenever it is there."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        unfinished.write_bytes(content.encode())
        return unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
