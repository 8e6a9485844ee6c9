"""Figure 3: goodput of every static size and of SABER at three rates."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from sim.study.figure import StudyFigure
from sim.study.published import saber_goodput_pct, static_goodput_pct
from sim.study.runs import SIZES, WORKLOADS, Cell
from sim.study.spread import PERCENT, goodput_of, seeds_of, spread
from sim.study.style import (
    GREY,
    NAMES,
    PAGE_IN,
    PUBLISHED,
    SABER,
    STATIC,
    Look,
    goodput_axis,
    legend_below,
    new_figure,
    published_handle,
    reach,
    seeds_text,
    styled,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from sim.study.runs import CellRuns

RATES_SHOWN = (5.0, 10.0, 20.0)
POLICIES = (*(f"static({size})" for size in SIZES), "saber")
HATCH = "/////"


def cells() -> tuple[Cell, ...]:
    """Return the cells at the three rates, with the arrivals of the study."""
    return tuple(
        Cell(workload, rps, policy, "poisson" if policy == "saber" else "uniform")
        for workload in WORKLOADS
        for rps in RATES_SHOWN
        for policy in POLICIES
    )


def table(runs: Mapping[Cell, CellRuns]) -> DataFrame:
    """Return a row for each bar."""
    import pandas as pd

    measured = {
        (workload, rps, f"static({size})"): goodput
        for workload in WORKLOADS
        for (rps, size), goodput in static_goodput_pct(workload).items()
    } | {
        (workload, rps, "saber"): goodput
        for workload in WORKLOADS
        for rps, goodput in saber_goodput_pct(workload).items()
    }
    wanted = [(cell.workload, cell.rps, cell.policy) for cell in cells()]
    return pd.DataFrame(wanted, columns=["workload", "rps", "policy"]).assign(
        **spread(goodput_of(runs, cells()), "goodput_pct", PERCENT),
        published_pct=[measured.get(bar, np.nan) for bar in wanted],
        seeds=seeds_of(runs),
    )


@styled
def draw(table: DataFrame) -> Figure:
    """Draw a panel for every rate and workload."""
    figure = new_figure(PAGE_IN, 4.6)
    rates = sorted(table["rps"].unique())
    axes = figure.subplots(len(rates), len(WORKLOADS), sharex=True, sharey=True)
    by_panel = dict(list(table.groupby(["workload", "rps"])))
    for (row, rps), (column, workload) in product(enumerate(rates), enumerate(WORKLOADS)):
        ax, rows = axes[row, column], by_panel[workload, rps]
        _bars(ax, rows)
        only = "" if rows["published_pct"].notna().any() else ", simulated only"
        if row == 0:
            only = "" if rows["published_pct"].notna().any() else ", simulated only"
            ax.set_title(f"{NAMES[workload]}{only}")
        if column == 0:
            ax.set_ylabel(f"{rps:g} requests/s\ngoodput [%]")
        if row == len(rates) - 1:
            ax.set_xlabel("static size [sequences], and SABER")
    legend_below(figure, _handles(seeds_text(table), bool(table["low"].notna().any())), columns=3)
    return figure


def _bars(ax: Axes, rows: DataFrame) -> None:
    of_saber = rows["policy"] == "saber"
    x = np.arange(len(rows)) + 0.7 * of_saber  # a gap, and room for its name
    for chosen, look, hatch in ((~of_saber, STATIC, ""), (of_saber, SABER, HATCH)):
        ax.bar(
            x[chosen], rows["goodput_pct"][chosen], 0.78, color=_light(look.colour), hatch=hatch,
            edgecolor=look.colour, linewidth=0.6,
        )  # fmt: skip
        ax.plot(
            x[chosen] + 0.2, rows["published_pct"][chosen], look.marker, color=look.colour,
            **PUBLISHED,
        )  # fmt: skip
    left = x - 0.2
    ax.vlines(left, rows["band_low"], rows["band_high"], color=GREY, linewidth=0.6)
    ax.errorbar(
        left, rows["goodput_pct"], yerr=reach(rows, "goodput_pct"), fmt="none", ecolor="black",
        elinewidth=1.4, capsize=0,
    )  # fmt: skip
    names = [policy.removeprefix("static(").removesuffix(")") for policy in rows["policy"]]
    ax.set_xticks(x, ["SABER" if name == "saber" else name for name in names])
    ax.tick_params(axis="x", length=0)
    ax.grid(visible=False, axis="x")
    goodput_axis(ax)


def _light(colour: str) -> Any:
    from matplotlib.colors import to_rgb

    red, green, blue = to_rgb(colour)
    return tuple(1 - 0.35 * (1 - part) for part in (red, green, blue))


def _handles(seeds: str, several: bool) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    def bar(label: str, look: Look, hatch: str = "") -> Patch:
        return Patch(facecolor=_light(look.colour), edgecolor=look.colour, hatch=hatch, label=label)

    handles: list[Any] = [
        bar(f"static size, simulated, {seeds}", STATIC),
        published_handle("static size, published, one run", STATIC),
        bar(f"SABER, simulated, {seeds}", SABER, HATCH),
        published_handle("SABER, published, one run", SABER),
    ]
    if several:
        handles += [
            Line2D([], [], color="black", linewidth=1.4, label="95 % interval of the mean"),
            Line2D([], [], color=GREY, linewidth=0.6, label="95 % of single runs"),
        ]
    return handles


BARS = StudyFigure(
    3, "goodput-bars", "Goodput of static sizes and SABER at 5, 10, 20 rps", cells, table, draw
)
