"""How profiles are drawn: lines, points, bands and axes, the same in every panel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from calibrate.bounds import bounds
from calibrate.evidence import bare, points_of, timed
from calibrate.predict import predict_s

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from calibrate.profile import Profile
    from calibrate.steps import RawPoint, Step
    from calibrate.steptime import StepCost

# Of Okabe and Ito's palette; every colour has a marker of its own, since print may be grey.
LOOKS = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"))
DASHES: tuple[Literal["-", "--"], ...] = ("-", "--")
GREY = "0.35"
UNDIVIDED = ("black", "o")
FLOOR: dict[str, Any] = {"linestyle": ":", "linewidth": 1.3}
BAND: dict[str, Any] = {"alpha": 0.15, "linewidth": 0}
MARKER_SIZE = 4.5


def draw_profile(
    ax: Axes,
    profile: Profile,
    steps: Sequence[Step],
    points: Sequence[RawPoint],
    *,
    along: str,
    look: tuple[str, str],
    one: int,
    with_floor: bool = False,
) -> None:
    """Draw a fitted line with its band, and measured points, with the hardware floor under them.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    profile : Profile
    steps : sequence of Step
        What the line goes through.
    points : sequence of RawPoint
        That could be run.
    along : str
        The size of a step that is on the x axis: "batch" or "prompt_tokens".
    look : (colour, marker)
    one : int
        0 for the first profile of a figure, 1 for the second.
    with_floor : bool
    """
    colour, marker = look
    x = [getattr(step, along) for step in steps]
    ax.plot(x, kernel_seconds(profile.cost, steps) * 1e3, DASHES[one], color=colour, linewidth=1.5)
    ends = bounds(profile)
    if ends is not None:
        low_s, high_s = (kernel_seconds(end, steps) for end in ends)
        ax.fill_between(x, low_s * 1e3, high_s * 1e3, color=colour, **BAND)
    points = sorted(points, key=lambda point: point.step)
    x = [getattr(point.step, along) for point in points]
    median, low, high = (
        np.array([getattr(point, key) for point in points], dtype=float) * 1e3
        for key in ("median_s", "p10_s", "p90_s")
    )
    ax.errorbar(
        x,
        median,
        yerr=np.maximum([median - low, high - median], 0),
        fmt=marker,
        color=colour,
        markersize=MARKER_SIZE,
        markerfacecolor="white" if one else colour,
        linewidth=1,
        capsize=2,
    )
    if with_floor:
        floor = [np.nan if point.floor_s is None else point.floor_s * 1e3 for point in points]
        ax.plot(x, floor, color=colour, **FLOOR)


def label_look(ax: Axes, look: tuple[str, str], label: str, *, has_points: bool) -> None:
    """Name a colour and marker in the legend of the axes."""
    colour, marker = look
    shape = marker if has_points else "none"
    ax.plot([], [], marker=shape, color=colour, markersize=MARKER_SIZE, label=label)


def style_handles(profiles: Sequence[Profile]) -> list[Any]:
    """Return what lines, points and bands are, in grey, for a legend."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Line2D([], [], color=GREY, linestyle=dashes, label=f"{profile.name}, fitted")
        for profile, dashes in zip(profiles, DASHES, strict=False)
    ]
    if len(profiles) > 1:  # markers tell them apart where there are no lines
        for handle, inside in zip(handles, (GREY, "white"), strict=True):
            handle.set(marker="o", markersize=MARKER_SIZE, markerfacecolor=inside)
    if any(timed(points_of(profile)) for profile in profiles):
        bar = Line2D([], [], color=GREY, marker="o", linestyle="none", markersize=MARKER_SIZE)
        bar.set_label("measured, p10 to p90")
        handles.append(bar)
    if len(profiles) == 1 and any(point.floor_s for point in points_of(profiles[0])):
        handles.append(Line2D([], [], color=GREY, label="hardware floor", **FLOOR))
    if any(profile.intervals for profile in profiles):
        handles.append(Patch(color=GREY, label="95 % intervals of its numbers", **BAND))
    return handles


def finish_log_axes(ax: Axes) -> Axes:
    """Return the axes with both scales logarithmic and step times on y."""
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_ylabel("step [ms]")
    open_axes(ax)
    plain_numbers(ax.xaxis)
    plain_numbers(ax.yaxis, subs=(1, 2, 5))
    return ax


def open_axes(ax: Axes) -> None:
    """Give the axes a light grid, a plain legend and no box."""
    ax.grid(alpha=0.3, linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(fontsize="small", edgecolor="none", framealpha=0.8)


def plain_numbers(axis: Any, subs: Sequence[float] = ()) -> None:
    """Write 1,000 and not 10^3 on a logarithmic axis; `subs` are the digits that are named."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if subs:
        axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())


def kernel_seconds(cost: StepCost, steps: Sequence[Step]) -> NDArray[np.float64]:
    """Return the seconds of the steps without the serving engine's own time."""
    kernels = bare(cost)
    return np.array([predict_s(kernels, step) for step in steps])
