"""Figure 7: SABER with each of its three speed estimators."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.study.baselines import saber_cells, static_cells, studies
from sim.study.figure import StudyFigure
from sim.study.gains import published_gains
from sim.study.published import ESTIMATORS, saber_goodput_pct
from sim.study.runs import RATES, WORKLOADS, Cell
from sim.study.spread import PERCENT, goodput_of, seeds_of, spread
from sim.study.style import (
    LINEAR,
    LOGISTIC,
    NAMES,
    PAGE_IN,
    SABER,
    STATIC,
    Look,
    band_handle,
    goodput_axis,
    legend_below,
    new_figure,
    published_handle,
    published_points,
    rate_axis,
    seeds_text,
    simulated_handle,
    simulated_line,
    styled,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure
    from pandas import DataFrame

    from sim.study.runs import CellRuns

LOOKS = {"usl": SABER, "logistic": LOGISTIC, "linear": LINEAR}
LABELS = {"usl": "USL", "logistic": "logistic", "linear": "linear"}
BASELINE = "best static"


def policy_of(estimator: str) -> str:
    """Return the text of SABER with an estimator; USL is its default."""
    return "saber" if estimator == "usl" else f"saber(estimator={estimator})"


def cells() -> tuple[Cell, ...]:
    """Return the cells of SABER with each estimator, and the static ones."""
    return tuple(
        cell
        for workload in WORKLOADS
        for cell in (
            *(c for name in ESTIMATORS for c in saber_cells(workload, policy_of(name))),
            *static_cells(workload),
        )
    )


def table(runs: Mapping[Cell, CellRuns]) -> DataFrame:
    """Return a row for each rate, and policy: an estimator, or the best static of single runs."""
    import pandas as pd

    parts = []
    for workload in WORKLOADS:
        series = {
            name: (
                goodput_of(runs, saber_cells(workload, policy_of(name))),
                list(saber_goodput_pct(workload, name).values()),
            )
            for name in ESTIMATORS
        }
        best = published_gains(workload).get("static", [])
        series[BASELINE] = studies(runs, workload).static_pct, best
        for policy, (goodput, published) in series.items():
            columns = {
                "workload": workload,
                "rps": RATES,
                "policy": policy,
                **spread(goodput, "goodput_pct", PERCENT),
                "published_pct": published or np.nan,
            }
            parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True).assign(seeds=seeds_of(runs))


@styled
def draw(table: DataFrame) -> Figure:
    """Draw a row of panels for every estimator, each against the best static size."""
    figure = new_figure(PAGE_IN, 5.0)
    axes = figure.subplots(len(ESTIMATORS), len(WORKLOADS), sharex=True, sharey=True)
    for column, workload in enumerate(WORKLOADS):
        lines = dict(list(table[table["workload"] == workload].groupby("policy")))
        only = "" if lines["usl"]["published_pct"].notna().any() else ", simulated only"
        axes[0, column].set_title(f"{NAMES[workload]}{only}")
        for ax, estimator in zip(axes[:, column], ESTIMATORS, strict=True):
            for name, look in ((BASELINE, STATIC), (estimator, LOOKS[estimator])):
                line, x = lines[name], range(len(lines[name]))
                simulated_line(ax, x, line, "goodput_pct", look, with_band=name != BASELINE)
                published_points(ax, x, line["published_pct"], look)
            rate_axis(ax, RATES)
            goodput_axis(ax)
        axes[-1, column].set_xlabel("request rate [requests/s], even steps")
    for ax, estimator in zip(axes[:, 0], ESTIMATORS, strict=True):
        ax.set_ylabel(f"SABER, {LABELS[estimator]}\ngoodput [%]")
    several = bool(table["low"].notna().any())
    handles = [
        simulated_handle(f"SABER, {LABELS[name]}, simulated", LOOKS[name]) for name in ESTIMATORS
    ]
    handles += [
        simulated_handle("best static of single runs, simulated", STATIC),
        published_handle("open markers: published, one run", Look("black", "o")),
        *([band_handle("SABER, 95 % of single runs")] if several else []),
    ]
    bars = ", with 95 % intervals" if several else ""
    legend_below(figure, handles, columns=2)
    figure.legends[0].set_title(f"{seeds_text(table)}{bars}")
    return figure


ESTIMATOR_LINES = StudyFigure(
    7, "estimators", "SABER with each speed estimator, over the rate", cells, table, draw
)
