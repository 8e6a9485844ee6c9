"""Figure 8: the speed of one request against the load: measured, fitted and simulated."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.study.figure import StudyFigure
from sim.study.published import SPEED_FITS
from sim.study.scores import BAND_PCT
from sim.study.style import (
    COLUMN_IN,
    GREY,
    LINEAR,
    LOGISTIC,
    PUBLISHED,
    SABER,
    STATIC,
    legend_below,
    new_figure,
    styled,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure
    from pandas import DataFrame

    from sim.study.runs import Cell, CellRuns

PROFILE = "paper-qwen2.5-coder-3b"
"""Holds the 255 measured points."""

SIMULATED_DRAWS = 10
LOOKS = {"usl": (SABER, "-"), "logistic": (LOGISTIC, "-."), "linear": (LINEAR, "--")}
PRINTED: Mapping[str, Any] = MappingProxyType({"color": GREY, "linestyle": ":", "linewidth": 1.6})
LABELS = {"usl": "USL", "logistic": "logistic", "linear": "linear"}


def cells() -> tuple[Cell, ...]:
    """Return none: the figure needs no runs of the study's cells."""
    return ()


def table(runs: Mapping[Cell, CellRuns]) -> DataFrame:
    """Return a row for each measured point, each point of a curve, and each simulated load.

    `kind` is "measured", "fitted" (to these points), "printed" (a fit as the study prints it; the
    logistic curve cannot be told from what is printed) or "simulated" (requests of the balanced
    workload together: their mean speed, and in `band_low` and `band_high` what 95 % of them are
    between). `r2` is that of the curve; `published_r2` what the study prints.
    """
    import pandas as pd

    from calibrate.library import load_profile
    from calibrate.speed import fit_all, speed_points_of

    profile = load_profile(PROFILE)
    points = speed_points_of(profile)
    loads, speeds = map(np.array, zip(*points, strict=True))
    parts = [pd.DataFrame({"kind": "measured", "load": loads, "tokens_per_s": speeds})]
    along = range(1, int(loads.max()) + 1)
    for estimator, model in fit_all(points).items():
        printed = SPEED_FITS[estimator]
        key = {"estimator": estimator, "published_r2": printed.r2, "load": along}
        curve = [model.speed(load) for load in along]
        parts.append(pd.DataFrame(key | {"kind": "fitted", "r2": model.r2, "tokens_per_s": curve}))
        if printed.parameters:
            curve = _printed_curve(estimator, printed.parameters, along)
            parts.append(pd.DataFrame(key | {"kind": "printed", "tokens_per_s": curve}))
    parts.append(_simulated(profile))
    return pd.concat(parts, ignore_index=True)


def _printed_curve(estimator: str, parameters: Mapping[str, float], load: Any) -> Any:
    from calibrate.speed import SpeedModel

    unknown = (np.nan, np.nan)
    model = SpeedModel(estimator, tuple(parameters.values()), *unknown, (load[0], load[-1]))
    return [model.speed(each) for each in load]


def _simulated(profile: Any) -> DataFrame:
    import pandas as pd

    from sim.offline import offline_speeds
    from traces.workloads import workload

    requests = workload("W3", rps=1.0)
    points = [
        point
        for seed in range(SIMULATED_DRAWS)
        for point in offline_speeds(profile, requests, seed=seed)
    ]
    speeds = pd.DataFrame(points, columns=["load", "tokens_per_s"]).groupby("load")["tokens_per_s"]
    low, high = (speeds.quantile(pct / 100) for pct in BAND_PCT)
    columns = {"tokens_per_s": speeds.mean(), "band_low": low, "band_high": high}
    return pd.DataFrame(columns).reset_index().assign(kind="simulated")


@styled
def draw(table: DataFrame) -> Figure:
    """Draw points, curves and the simulated offline phase over the load, in one column."""
    from matplotlib.lines import Line2D

    figure = new_figure(COLUMN_IN, 3.5)
    ax = figure.subplots()
    of_kind = dict(list(table.groupby("kind")))
    measured, simulated = of_kind["measured"], of_kind["simulated"]
    ax.vlines(
        simulated["load"], simulated["band_low"], simulated["band_high"], color="0.8", linewidth=3
    )
    handles = []
    for estimator, curve in of_kind["fitted"].groupby("estimator", sort=False):
        look, dashes = LOOKS[str(estimator)]
        r2, printed = curve["r2"].iloc[0], curve["published_r2"].iloc[0]
        label = f"{LABELS[str(estimator)]}, R\N{SUPERSCRIPT TWO} {r2:.4f} (study: {printed:.4f})"
        handles += ax.plot(
            curve["load"], curve["tokens_per_s"], dashes, color=look.colour, label=label
        )
    for _, curve in of_kind["printed"].groupby("estimator"):
        ax.plot(curve["load"], curve["tokens_per_s"], **PRINTED)
    handles.append(Line2D([], [], label="USL and linear as the study prints them", **PRINTED))
    points = ax.plot(
        measured["load"],
        measured["tokens_per_s"],
        STATIC.marker,
        color=STATIC.colour,
        **PUBLISHED,
        label=f"measured in the study, {len(measured)} requests",
    )
    means = ax.plot(
        simulated["load"], simulated["tokens_per_s"], "x", color="black", label="simulated, mean"
    )
    spread = Line2D([], [], color="0.8", linewidth=3, label="simulated, 95 % of requests")
    ax.set_xlabel("load [requests running together]")
    ax.set_ylabel("speed of one request [tokens/s]")
    ax.set_xlim(left=0)
    ax.set_ylim(bottom=0)
    legend_below(figure, [*points, *handles, *means, spread], columns=1)
    return figure


SPEEDS = StudyFigure(
    8, "speed-over-load", "Speed of one request against the load", cells, table, draw
)
