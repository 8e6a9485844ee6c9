"""Measured and simulated latencies over one another: axes in, axes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.figures import OTHER_COLOUR, STATIC_COLOUR
from sim.validate.compare import LATENCIES, latencies_s

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from sim.validate.document import Validated

MEASURED_COLOUR, SIMULATED_COLOUR = STATIC_COLOUR, OTHER_COLOUR
UNITS = {"ttft": ("s", 1.0), "tpot": ("ms", 1e3), "e2e": ("s", 1.0)}


def plot_cdfs(
    measured_s: NDArray[np.float64],
    simulated_s: NDArray[np.float64],
    latency: str = "e2e",
    ax: Axes | None = None,
) -> Axes:
    """Draw the shares of requests below a latency, measured and simulated.

    Parameters
    ----------
    measured_s, simulated_s : ndarray
        Latencies [s]; NaN, of those that have none, are left out.
    latency : {"ttft", "tpot", "e2e"}
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure when left out.

    Returns
    -------
    matplotlib.axes.Axes
    """
    if ax is None:
        from matplotlib.figure import Figure

        ax = Figure(figsize=(4.0, 3.0), layout="constrained", dpi=150).add_subplot()
    unit, scale = UNITS[latency]
    sides = (
        ("measured", measured_s, MEASURED_COLOUR, "-", 2.2),
        ("simulated", simulated_s, SIMULATED_COLOUR, "--", 1.4),
    )
    highest = 0.0
    for name, values_s, colour, style, width in sides:
        values = np.sort(values_s[~np.isnan(values_s)]) * scale
        if len(values):
            share = np.arange(len(values) + 1) / len(values)
            ax.step(
                np.concatenate([values[:1], values]),
                share,
                where="post",
                color=colour,
                linestyle=style,
                linewidth=width,
                label=name,
            )
            highest = max(highest, float(values[-1]))
    ax.set_xlim(0, highest * 1.03 or 1)
    ax.set_ylim(0, 1.01)
    ax.set_xlabel(f"{latency.upper()} [{unit}]")
    ax.grid(alpha=0.3, linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def plot_validation(validated: Sequence[Validated], title: str = "") -> Figure:
    """Draw TTFT, TPOT and E2E of every policy, the requests of all repeats together.

    Returns
    -------
    matplotlib.figure.Figure
        A row of three axes for each policy.
    """
    from matplotlib.figure import Figure

    rows = len(validated)
    figure = Figure(figsize=(9.6, 1.0 + 2.4 * rows), layout="constrained", dpi=150)
    grid = figure.subplots(rows, len(LATENCIES), squeeze=False)
    for axes, each in zip(grid, validated, strict=True):
        ours = [latencies_s(replay.pair.measured.columns) for replay in each.replays]
        theirs = [latencies_s(replay.pair.simulated.columns) for replay in each.replays]
        for ax, latency in zip(axes, LATENCIES, strict=True):
            plot_cdfs(
                np.concatenate([side[latency] for side in ours]),
                np.concatenate([side[latency] for side in theirs]),
                latency,
                ax,
            )
            error = each.comparison.error(f"{latency}.p50").error
            if error is not None:
                ax.set_title(f"p50 off by {error.mean:+.1f} %", loc="right", fontsize="small")
        axes[0].set_ylabel("share of requests")
        axes[0].set_title(each.text, loc="left", fontsize="medium")
    handles, names = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, frameon=False)
    if title:
        figure.suptitle(title, fontsize="medium", x=0.01, ha="left")
    return figure
