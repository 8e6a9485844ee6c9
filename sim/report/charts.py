"""The charts of the page, without data: its script fills them when something is chosen.

A renderer's tags are the names of its colours in the stylesheet, for the script to apply: they
differ between light and dark.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sim.report.axes import Rows, Side, blank, distribution, over_time, tell, tell_at, telling

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bokeh.document import Document
    from bokeh.models import ColumnDataSource, Range1d
    from bokeh.plotting import figure

RUNS = {"a": 3.0, "b": 1.75}
"""Widths of their lines: where two coincide, both are seen."""
SIDES: dict[str, Side] = {"a": "left", "b": "right"}
"""Where the values under the pointer stand: those of one do not cover those of the other."""

LOAD = ("x", "goodput", "offered", "met", "tokens")
STATE = ("x", "queue", "queue_low", "queue_high", "held", "running", "running_low", "running_high",
         "kv", "kv_low", "kv_high")  # fmt: skip
CURVES = ("xs", "ys", "name", "color", "dash", "width")
BARS = ("row", "left", "right", "color", "phase", "seconds")
MARKS = ("row", "x", "what")

GOODPUT = ("goodput", "@goodput{0.[0]} %")
MET, OFFERED = ("met", "@met{0,0.[000]} /s"), ("offered", "@offered{0,0.[000]} /s")
TOKENS = ("output", "@tokens{0,0.[0]} tokens/s")
QUEUED = (("queued", "@queue{0,0.[0]} requests"), ("held by the policy", "@held{0,0.[0]}"))
GAUGES = {
    "queue": QUEUED,
    "running": (("running", "@running{0,0.[0]} requests"),),
    "kv": (("KV blocks in use", "@kv{0.[0]} %"),),
}
UP = ("up", "@up replicas")
"""What the values under the pointer are called."""
PRECISION = {"s": 1e-4, "ms": 1e-2, "ratio": 1e-3}
"""To what those of a distribution are told, by unit."""


@dataclass(frozen=True)
class Panels:
    """Which charts there are.

    Attributes
    ----------
    time_unit : str
        Of the time axes.
    start, end : float
        What they span.
    distributions : mapping of str to (str, sequence of float or None)
        By metric the label of its axis, and the ticks of a logarithmic one.
    states : bool
        Whether the replicas were recorded over time.
    replicas_up : bool
        Whether their number changed.
    misses : bool
        Whether any request missed.
    several : bool
        Whether there is more than one run.
    """

    time_unit: str
    start: float
    end: float
    distributions: Mapping[str, tuple[str, Sequence[float] | None]]
    states: bool
    replicas_up: bool
    misses: bool
    several: bool = False


def charts(panels: Panels) -> Document:
    """Return the figures, named as in the page, and their sources, named by what they hold."""
    from bokeh.document import Document
    from bokeh.models import Range1d

    span = (panels.start, panels.end)
    drawing = _Drawing(
        panels.several,
        panels.time_unit,
        telling((panels.end - panels.start) / 1000),
        Range1d(start=panels.start, end=panels.end, bounds=span, name="time"),
        {},
    )
    figures = [
        drawing.steps("goodput", "goodput [%]", "load", LOAD, GOODPUT, top=102),
        drawing.rates(),
        drawing.steps("tokens", "output [tokens/s]", "load", LOAD, TOKENS),
        *(
            drawing.curves(metric, label, ticks)
            for metric, (label, ticks) in panels.distributions.items()
        ),
    ]
    if panels.states:
        figures += [
            drawing.band("queue", "queued [requests]"),
            drawing.band("running", "running [requests]"),
            drawing.band("kv", "KV blocks in use [%]"),
        ]
    if panels.replicas_up:
        figures.append(drawing.steps("up", "replicas up", "up", ("x", "up"), UP))
    if panels.misses:
        figures.append(drawing.phases())
    document = Document()
    for plot in figures:
        document.add_root(plot)
    return document


@dataclass(frozen=True)
class _Drawing:
    """The time axis and the sources that the figures share."""

    several: bool
    time_unit: str
    instant: str
    time: Range1d
    sources: dict[str, ColumnDataSource]

    def source(self, name: str, columns: tuple[str, ...]) -> ColumnDataSource:
        from bokeh.models import ColumnDataSource

        if name not in self.sources:
            data: dict[str, Any] = {column: [] for column in columns}
            self.sources[name] = ColumnDataSource(data=data, name=name)
        return self.sources[name]

    def over_time(self, name: str, y_label: str, top: float | None = None) -> figure:
        return over_time(name, y_label, self.time, self.time_unit, top)

    def told(self, plot: figure, line: Any, run: str, *values: tuple[str, str]) -> None:
        rows: Rows = [("run", run.upper())] if self.several else []
        rows.append(("time", f"@x{{{self.instant}}} {self.time_unit}"))
        rows += values
        tell_at(plot, line, rows, SIDES[run] if self.several else "horizontal")

    def steps(
        self,
        name: str,
        y_label: str,
        source: str,
        columns: tuple[str, ...],
        value: tuple[str, str],
        top: float | None = None,
    ) -> figure:
        """Return one number by bin, for each run a line; the script gives it its steps."""
        plot = self.over_time(name, y_label, top)
        for run, width in RUNS.items():
            data = self.source(f"{source}-{run}", columns)
            style: dict[str, Any] = {"source": data, "tags": [f"run-{run}"]}
            line = plot.line("x", name, line_width=width, **style)
            self.told(plot, line, run, value)
        return plot

    def rates(self) -> figure:
        """Return requests offered (dashed) and met, by bin of arrival."""
        plot = self.over_time("rates", "requests [1/s]")
        for run, width in RUNS.items():
            data = self.source(f"load-{run}", LOAD)
            style: dict[str, Any] = {"source": data, "tags": [f"run-{run}"]}
            plot.line("x", "offered", line_width=1.5, line_dash=[4, 3], **style)
            line = plot.line("x", "met", line_width=width, **style)
            self.told(plot, line, run, OFFERED, MET)
        return plot

    def band(self, name: str, y_label: str) -> figure:
        """Return a gauge: the mean of each stretch, within its least and greatest value."""
        plot = self.over_time(name, y_label)
        for run, width in RUNS.items():
            data = self.source(f"state-{run}", STATE)
            style: dict[str, Any] = {"source": data, "tags": [f"run-{run}"]}
            plot.varea("x", f"{name}_low", f"{name}_high", fill_alpha=0.22, **style)
            if name == "queue":
                plot.line("x", "held", line_width=1.5, line_dash=[4, 3], **style)
            self.told(plot, plot.line("x", name, line_width=width, **style), run, *GAUGES[name])
        return plot

    def curves(self, metric: str, x_label: str, ticks: Sequence[float] | None) -> figure:
        """Return any number of cumulative distributions."""
        plot = distribution(metric, x_label, ticks)
        line = plot.multi_line(
            "xs", "ys", line_color="color", line_dash="dash", line_width="width",
            source=self.source(f"curves-{metric}", CURVES),
        )  # fmt: skip
        unit = x_label.split("[")[1].rstrip("]")
        within = f"$x{{{telling(PRECISION[unit])}}} {'of the SLA' if unit == 'ratio' else unit}"
        rows = [("", "@name"), ("within", within), ("share", "$y{0.0} %")]
        tell(plot, [line], rows)
        return plot

    def phases(self) -> figure:
        """Return the worst misses: a row each, its phases side by side, its deadline marked."""
        from bokeh.models import FactorRange

        plot = blank(
            "phases",
            "time since arrival [s]",
            "request",
            y_range=FactorRange(factors=["-"], name="rows"),
        )
        plot.ygrid.grid_line_color = None
        bars = plot.hbar(
            "row", left="left", right="right", height=0.5, fill_color="color", line_color=None,
            source=self.source("bars", BARS),
        )  # fmt: skip
        marks: dict[str, Any] = {"size": 20, "line_width": 2.5, "tags": ["ink"]}
        due = plot.scatter(
            "x", "row", marker="dash", angle=1.5707963, source=self.source("due", MARKS), **marks
        )
        ended = plot.scatter("x", "row", marker="x", source=self.source("ended", MARKS), **marks)
        request = ("request", "@row")
        tell(
            plot,
            [bars],
            [request, ("", "@phase"), ("took", "@seconds{0,0.[0000]} s")],
        )
        tell(plot, [due, ended], [request, ("", "@what"), ("at", "@x{0,0.[0000]} s")])
        return plot
