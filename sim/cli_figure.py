"""Where a command draws: one wording and one meaning of --figure and --no-figure."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sim import cli_options as given
from sim import console
from sim.options import OptionError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NoFigure = Annotated[
    bool, typer.Option("--no-figure", help="Draw nothing.", rich_help_panel=given.OUTPUT)
]


def figure_file(figure: Path | None, no_figure: bool, default: Path) -> Path | None:
    """Return where to draw, or None; checked before the work starts.

    Raises
    ------
    OptionError
        For options that contradict each other, or a name with another ending.
    """
    if no_figure:
        if figure is not None:
            raise OptionError(f"--figure {figure} and --no-figure contradict each other")
        return None
    picture = figure or default
    if picture.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise OptionError(f"--figure {picture}: expected a name that ends in .png, .svg or .pdf")
    return console.writable(picture)


def write_figure(figure: "Figure", picture: Path) -> None:
    """Write a figure and say where it is."""
    figure.savefig(picture)
    console.note(f"figure written to {picture}")
