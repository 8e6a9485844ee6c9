"""Figures 1 and 2: how much the static size matters, as heat maps and as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sim.study.baselines import static_cells
from sim.study.figure import StudyFigure
from sim.study.heat import COLOURS, frame, write_cells
from sim.study.published import static_goodput_pct
from sim.study.runs import RATES, SIZES, WORKLOADS
from sim.study.spread import PERCENT, goodput_of, seeds_of, spread
from sim.study.style import (
    BAND,
    NAMES,
    PAGE_IN,
    SIMULATED_ONLY,
    goodput_axis,
    new_figure,
    rate_axis,
    seeds_text,
    styled,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from sim.study.runs import Cell, CellRuns

TARGET_PCT = 95
SHAPES = "os^Dv"


def cells() -> tuple[Cell, ...]:
    """Return every static cell, on uniform arrivals as in the study."""
    return tuple(cell for workload in WORKLOADS for cell in static_cells(workload))


def table(runs: Mapping[Cell, CellRuns]) -> DataFrame:
    """Return a row for each cell; `best` and `published_best` mark the best sizes of a rate.

    Sizes that are equally good are all best.
    """
    import pandas as pd

    wanted = [(workload, rps, size) for workload in WORKLOADS for rps in RATES for size in SIZES]
    published = {workload: static_goodput_pct(workload) for workload in WORKLOADS}
    frame = pd.DataFrame(wanted, columns=["workload", "rps", "max_num_seqs"])
    frame = frame.assign(
        **spread(goodput_of(runs, cells()), "goodput_pct", PERCENT),
        published_pct=[published[name].get((rps, size), np.nan) for name, rps, size in wanted],
        seeds=seeds_of(runs),
    )
    of_rate = frame.groupby(["workload", "rps"])
    for best, value in (("best", "goodput_pct"), ("published_best", "published_pct")):
        frame[best] = of_rate[value].transform("max") == frame[value]
    return frame


@styled
def draw_maps(table: DataFrame) -> Figure:
    """Draw goodput over size and rate, simulated above and published below."""
    figure = new_figure(PAGE_IN, 5.1)
    axes = figure.subplots(2, len(WORKLOADS), sharex=True, sharey=True)
    of_workload = dict(list(table.groupby("workload")))
    mesh = None
    for column, workload in enumerate(WORKLOADS):
        rows = of_workload[workload]
        mesh = _map(axes[0, column], rows, "goodput_pct", "best")
        axes[0, column].set_title(f"{NAMES[workload]}, simulated")
        if rows["published_pct"].notna().all():
            _map(axes[1, column], rows, "published_pct", "published_best")
            axes[1, column].set_title(f"{NAMES[workload]}, published")
        else:
            _key(axes[1, column], mesh, table, NAMES[workload])
    for row in axes:
        row[0].set_ylabel("request rate [requests/s]")
    for ax in (axes[1, 0], axes[0, 1], axes[1, 2]):
        ax.set_xlabel("max_num_seqs [sequences]")
        ax.tick_params(labelbottom=True)
    return figure


def _map(ax: Axes, rows: DataFrame, value: str, best: str) -> Any:
    goodput = rows.pivot(index="rps", columns="max_num_seqs", values=value)
    framed = rows.pivot(index="rps", columns="max_num_seqs", values=best)
    mesh = ax.pcolormesh(goodput.to_numpy(), cmap=COLOURS, vmin=0, vmax=100)
    write_cells(ax, goodput.to_numpy(), lambda percent: "white" if percent < 55 else "black")
    for row, is_best in enumerate(framed.to_numpy()):
        for start, stop in _stretches(is_best):
            frame(ax, start, row, stop - start)
    ax.set_xticks(np.arange(len(goodput.columns)) + 0.5, [str(size) for size in goodput.columns])
    ax.set_yticks(np.arange(len(goodput.index)) + 0.5, [f"{rps:g}" for rps in goodput.index])
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    return mesh


def _stretches(marked: np.ndarray[Any, Any]) -> list[tuple[int, int]]:
    """Return start and stop of each stretch of True: one frame goes round neighbours."""
    edges = np.flatnonzero(np.diff(marked.astype(int), prepend=0, append=0))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def _key(ax: Axes, mesh: Any, table: DataFrame, workload: str) -> None:
    """Use the place of a map that was not published for the colours and what frames mean."""
    ax.axis("off")
    bar = ax.inset_axes((0.08, 0.62, 0.84, 0.07))
    bar.figure.colorbar(mesh, cax=bar, orientation="horizontal")
    bar.grid(visible=False)
    bar.set_xlabel("goodput [% of requests within their SLA]")
    lines = [
        f"{workload}: {SIMULATED_ONLY}",
        "frame: best sizes of a rate",
        "published: one run of 100 requests",
        f"simulated: {seeds_text(table)}",
    ]
    half = (table["high"] - table["low"]).max() / 2
    if half == half:  # one seed has no interval
        lines.append(f"95 % intervals of means: ±{half:.0f} points at most")
    ax.text(
        0.5,
        0.34,
        "\n".join(lines),
        transform=ax.transAxes,
        ha="center",
        va="top",
        linespacing=1.5,
        fontsize=6.5,
    )


@styled
def draw_lines(table: DataFrame) -> Figure:
    """Draw goodput over the rate, a line for each size, simulated above and published below."""
    figure = new_figure(PAGE_IN, 4.0)
    axes = figure.subplots(2, len(WORKLOADS), sharex=True, sharey=True)
    of_workload = dict(list(table.groupby("workload")))
    rates = sorted(table["rps"].unique())
    handles: list[Any] = []
    for column, workload in enumerate(WORKLOADS):
        rows = of_workload[workload]
        handles = _lines(axes[0, column], rows, "goodput_pct")
        axes[0, column].set_title(f"{NAMES[workload]}, simulated")
        if rows["published_pct"].notna().all():
            _lines(axes[1, column], rows, "published_pct")
            axes[1, column].set_title(f"{NAMES[workload]}, published")
            rate_axis(axes[1, column], rates)
        else:
            axes[1, column].axis("off")
            axes[1, column].legend(
                handles=handles,
                title="\n".join(_lines_text(table)),
                title_fontsize=6.5,
                loc="center",
                ncols=2,
            )
    for row in axes:
        row[0].set_ylabel("goodput [%]")
    for ax in (axes[1, 0], axes[0, 1], axes[1, 2]):
        ax.set_xlabel("request rate [requests/s], even steps")
        ax.tick_params(labelbottom=True)
    return figure


def _lines(ax: Axes, rows: DataFrame, value: str) -> list[Any]:
    import matplotlib

    handles = []
    # The lightest colours would be lost on white paper.
    shades = matplotlib.colormaps[COLOURS](np.linspace(0, 0.88, len(SIZES)))
    for place, (size, line) in enumerate(rows.groupby("max_num_seqs")):
        x = range(len(line))
        if value == "goodput_pct":
            ax.fill_between(x, line["low"], line["high"], color=shades[place], **BAND)
        handles += ax.plot(
            x,
            line[value],
            color=shades[place],
            marker=SHAPES[place % len(SHAPES)],
            markerfacecolor=shades[place] if place < len(SHAPES) else "white",
            markeredgewidth=0.7,
            linewidth=0.9,
            label=f"{size:g}",
        )
    name = f"target: {TARGET_PCT} %"
    target = ax.axhline(TARGET_PCT, color="black", linestyle=":", linewidth=0.9, label=name)
    goodput_axis(ax)
    return [*handles[: len(SHAPES)], target, *handles[len(SHAPES) :]]


def _lines_text(table: DataFrame) -> list[str]:
    shaded = ["shaded: its 95 % interval"] if table["low"].notna().any() else []
    simulated = f"simulated: {seeds_text(table)}"
    return ["max_num_seqs [sequences]", simulated, *shaded, "published: one run a point"]


HEAT_MAPS = StudyFigure(
    1, "sensitivity-maps", "Goodput over static size and rate", cells, table, draw_maps
)
LINES = StudyFigure(
    2, "sensitivity-lines", "Goodput over the rate for each static size", cells, table, draw_lines
)
