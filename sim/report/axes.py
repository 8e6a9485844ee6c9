"""Figures of the house style, still without lines."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bokeh.models import Range1d
    from bokeh.plotting import figure

Rows: TypeAlias = list[tuple[str, str]]
Side: TypeAlias = Literal["horizontal", "left", "right"]

HEIGHT = 250
FONT = "system-ui, sans-serif"
PLAIN = "0,0.[000000000]"
"""Numbers of axes: thousands apart, and the decimals that their ticks have."""


def blank(name: str, x_label: str, y_label: str, **options: Any) -> figure:
    """Return an empty figure; what has a colour is coloured in the page."""
    from bokeh.models import ContinuousAxis, NoOverlap, NumeralTickFormatter
    from bokeh.plotting import figure

    options.setdefault("height", HEIGHT)
    plot = figure(
        name=name, sizing_mode="stretch_width", toolbar_location=None, tools="",
        x_axis_label=x_label, y_axis_label=y_label, min_border_left=64, min_border_right=16,
        outline_line_color=None, border_fill_color=None, background_fill_color=None, **options,
    )  # fmt: skip
    for axis in plot.axis:
        axis.axis_label_text_font = axis.major_label_text_font = FONT
        axis.axis_label_text_font_size = axis.major_label_text_font_size = "12px"
        axis.axis_label_text_font_style = "normal"
        axis.major_tick_line_color = axis.minor_tick_line_color = None
        if isinstance(axis, ContinuousAxis):
            axis.formatter = NumeralTickFormatter(format=PLAIN)
            axis.major_label_policy = NoOverlap()
    plot.yaxis.axis_line_color = None
    plot.xgrid.grid_line_color = None
    return plot


def over_time(name: str, y_label: str, time: Range1d, unit: str, top: float | None) -> figure:
    """Return a figure on the shared time axis, of which a drag selects a part."""
    from bokeh.models import BoxZoomTool, DataRange1d, Range1d

    y_range = DataRange1d(start=0) if top is None else Range1d(start=0, end=top)
    plot = blank(name, f"time [{unit}]", y_label, x_range=time, y_range=y_range)
    plot.add_tools(BoxZoomTool(dimensions="width", name="select-time"))
    return plot


def distribution(name: str, x_label: str, ticks: Sequence[float] | None) -> figure:
    """Return a figure for cumulative distributions; with ticks its axis is logarithmic."""
    from bokeh.models import AllLabels, FixedTicker, Range1d

    kind = "linear" if ticks is None else "log"
    plot = blank(
        name, x_label, "share of requests [%]", x_axis_type=kind, y_range=Range1d(start=0, end=102)
    )
    if ticks is not None:
        plot.xaxis.ticker = FixedTicker(ticks=list(ticks))
        # Of ticks beyond the range, NoOverlap would drop labels within it.
        plot.xaxis.major_label_policy = AllLabels()
    return plot


def tell(plot: figure, lines: list[Any], rows: Rows) -> None:
    """Show rows of values of what is under the pointer."""
    from bokeh.models import HoverTool

    plot.add_tools(HoverTool(renderers=lines, tooltips=tip(rows)))


def tell_at(plot: figure, line: Any, rows: Rows, side: Side) -> None:
    """Show rows of values of a line where the pointer is above or below it."""
    from bokeh.models import HoverTool

    plot.add_tools(HoverTool(renderers=[line], tooltips=tip(rows), attachment=side, mode="vline"))


def tip(rows: Rows) -> str:
    """Return a name and a value in each row, in the colours that the page has at the moment."""
    cells = (
        f'<div style="display: table-row"><span style="display: table-cell; padding-right: 8px; '
        f'color: var(--muted)">{name}</span><span style="display: table-cell">{value}</span></div>'
        for name, value in rows
    )
    return f'<div style="font: 12px {FONT}">{"".join(cells)}</div>'


def telling(apart: float) -> str:
    """Return the format of numbers with the decimals that tell them apart by so much."""
    decimals = max(0, -math.floor(math.log10(apart)))
    return f"0,0.[{'0' * decimals}]" if decimals else "0,0"
