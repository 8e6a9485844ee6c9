"""Figure 4: completion times of each task under a static size and under SABER."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from sim.profile_marks import plain_numbers
from sim.study.figure import StudyFigure
from sim.study.published_times import COMPLETION_DECILES_S, DECILES_PCT
from sim.study.runs import Cell
from sim.study.spread import PERCENT, seeds_of, spread
from sim.study.style import (
    BAND,
    PAGE_IN,
    PUBLISHED,
    SABER,
    STATIC,
    Look,
    band_handle,
    legend_below,
    new_figure,
    published_handle,
    seeds_text,
    styled,
)
from traces.workloads import TASKS, Task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Literal

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from pandas import DataFrame

    from sim.study.runs import CellRuns

SETTINGS = (("W1", 5.0, 50), ("W2", 20.0, 100), ("W3", 10.0, 80))
"""Workload, rate and static size that the study compares."""

STEPS = 120
SHOWN_PCT = 99  # beyond that the slowest few would squeeze all others


def cells() -> tuple[Cell, ...]:
    """Return the three settings, each under its static size and under SABER."""
    return tuple(
        cell
        for workload, rps, size in SETTINGS
        for cell in (
            Cell(workload, rps, f"static({size})", "uniform"),
            Cell(workload, rps, "saber"),
        )
    )


def table(runs: Mapping[Cell, CellRuns]) -> DataFrame:
    """Return a row for each point of a curve, simulated or published.

    `completed_pct` is the share of the requests of a task that were completed within `time_s`. It
    is NaN in rows of the study, which have `published_pct`.
    """
    import pandas as pd

    parts = []
    for task in TASKS:
        time_s = _times([runs[cell].e2e_s[task.name] for cell in cells()], task)
        for cell in cells():
            key = {
                "workload": cell.workload,
                "rps": cell.rps,
                "task": task.name,
                "sla_s": task.sla_s,
                "policy": cell.policy,
            }
            parts.append(pd.DataFrame(key | _curve(runs[cell], task.name, time_s)))
            deciles = COMPLETION_DECILES_S.get((cell.workload, cell.rps, task.name))
            if deciles is not None and cell.policy == "saber":
                points = {"time_s": deciles, "published_pct": DECILES_PCT}
                parts.append(pd.DataFrame(key | points))
    return pd.concat(parts, ignore_index=True).assign(seeds=seeds_of(runs))


def _times(e2e_s: Sequence[NDArray[np.float64]], task: Task) -> NDArray[np.float64]:
    """Return the seconds at which the curves of a task are evaluated, its SLA among them."""
    published = [v for (_, _, name), v in COMPLETION_DECILES_S.items() if name == task.name]
    slowest = max(np.nanpercentile(times, SHOWN_PCT) for times in e2e_s)
    first = 0.95 * min(task.sla_s, *(np.nanmin(times) for times in e2e_s))
    last = 1.1 * max(task.sla_s, slowest, *(deciles[-1] for deciles in published))
    return np.union1d(np.geomspace(first, last, STEPS).round(4), [task.sla_s])


def _curve(runs: CellRuns, task: str, time_s: NDArray[np.float64]) -> dict[str, Any]:
    by_seed = runs.e2e_s[task].reshape(len(runs.goodput_pct), -1)  # every run has as many of a task
    # A request that did not finish (NaN) is later than any time.
    done_pct = 100 * (by_seed <= time_s[:, None, None]).mean(axis=2)
    return {"time_s": time_s, **spread(done_pct, "completed_pct", PERCENT)}


@styled
def draw(table: DataFrame) -> Figure:
    """Draw a row of panels for every setting, a panel for each task."""
    figure = new_figure(PAGE_IN, 4.8)
    settings = list(dict.fromkeys(zip(table["workload"], table["rps"], strict=True)))
    tasks = list(dict.fromkeys(table["task"]))
    axes = figure.subplots(len(settings), len(tasks), sharex="col", sharey=True)
    by_panel = dict(list(table.groupby(["workload", "rps", "task"])))
    for (row, (workload, rps)), (column, task) in product(enumerate(settings), enumerate(tasks)):
        ax, rows = axes[row, column], by_panel[workload, rps, task]
        static, saber = (rows[(rows["policy"] == "saber") == chosen] for chosen in (False, True))
        _curve_of(ax, static, STATIC, "-")
        _curve_of(ax, saber, SABER, "--")
        _sla(ax, rows["sla_s"].iloc[0], named=row == 0)
        if row == 0:
            ax.set_title(_name(task), pad=13)
        if row == len(settings) - 1:
            ax.set_xlabel("completion time [s]")
        if column == 0:
            only = "" if rows["published_pct"].notna().any() else "\nsimulated only"
            baseline = static["policy"].iloc[0]
            ax.set_ylabel(f"{workload}, {rps:g} requests/s{only}\nbeside {baseline}\ncompleted [%]")
    several = bool(table["low"].notna().any())
    handles = [
        _line(f"static size, simulated, {seeds_text(table)}", STATIC, "-"),
        _line(f"SABER, simulated, {seeds_text(table)}", SABER, "--"),
        published_handle("SABER, published, deciles of one run", SABER),
        *([band_handle("95 % interval of the mean")] if several else []),
    ]
    legend_below(figure, handles, columns=2)
    return figure


def _curve_of(ax: Axes, rows: DataFrame, look: Look, dashes: str) -> None:
    """Draw the curve of a policy and what was published of it."""
    curve, measured = (rows[rows[name].notna()] for name in ("completed_pct", "published_pct"))
    ax.fill_between(curve["time_s"], curve["low"], curve["high"], color=look.colour, **BAND)
    ax.plot(curve["time_s"], curve["completed_pct"], dashes, color=look.colour)
    points = measured["time_s"], measured["published_pct"]
    ax.plot(*points, look.marker, color=look.colour, **PUBLISHED)
    ax.set_xscale("log")
    ax.set_xlim(curve["time_s"].min(), curve["time_s"].max())
    ax.set_ylim(0, 103)
    first, last = ax.get_xlim()
    plain_numbers(ax.xaxis, subs=(1, 2, 5) if last > 8 * first else (1, 1.5, 2, 3, 5, 7))


def _sla(ax: Axes, sla_s: float, *, named: bool) -> None:
    ax.axvline(sla_s, color="black", linestyle=":", linewidth=0.9)
    if named:
        ax.annotate(
            f"SLA {sla_s:g} s",
            (sla_s, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 1.5),
            textcoords="offset points",
            ha="center",
            fontsize=6,
        )


def _name(task: str) -> str:
    return task.replace("code_", "code ").replace("qna", "QnA")


def _line(label: str, look: Look, dashes: Literal["-", "--"]) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=look.colour, linestyle=dashes, label=label)


COMPLETION = StudyFigure(
    4, "completion-times", "Completion times by task against their SLA", cells, table, draw
)
