"""Pictures of profiles: step times over batch and tokens; axes in, axes out, nothing is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from calibrate.describe import CONTEXTS
from calibrate.evidence import points_of, timed
from calibrate.steps import KINDS, Step
from sim.profile_marks import (
    GREY,
    LOOKS,
    MARKER_SIZE,
    UNDIVIDED,
    draw_profile,
    finish_log_axes,
    kernel_seconds,
    label_look,
    open_axes,
    plain_numbers,
    style_handles,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from calibrate.profile import Profile
    from calibrate.steps import RawPoint

BATCHES = (1, 256)
PREFILLS = (16, 8192)


def profile_figure(profiles: Sequence[Profile]) -> Figure:
    """Return a figure of one profile, or of two, the second dashed and hollow.

    Decode step over the batch, prefill step over its tokens and, where any was measured, how far
    the fitted costs are from the measured points. The serving engine's own time is left out.

    Raises
    ------
    ProfileError
        For raw points that cannot be read.
    """
    from matplotlib.figure import Figure

    measured = any(timed(points_of(profile)) for profile in profiles)
    figure = Figure(figsize=(13.5 if measured else 9.5, 5), layout="constrained", dpi=150)
    axes = figure.subplots(1, 3 if measured else 2)
    plot_decode(profiles, axes[0])
    plot_prefill(profiles, axes[1])
    if measured:
        plot_errors(profiles, axes[2])
    figure.suptitle("\n".join(map(_title, profiles)), x=0.01, ha="left", fontsize="medium")
    handles = style_handles(profiles)
    if len(handles) > 1:
        figure.legend(
            handles=handles, loc="outside lower center", ncols=5, fontsize="small", frameon=False
        )
    return figure


def plot_decode(profiles: Sequence[Profile], ax: Axes) -> Axes:
    """Draw the decode step over the batch, a colour for each context."""
    found = _points(profiles, "decode")
    dependent = [any(profile.cost.decode_context.y) for profile in profiles]
    contexts = {point.step.context_tokens for point in found}
    if not contexts and any(dependent):
        contexts = set(CONTEXTS)
    for look, context in zip(LOOKS, _spread(contexts), strict=False):
        for one, profile in enumerate(profiles):
            points = _points([profile], "decode")
            draw_profile(
                ax,
                profile,
                [Step(batch, context) for batch in _batches(profile) if dependent[one]],
                [point for point in points if point.step.context_tokens == context],
                along="batch",
                look=look,
                one=one,
                with_floor=len(profiles) == 1,
            )
        label_look(ax, look, f"context {context:,}", has_points=bool(found))
    for one, profile in enumerate(profiles):
        if not dependent[one]:
            steps = [Step(batch, 1) for batch in _batches(profile)]
            draw_profile(ax, profile, steps, [], along="batch", look=UNDIVIDED, one=one)
    if not all(dependent):
        label_look(ax, UNDIVIDED, "any context", has_points=False)
    ax.set_title("Decode step", loc="left", fontsize="medium")
    ax.set_xlabel("batch [sequences]")
    return finish_log_axes(ax)


def plot_prefill(profiles: Sequence[Profile], ax: Axes) -> Axes:
    """Draw the step of one prompt over its tokens, a colour for each past in the cache."""
    found = _points(profiles, "prefill", "chunk")
    pasts = {point.step.past_tokens for point in found} or {0}
    for look, past in zip(LOOKS, _spread(pasts), strict=False):
        for one, profile in enumerate(profiles):
            # Without an attention term the line is the same after any past.
            own_line = profile.cost.attention_token2_s or not past
            points = _points([profile], "prefill", "chunk")
            draw_profile(
                ax,
                profile,
                [Step(0, 0, tokens, past) for tokens in _prompts(profile) if own_line],
                [point for point in points if point.step.past_tokens == past],
                along="prompt_tokens",
                look=look,
                one=one,
                with_floor=len(profiles) == 1,
            )
        label = f"after {past:,} tokens" if past else "whole prompts"
        label_look(ax, look, label, has_points=bool(found))
    ax.set_title("Prefill step", loc="left", fontsize="medium")
    ax.set_xlabel("prompt tokens in the step")
    return finish_log_axes(ax)


def plot_errors(profiles: Sequence[Profile], ax: Axes) -> Axes:
    """Draw how far fitted costs are from measured points, in percent, over the measured time.

    The points are those of the first profile that has any. With two profiles both costs are held
    against them, the second with hollow markers.
    """
    source = next(profile for profile in profiles if timed(points_of(profile)))
    reach = [-6.0, 6.0]
    for (colour, marker), kind in zip(LOOKS, KINDS, strict=True):
        steps = [(step, s) for step, s in timed(points_of(source)) if step.kind == kind]
        for one, profile in enumerate(profiles):
            fitted_s = kernel_seconds(profile.cost, [step for step, _ in steps])
            error_pct = (fitted_s / [s for _, s in steps] - 1) * 100
            reach += error_pct.tolist()
            ax.plot(
                [s * 1e3 for _, s in steps],
                error_pct,
                marker,
                color=colour,
                markersize=MARKER_SIZE,
                markerfacecolor="white" if one else colour,
                label=kind if steps and not one else None,
            )
    ax.axhspan(-5, 5, color="0.93", zorder=0, linewidth=0)
    ax.axhline(0, color=GREY, linewidth=0.8, zorder=0)
    ax.set_ylim(1.15 * min(reach), 1.15 * max(reach))
    ax.set_title(f"Fitted against the points of {source.name}", loc="left", fontsize="medium")
    ax.set_xscale("log")
    ax.set_xlabel("measured step [ms]")
    ax.set_ylabel("fitted less measured [%], grey: 5 %")
    open_axes(ax)
    plain_numbers(ax.xaxis)
    return ax


def _points(profiles: Sequence[Profile], *kinds: str) -> list[RawPoint]:
    """Return the timed points of some kinds of step."""
    points = [point for profile in profiles for point in points_of(profile)]
    return [point for point in points if point.step.kind in kinds and point.median_s is not None]


def _title(profile: Profile) -> str:
    facts = [profile.method, profile.date]
    if profile.engine_overhead_s or profile.engine_overhead_request_s:
        facts.append("without the engine's own time")
    return f"{profile.name} ({', '.join(filter(None, facts))})"


def _batches(profile: Profile) -> list[int]:
    return _between(*(profile.measured_batch or BATCHES))


def _prompts(profile: Profile) -> list[int]:
    return _between(*(profile.measured_prefill_tokens or PREFILLS))


def _between(low: int, high: int) -> list[int]:
    numbers = np.geomspace(max(low, 1), max(high, 1), 64).round().astype(int)
    return sorted(set(numbers.tolist()))


def _spread(values: set[int]) -> list[int]:
    """Return at most as many of the values as there are looks, evenly spread in their order."""
    ordered = sorted(values)
    places = np.linspace(0, len(ordered) - 1, min(len(LOOKS), len(ordered))).round()
    return [ordered[int(place)] for place in places]
