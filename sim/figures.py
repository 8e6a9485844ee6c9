"""Pictures of results: axes in, axes out; nothing is shown or written here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.options import OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes

    from sim.compare import Comparison, Row
    from sim.interval import Estimate

# Two colours of Okabe and Ito's palette: told apart by colour-blind readers and in grey print.
STATIC_COLOUR = "#0072B2"
OTHER_COLOUR = "#D55E00"


def plot_comparison(
    comparison: Comparison,
    ax: Axes | None = None,
    title: str = "",
    goodput_ms: Mapping[str, float] | None = None,
) -> Axes:
    """Draw the goodput of every policy with its 95 % interval, in the order of the rows.

    Parameters
    ----------
    comparison : Comparison
        What `sim.compare.compare` found.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure, as high as the rows need, when left out.
    title : str
        Text above the axes.
    goodput_ms : mapping, optional
        The limits it ran under, `RunOptions.goodput_ms`: they count in place of SLAs.

    Returns
    -------
    matplotlib.axes.Axes
        Its figure is ``ax.figure``; the caller writes or shows it.

    Raises
    ------
    OptionError
        When no request has an SLA, so that there is no goodput to draw.
    """
    shown = [(row, row.goodput_pct) for row in comparison.rows if row.goodput_pct is not None]
    if not shown:
        raise OptionError(
            "there is no goodput to draw: no request has an SLA; give one with --sla, limits with "
            "--goodput, or leave the figure out with --no-figure"
        )
    if ax is None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 1.3 + 0.3 * len(shown)), layout="constrained", dpi=150)
        ax = figure.add_subplot()
    for place, (row, goodput) in enumerate(shown):
        _draw_interval(ax, place, row, goodput)
    best = comparison.best_static
    if best is not None and best.goodput_pct is not None:
        ax.axvline(best.goodput_pct.mean, color=STATIC_COLOUR, linestyle=":", linewidth=1, zorder=0)
        ax.annotate(
            "best static",
            (best.goodput_pct.mean, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            fontsize="small",
            color=STATIC_COLOUR,
        )
    ax.set_yticks(range(len(shown)), [row.policy for row, _ in shown])
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.set_xlim(0, 100)
    seeds = len(comparison.seeds)
    spread = f"mean and 95 % interval over {seeds} seeds" if seeds > 1 else "one seed"
    goal = "within their SLA" if goodput_ms is None else "within the goodput limits"
    ax.set_xlabel(f"goodput: requests {goal} [%]\n{spread}")
    ax.grid(axis="x", alpha=0.3, linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)
    if title:
        ax.set_title(title, loc="left", fontsize="medium", pad=16)
    return ax


def _draw_interval(ax: Axes, place: int, row: Row, goodput: Estimate) -> None:
    colour = STATIC_COLOUR if row.fixed_size else OTHER_COLOUR
    reach = None
    if goodput.low is not None and goodput.high is not None:
        reach = [[goodput.mean - goodput.low], [goodput.high - goodput.mean]]
    ax.errorbar(
        goodput.mean,
        place,
        xerr=reach,
        fmt="o" if row.fixed_size else "D",  # shape as well as colour: print may be grey
        color=colour,
        markersize=5,
        capsize=3.5,
        linewidth=1.5,
    )
    ax.annotate(
        f"{goodput.mean:.0f}",
        (goodput.mean if goodput.high is None else goodput.high, place),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        fontsize="small",
        color=colour,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
    )
