"""What a run did over time: requests by arrival, tokens as they came, the replicas' gauges."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from sim.timeline import Timeline

    Numbers = NDArray[np.float64]
    Counts = NDArray[np.int64]

MOST_BINS = 120
FEWEST_BINS = 8
REQUESTS_A_BIN = 8
"""With fewer, the goodput of a bin is mostly noise."""

ROUND_WIDTHS = (1, 2, 3, 5, 6, 10, 15, 20, 30, 60)
"""Widths of bins that are easy to read, in seconds and in minutes."""
ROUND_HOURS = (2, 3, 6, 12, 24, 48, 120, 240, 480, 1200)


def bin_edges(start_s: float, end_s: float, requests: int) -> Numbers:
    """Return edges of equal bins of a round width that cover a span [s].

    There are about as many as leave `REQUESTS_A_BIN` requests in each, within `FEWEST_BINS` and
    `MOST_BINS`; the last edge lies beyond the end.
    """
    wanted = min(max(requests // REQUESTS_A_BIN, FEWEST_BINS), MOST_BINS)
    width_s = _round_up(max(end_s - start_s, 1e-3) / wanted)
    first = np.floor(start_s / width_s)
    count = int(np.floor(end_s / width_s) - first) + 1
    return np.asarray((first + np.arange(count + 1)) * width_s)


def _round_up(width_s: float) -> float:
    """Return the least round width that is at least as wide."""
    decade = 10.0 ** math.floor(math.log10(width_s))
    within = [decade * step for step in (1, 2, 5, 10)]
    units = ((1.0, ROUND_WIDTHS), (60.0, ROUND_WIDTHS), (3600.0, ROUND_HOURS))
    widths = [unit * each for unit, round_widths in units for each in round_widths]
    if width_s < 1 or width_s > widths[-1]:
        widths += within
    return min(each for each in widths if each >= width_s * (1 - 1e-9))


@dataclass(frozen=True, eq=False)
class Load:
    """Requests by the bin they arrived in.

    Attributes
    ----------
    edges_s : ndarray, shape (bins + 1,)
        Of the bins, on the trace's clock [s].
    offered, objectives, met : ndarray of int, shape (bins,)
        Requests that arrived, those of them that count for goodput, those that met their objective.
    """

    edges_s: Numbers
    offered: Counts
    objectives: Counts
    met: Counts

    @property
    def goodput_pct(self) -> Numbers:
        """Met share of those that count [%]; NaN where none does."""
        share = np.full(len(self.met), np.nan)
        np.divide(100.0 * self.met, self.objectives, out=share, where=self.objectives > 0)
        return share

    @property
    def offered_rps(self) -> Numbers:
        """Requests that arrived [1/s]."""
        return np.asarray(self.offered / np.diff(self.edges_s))

    @property
    def met_rps(self) -> Numbers:
        """Requests that arrived and later met their objective [1/s]."""
        return np.asarray(self.met / np.diff(self.edges_s))


def load_by_arrival(requests: pd.DataFrame, edges_s: Numbers) -> Load:
    """Return the rows of `Run.requests` by arrival; what lies outside the edges is left out."""
    arrival = requests["arrival_s"].to_numpy()
    met = requests["met"]

    def count(mask: NDArray[np.bool_]) -> Counts:
        return np.histogram(arrival[mask], edges_s)[0].astype(np.int64)

    return Load(
        edges_s,
        count(np.ones(len(arrival), dtype=bool)),
        count(met.notna().to_numpy()),
        count(met.fillna(False).to_numpy(dtype=bool)),
    )


def tokens_by_bin(requests: pd.DataFrame, edges_s: Numbers) -> Numbers:
    """Return the output tokens that finished requests received in each bin.

    The first token comes at its instant, the others evenly from there to the last.
    """
    done = requests[requests["finished_s"].notna()]
    first, last = done["first_token_s"].to_numpy(), done["finished_s"].to_numpy()
    others = done["output_tokens"].to_numpy() - 1
    rate = np.zeros(len(done))
    np.divide(others, last - first, out=rate, where=last > first)
    at_once = 1 + np.where(last > first, 0, others)

    def until(edge: float) -> float:
        began = first < edge
        spent = np.minimum(last[began], edge) - first[began]
        return float((at_once[began] + rate[began] * spent).sum())

    return np.diff([until(edge) for edge in edges_s])


@dataclass(frozen=True, eq=False)
class Gauge:
    """One gauge over time, each point for a stretch of samples; arrays of shape (points,)."""

    mean: Numbers
    low: Numbers
    high: Numbers


@dataclass(frozen=True, eq=False)
class Gauges:
    """The gauges of some replicas together.

    Attributes
    ----------
    at_s : ndarray
        Start of each stretch [s].
    queue, held, running : Gauge
        Requests held by the policy or waiting in the engine, held alone, in the running set.
    kv_pct : Gauge
        KV blocks in use, of those of the replicas that were up [%]; NaN while none was.
    """

    at_s: Numbers
    queue: Gauge
    held: Gauge
    running: Gauge
    kv_pct: Gauge


def gauges(
    timeline: Timeline, replicas: Sequence[int], from_s: float = 0.0, most: int = 320
) -> Gauges:
    """Return the summed gauges of replicas in at most `most` points, the first at `from_s` [s].

    A trace may begin late on its clock; what was sampled before would use up the points.
    """
    chosen = list(replicas)
    first = max(int(np.searchsorted(timeline.at_s, from_s, side="right")) - 1, 0)

    def total(values: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
        return np.asarray(values[chosen, first:].sum(axis=0))

    held, waiting, blocks = map(total, (timeline.held, timeline.waiting, timeline.kv_blocks))
    capacity = total(up(timeline) * np.array(timeline.kv_capacity_blocks)[:, None])
    kv_pct = np.full(blocks.shape, np.nan)
    np.divide(100.0 * blocks, capacity, out=kv_pct, where=capacity > 0)
    starts = np.arange(0, len(blocks), max(1, -(-len(blocks) // most)))
    return Gauges(
        timeline.at_s[first:][starts],
        *(
            _thinned(values.astype(np.float64), starts)
            for values in (held + waiting, held, total(timeline.running), kv_pct)
        ),
    )


def _thinned(values: Numbers, starts: Counts) -> Gauge:
    counts = np.diff(np.append(starts, len(values)))
    return Gauge(
        np.add.reduceat(values, starts) / counts,
        np.minimum.reduceat(values, starts),
        np.maximum.reduceat(values, starts),
    )


def up(timeline: Timeline) -> NDArray[np.bool_]:
    """Return whether each replica was up at each sample, shape (replicas, samples)."""
    at = timeline.at_s
    found = np.zeros((timeline.replicas, len(at)), dtype=bool)
    for replica, periods in enumerate(timeline.up_s):
        for start, end in periods:
            found[replica] |= (at >= start) & (at <= end)
    return found


def replicas_up(timeline: Timeline) -> tuple[Numbers, Counts]:
    """Return the instants at which the number of replicas that are up changes, and the numbers."""
    periods = [period for each in timeline.up_s for period in each]
    at = np.array([start for start, _ in periods] + [end for _, end in periods])
    change = np.array([1] * len(periods) + [-1] * len(periods))
    instants, which = np.unique(at, return_inverse=True)
    steps = np.bincount(which, weights=change, minlength=len(instants)).astype(np.int64)
    numbers = np.cumsum(steps)
    moved = np.append(True, steps[1:] != 0) if len(steps) else np.zeros(0, dtype=bool)
    return instants[moved], numbers[moved]
