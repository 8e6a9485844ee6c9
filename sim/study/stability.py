"""Figure 6: how steady completion times stay while the load grows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sim.study.baselines import saber_cells, static_cells, studies, variation_pct
from sim.study.figure import StudyFigure
from sim.study.published import SUMMARY
from sim.study.published_times import SLA_RATIOS
from sim.study.runs import RATES, WORKLOADS, Cell
from sim.study.spread import seeds_of, spread
from sim.study.style import (
    BAND,
    GREY,
    NAMES,
    PAGE_IN,
    SABER,
    STATIC,
    Look,
    legend_below,
    new_figure,
    published_handle,
    published_points,
    rate_axis,
    reach,
    seeds_text,
    simulated_handle,
    styled,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from sim.study.runs import CellRuns

LOOKS = {"saber": SABER, "best static": STATIC}


def cells() -> tuple[Cell, ...]:
    """Return SABER's cells and the static ones, with the arrivals of the study."""
    return tuple(
        cell for workload in WORKLOADS for cell in (*saber_cells(workload), *static_cells(workload))
    )


def table(runs: Mapping[Cell, CellRuns]) -> DataFrame:
    """Return a row for each mark: the mean SLA ratio by rate, and its variation over the rates.

    The best static size is that of the highest goodput in the single runs of a rate. `std` is the
    standard deviation over the requests of a run, averaged over seeds; rows without `rps` have the
    cross-load variation [%] in `value`.
    """
    import pandas as pd

    parts = []
    for workload in WORKLOADS:
        one = studies(runs, workload)
        for policy, ratios, stds in (
            ("saber", one.saber_ratio, one.saber_ratio_std),
            ("best static", one.static_ratio, one.static_ratio_std),
        ):
            key = {"workload": workload, "policy": policy}
            measured = SLA_RATIOS.get(workload) if policy == "saber" else None
            by_rate = spread(ratios, "value", (0.0, np.inf))
            overall = spread(variation_pct(ratios)[None], "value", (0.0, np.inf))
            parts.append(
                pd.DataFrame({**key, "rps": RATES, "unit": "ratio", **by_rate}).assign(
                    std=stds.mean(axis=1),
                    published=np.nan if measured is None else measured.mean,
                    published_std=np.nan if measured is None else measured.std,
                )
            )
            parts.append(
                pd.DataFrame({**key, "rps": [np.nan], "unit": "%", **overall}).assign(
                    published=_published_variation(workload, policy)
                )
            )
    return pd.concat(parts, ignore_index=True).assign(seeds=seeds_of(runs))


def _published_variation(workload: str, policy: str) -> float:
    """Return what the study prints, or what follows from its runs; NaN where there is neither."""
    if policy == "best static":
        printed = SUMMARY.get(f"cv_best_static_{workload.lower()}")
        return np.nan if printed is None else printed.value
    measured = SLA_RATIOS.get(workload)
    if measured is None:
        return np.nan
    return float(variation_pct(np.array(measured.mean)[:, None])[0])


@styled
def draw(table: DataFrame) -> Figure:
    """Draw the mean SLA ratio and its spread over the rate, and the cross-load variation."""
    figure = new_figure(PAGE_IN, 3.6)
    axes = figure.subplots(
        2, len(WORKLOADS), sharex="row", sharey="row", gridspec_kw={"height_ratios": (3, 1)}
    )
    for column, workload in enumerate(WORKLOADS):
        rows = table[table["workload"] == workload]
        _ratios(axes[0, column], rows[rows["rps"].notna()])
        _variation(axes[1, column], rows[rows["rps"].isna()])
        only = "" if rows["published"].notna().any() else ", simulated only"
        axes[0, column].set_title(f"{NAMES[workload]}{only}")
    axes[0, 0].set_ylabel("completion time / SLA")
    ratios, variations = table[table["rps"].notna()], table[table["rps"].isna()]
    # The intervals of very few seeds may leave the panels: they would squeeze all else.
    axes[0, 0].set_ylim(0, 1.05 * (ratios["value"] + ratios["std"]).max())
    ends = variations[["value", "band_high", "published"]]
    axes[1, 0].set_xlim(0, 1.08 * ends.max().max())
    legend_below(figure, _handles(table), columns=3)
    return figure


def _ratios(ax: Axes, rows: DataFrame) -> None:
    for policy, aside in (("best static", -0.1), ("saber", 0.1)):
        line, look = rows[rows["policy"] == policy], LOOKS[policy]
        x = np.arange(len(line)) + aside
        low, high = line["value"] - line["std"], line["value"] + line["std"]
        ax.fill_between(x, low.clip(lower=0), high, color=look.colour, **BAND)
        ax.errorbar(
            x,
            line["value"],
            yerr=reach(line, "value"),
            color=look.colour,
            marker=look.marker,
            elinewidth=0.8,
        )
        ax.errorbar(
            x,
            line["published"],
            yerr=line["published_std"],
            fmt="none",
            ecolor=look.colour,
            elinewidth=0.5,
        )
        published_points(ax, x, line["published"], look)
    ax.axhline(1, color="black", linestyle=":", linewidth=0.9)
    rate_axis(ax, RATES)
    ax.set_xlabel("request rate [requests/s], even steps")


def _variation(ax: Axes, rows: DataFrame) -> None:
    for place, policy in enumerate(LOOKS):
        row, look = rows[rows["policy"] == policy], LOOKS[policy]
        ax.hlines(place, row["band_low"], row["band_high"], color="0.8", linewidth=4)
        ax.errorbar(
            row["value"],
            [place],
            xerr=reach(row, "value"),
            fmt=look.marker,
            color=look.colour,
            elinewidth=0.8,
        )
        published_points(ax, row["published"], [place], look)
    ax.set_yticks(range(len(LOOKS)), ["SABER", "best static"])
    ax.set_ylim(len(LOOKS) - 0.4, -0.6)
    ax.set_xlabel("cross-load variation of the mean [%]")


def _handles(table: DataFrame) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    several = bool(table["low"].notna().any())
    bars = ", 95 % interval" if several else ""
    handles: list[Any] = [
        simulated_handle(f"SABER, {seeds_text(table)}{bars}", SABER),
        simulated_handle(f"best static, {seeds_text(table)}{bars}", STATIC),
        published_handle("published, \N{PLUS-MINUS SIGN}std of its requests", Look(GREY, "D")),
        Patch(color=GREY, label="\N{PLUS-MINUS SIGN}std over the requests of a run", **BAND),
        Line2D([], [], color="black", linestyle=":", linewidth=0.9, label="SLA just met"),
    ]
    if several:
        handles.append(Line2D([], [], color="0.8", linewidth=4, label="95 % of single studies"))
    return handles


STABILITY = StudyFigure(
    6, "stability", "Completion time over SLA, and how it varies with load", cells, table, draw
)
