"""How the study's figures look: made for a two-column paper, for grey print and every eye."""

from __future__ import annotations

from functools import wraps
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

T = TypeVar("T")

COLUMN_IN = 3.4
PAGE_IN = 7.0
"""Widths [in] of one column and of the page."""

PNG_DPI = 200
PNG_COLOURS = 256

SETTINGS: Mapping[str, Any] = MappingProxyType(
    {
        "font.size": 7.0,
        "axes.titlesize": 7.5,
        "axes.titlelocation": "left",
        "axes.labelsize": 7.0,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.alpha": 0.3,
        "grid.linewidth": 0.5,
        "xtick.labelsize": 6.5,
        "ytick.labelsize": 6.5,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "legend.fontsize": 6.5,
        "legend.frameon": False,
        "legend.handlelength": 1.8,
        "lines.linewidth": 1.1,
        "lines.markersize": 3.2,
        "errorbar.capsize": 1.5,
        "hatch.linewidth": 0.5,
        "figure.dpi": PNG_DPI,
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": "saber",  # the same figure is the same file
    }
)


class Look(NamedTuple):
    """A colour of Okabe and Ito's palette and a marker: print may be grey."""

    colour: str
    marker: str


STATIC = Look("#0072B2", "o")
SABER = Look("#D55E00", "D")
LOGISTIC = Look("#009E73", "^")
LINEAR = Look("#CC79A7", "s")
GREY = "0.35"
PUBLISHED: Mapping[str, Any] = MappingProxyType(
    {
        "linestyle": "none",
        "markerfacecolor": "white",
        "markeredgewidth": 0.8,
        "markersize": 3.4,
    }
)
"""Published values are open markers."""

NAMES: Mapping[str, str] = MappingProxyType(
    {"W1": "W1 (heavy)", "W2": "W2 (light)", "W3": "W3 (balanced)"}
)
SIMULATED_ONLY = "simulated only, not published"


def styled(draw: Callable[[T], Figure]) -> Callable[[T], Figure]:
    """Return `draw` under `SETTINGS`, which hold for this figure and no other."""

    @wraps(draw)
    def drawn(table: T) -> Figure:
        with _settings():
            figure = draw(table)
            figure.draw_without_rendering()  # ticks take their size when they are first drawn
            figure.set_layout_engine("none")  # the places are found: no need to search again
            return figure

    return drawn


def write_figure(figure: Figure, folder: Path, slug: str) -> tuple[Path, Path]:
    """Write `slug`.png and `slug`.svg, the same bytes for the same figure, and return their paths.

    The folder must exist. The PNG has a palette of few colours: it is a third as large.
    """
    from io import BytesIO

    from PIL import Image

    png, svg = folder / f"{slug}.png", folder / f"{slug}.svg"
    with _settings(), BytesIO() as full:
        figure.savefig(full, format="png", dpi=PNG_DPI)
        with Image.open(full) as image:
            few = image.convert("RGB").quantize(PNG_COLOURS, dither=Image.Dither.NONE)
        few.save(png, optimize=True, dpi=(PNG_DPI, PNG_DPI))
        figure.savefig(svg, metadata={"Date": None})
    return png, svg


def _settings() -> AbstractContextManager[None]:
    import matplotlib

    settings: Any = dict(SETTINGS)  # matplotlib's stubs want each name as a literal
    return matplotlib.rc_context(settings)


def new_figure(width_in: float, height_in: float) -> Figure:
    """Return an empty figure that finds room for its labels by itself."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width_in, height_in), layout="constrained")


def legend_below(figure: Figure, handles: Sequence[Any], columns: int) -> None:
    """Put one legend for the whole figure under it."""
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, columnspacing=1.4)


def seeds_text(table: DataFrame) -> str:
    """Say over how many seeds the means are."""
    seeds = int(table["seeds"].max())
    return "one seed" if seeds == 1 else f"mean of {seeds} seeds"


def signed(number: float, digits: int = 1) -> str:
    """Write a number with its sign; there is no minus zero."""
    return f"{round(number, digits) + 0.0:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def rate_axis(ax: Axes, rates: Sequence[float]) -> None:
    """Put the rates at even steps, so that the crowded low ones can be told apart."""
    ax.set_xticks(range(len(rates)), [f"{rps:g}" for rps in rates])
    ax.set_xlim(-0.6, len(rates) - 0.4)


def goodput_axis(ax: Axes) -> None:
    """Give the y axis goodput from 0 to 100 %."""
    ax.set_ylim(0, 104)
    ax.set_yticks(range(0, 101, 20))


BAND: Mapping[str, Any] = MappingProxyType({"alpha": 0.16, "linewidth": 0})


def simulated_line(
    ax: Axes,
    x: Sequence[float],
    rows: DataFrame,
    name: str,
    look: Look,
    *,
    with_band: bool = True,
) -> None:
    """Draw the means of a column, their 95 % intervals, and in light where single runs fall."""
    if with_band:
        ax.fill_between(x, rows["band_low"], rows["band_high"], color=look.colour, **BAND)
    ax.errorbar(
        x,
        rows[name],
        yerr=reach(rows, name),
        color=look.colour,
        marker=look.marker,
        elinewidth=0.8,
    )


def published_points(ax: Axes, x: Any, published: Any, look: Look) -> None:
    """Draw published values, where there are any, as open markers on top of everything."""
    ax.plot(x, published, look.marker, color=look.colour, zorder=4, **PUBLISHED)


def reach(rows: DataFrame, name: str) -> Any:
    """Return how far the intervals reach below and above their means, shape (2, rows)."""
    return [rows[name] - rows["low"], rows["high"] - rows[name]]


def simulated_handle(label: str, look: Look) -> Any:
    """Return the mark of a simulated series for a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=look.colour, marker=look.marker, label=label)


def published_handle(label: str, look: Look) -> Any:
    """Return the mark of a published series for a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=look.colour, marker=look.marker, label=label, **PUBLISHED)


def band_handle(label: str = "95 % of single runs") -> Any:
    """Return the mark of the band of single runs for a legend."""
    from matplotlib.patches import Patch

    return Patch(color=GREY, label=label, **BAND)
