"""The metrics of a run for Prometheus: its final scrape, or how they rose while it went on.

`sim.export.metrics` says which metrics there are and what they mean.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from sim.export.files import text_file
from sim.export.metrics import metrics_of
from sim.options import OptionError, is_number

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from prometheus_client.metrics_core import Metric as Family

    from sim.export.tally import Metric
    from sim.runfile import Run

FINAL, SERIES = ".prom", ".om"
NOWHERE = "none"
"""The replica of requests that were sent to none."""

END = "# EOF\n"


def write_metrics(run: Run, path: Path, start_s: float = 0.0) -> None:
    """Write a run's metrics in one of Prometheus' text formats.

    Parameters
    ----------
    run : Run
        `sim.runfile.read_run` or `sim.runfile.run_of`.
    path : Path
        ``.prom``: the text format, what a scrape finds once the run is over; queues and KV cache
        only if the run has a timeline.  ``.om``: OpenMetrics with timestamps, up to
        `sim.tokens.MOST_SCRAPES` of them from the beginning to the end, in the order that
        ``promtool tsdb create-blocks-from openmetrics`` takes.
    start_s : float
        Unix time [s] of the trace's 0, for ``.om``; 0 keeps the trace's own clock, so that the
        run is at the beginning of 1970.

    Raises
    ------
    OptionError
        In one line: another suffix; ``.om`` for a run without a timeline.
    """
    check_metrics(path, timeline=run.timeline is not None, start_s=start_s)
    with text_file(path) as file:
        for text in _texts(run, start_s if path.suffix == SERIES else None):
            file.write(text)


def check_metrics(path: Path, *, timeline: bool, start_s: float = 0.0) -> None:
    """Raise an OptionError, in one line, if `write_metrics` would.

    `timeline` is whether the run has one.
    """
    if path.suffix not in (FINAL, SERIES):
        raise OptionError(
            f"{path}: expected a name that ends in {FINAL}, for the final scrape, or {SERIES}, "
            "for OpenMetrics over time"
        )
    if path.suffix == SERIES and not timeline:
        raise OptionError(
            f"{path}: metrics over time need a run with a timeline (--timeline); {FINAL} does not"
        )
    if not is_number(start_s) or start_s < 0:
        raise OptionError(f"start_s={start_s!r}: expected a Unix time in seconds of at least 0")


def _texts(run: Run, start_s: float | None) -> Iterator[str]:
    """Yield the text of one family after the other."""
    from prometheus_client import exposition
    from prometheus_client.openmetrics import exposition as openmetrics

    write = exposition.generate_latest if start_s is None else openmetrics.generate_latest
    # Its default would turn the colons of OpenMetrics names into underscores.
    escaping = openmetrics.ALLOWUTF8
    models = [
        str(profile.model.get("name") or profile.name)
        for profile, count, _ in run.fleet
        for _ in range(count)
    ]
    known = (each for each in metrics_of(run) if start_s is None or each.timed)
    for _, metrics in groupby(known, key=lambda metric: metric.name):
        family = _family(list(metrics), models, start_s)
        yield write(_Only(family), escaping).decode().removesuffix(END)
    if start_s is not None:
        yield END


class _Only:
    """A registry of one family, so that no more than one is in memory."""

    def __init__(self, family: Family) -> None:
        self._family = family

    def collect(self) -> Iterator[Family]:
        yield self._family


def _family(metrics: list[Metric], models: list[str], start_s: float | None) -> Family:
    """Return the metrics of one name; at all their instants, or the last without a start."""
    from prometheus_client import core
    from prometheus_client.utils import floatToGoString

    head = metrics[0]
    names = ["model_name", "engine", *head.labels]
    counter = core.CounterMetricFamily(head.name, head.text, labels=names)
    gauge = core.GaugeMetricFamily(head.name, head.text, labels=names)
    histogram = core.HistogramMetricFamily(head.name, head.text, labels=names)
    for metric in metrics:
        edges: list[str] = [floatToGoString(edge) for edge in (*metric.edges, np.inf)]  # type: ignore[no-untyped-call]  # no hints in prometheus_client.utils
        for row, values in enumerate(metric.values.tolist()):
            if row == len(models) and not any(values):
                continue
            where = [models[row], str(row)] if row < len(models) else [NOWHERE, NOWHERE]
            labels = [*where, *metric.labels.values()]
            for k in range(len(values))[slice(None) if start_s is not None else slice(-1, None)]:
                at_s = None if start_s is None else round(start_s + float(metric.at_s[k]), 3)
                if metric.counts is not None:
                    within = metric.counts[row, k].cumsum().tolist()
                    buckets = list(zip(edges, within, strict=True))
                    histogram.add_metric(labels, buckets, values[k], timestamp=at_s)
                elif metric.kind == "counter":
                    counter.add_metric(labels, values[k], timestamp=at_s)
                else:
                    gauge.add_metric(labels, values[k], timestamp=at_s)
    return {"counter": counter, "gauge": gauge, "histogram": histogram}[head.kind]
