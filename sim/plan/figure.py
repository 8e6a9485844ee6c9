"""The picture of a plan: target over replicas, over rate, and what it costs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sim.plan.facts import curves, name_of, price_per_h
from sim.plan.words import short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sim.plan.band import Verdict
    from sim.plan.planning import Plan
    from sim.plan.target import Condition

# Okabe and Ito's palette, told apart by colour-blind readers; markers tell policies apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "D", "s", "^", "v", "P", "X")
LIMIT_COLOUR = "#555555"


def plot_plan(plan: Plan, rate_rps: float, title: str = "") -> Figure:
    """Draw the target over replicas and over rate with bands, and the price of each answer.

    The condition drawn is the one that is pressed hardest at the best answer.

    Parameters
    ----------
    plan : Plan
        What `sim.plan.planning.plan` found.
    rate_rps : float
        The mean rate of the requests as given.
    title : str
        Text above.

    Returns
    -------
    matplotlib.figure.Figure
        The caller writes it.
    """
    from matplotlib.figure import Figure

    priced = [kind.price_per_h is not None for kind in plan.kinds]
    panels = 3 if any(priced) else 2
    figure = Figure(figsize=(4.3 * panels, 4.4), layout="constrained", dpi=150)
    axes = figure.subplots(1, panels, squeeze=False)[0]
    best = plan.best
    shown = best.at.binding if best is not None else plan.answers[0].at.binding
    condition = plan.rules.target.conditions[shown]
    for place, answer in enumerate(plan.answers):
        if answer.never:
            continue
        replicas, rates = curves(plan, answer)
        label = f"{name_of(plan, answer)}, {short(answer.policy)}"
        style = _style(plan, place)
        _band(axes[0], [v.point.fleet[0][1] for v in replicas], replicas, shown, style, label)
        label = f"{answer.count} x {label}"
        _band(axes[1], [v.point.rate * rate_rps for v in rates], rates, shown, style, label)
        if panels == 3:
            _price(axes[2], plan, replicas, shown, style)
    _finish(axes[0], condition, "replicas")
    axes[0].xaxis.get_major_locator().set_params(integer=True)
    _finish(axes[1], condition, "requests/s")
    axes[1].axvline(rate_rps, color=LIMIT_COLOUR, linewidth=0.8, linestyle=":")
    if panels == 3:
        _finish(axes[2], condition, "price an hour")
    handles, labels = axes[1].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize="small")
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize="medium")
    return figure


def _style(plan: Plan, place: int) -> dict[str, Any]:
    lane = plan.answers[place].lane
    same = [answer for answer in plan.answers[:place] if answer.lane.kind == lane.kind]
    dashes = ("-", "--", ":", "-.")
    return {
        "color": COLOURS[lane.kind % len(COLOURS)],
        "marker": MARKERS[len(same) % len(MARKERS)],
        "linestyle": dashes[len(same) % len(dashes)],
    }


def _band(
    ax: Axes,
    x: Sequence[float],
    verdicts: Sequence[Verdict],
    shown: int,
    style: dict[str, Any],
    label: str,
) -> None:
    drawn = [
        (at, verdict.estimates[shown])
        for at, verdict in zip(x, verdicts, strict=True)
        if math.isfinite(verdict.estimates[shown].mean)
    ]
    if not drawn:
        return
    places = [at for at, _ in drawn]
    means = [estimate.mean for _, estimate in drawn]
    ax.plot(places, means, label=label, markersize=4, linewidth=1.2, **style)
    low = [e.mean if e.low is None else e.low for _, e in drawn]
    high = [e.mean if e.high is None else e.high for _, e in drawn]
    ax.fill_between(places, low, high, color=style["color"], alpha=0.15, linewidth=0)


def _price(
    ax: Axes, plan: Plan, verdicts: Sequence[Verdict], shown: int, style: dict[str, Any]
) -> None:
    priced = [(price_per_h(plan, verdict), verdict) for verdict in verdicts]
    known = [(price, verdict) for price, verdict in priced if price is not None]
    _band(ax, [p for p, _ in known], [v for _, v in known], shown, style, "")


def _finish(ax: Axes, condition: Condition, x_label: str) -> None:
    unit = "%" if condition.is_goodput else "s"
    ax.axhline(condition.limit, color=LIMIT_COLOUR, linewidth=1, linestyle="--", zorder=0)
    ax.annotate(
        condition.text,
        # Where curves are not: goodput rises from the lower left, latency falls from the upper.
        (0.0 if condition.is_goodput else 1.0, condition.limit),
        xycoords=("axes fraction", "data"),
        xytext=(3, -3) if condition.is_goodput else (-3, 3),
        textcoords="offset points",
        ha="left" if condition.is_goodput else "right",
        va="top" if condition.is_goodput else "bottom",
        fontsize="small",
        color=LIMIT_COLOUR,
    )
    if condition.is_goodput:
        ax.set_ylim(0, 101)
    else:
        ax.set_yscale("log")
    ax.set_xlabel(x_label)
    ax.set_ylabel(f"{condition.name} [{unit}]")
    ax.grid(alpha=0.3, linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)
