"""Counts of what happened to the requests of a run, by replica and instant."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sim.export.ends import overheads_s

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from sim.runfile import Run

DIGITS = 9
"""To which latencies are rounded [decimals of a second], so that 0.3 s is within a bucket of 0.3;
differences of instants would miss it by their last digit."""


@dataclass(frozen=True, eq=False)
class Metric:
    """A metric of every replica at some instants.

    Attributes
    ----------
    name, text : str
        As Prometheus shows them; counters without ``_total``.
    kind : {"gauge", "counter", "histogram"}
        Of Prometheus.
    at_s : ndarray of float, shape (instants,)
        Rising [s of the trace].
    values : ndarray, shape (rows, instants)
        A row for each replica and, where there is one more, for requests sent nowhere; of a
        histogram the sums.
    edges : sequence of float
        Upper edges of a histogram.
    counts : ndarray of int or None, shape (rows, instants, edges + 1)
        In each bucket of a histogram.
    labels : mapping of str to str
        Besides the model and the replica.
    timed : bool
        Whether it is known before the last instant.
    """

    name: str
    text: str
    kind: Literal["gauge", "counter", "histogram"]
    at_s: NDArray[np.float64]
    values: NDArray[Any]
    edges: Sequence[float] = ()
    counts: NDArray[np.int64] | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    timed: bool = True


class Tally:
    """Adds up what happened to requests.

    Attributes
    ----------
    replicas : int
        How many there were; what is counted has one row more, for requests sent nowhere.
    at_s : ndarray of float, shape (instants,)
        When it is counted: where the tokens are, else at the end.
    arrived_s, released_s : ndarray of float, shape (requests,)
        When a request came and when the policy released it [s of the trace].
    first_s, last_s : ndarray of float, shape (requests,)
        First and last token as the engine has them; NaN where they did not come.
    first_seen_s, last_seen_s : ndarray of float, shape (requests,)
        The same as the client sees them.
    """

    def __init__(self, run: Run) -> None:
        frame = run.requests
        self.replicas = sum(count for _, count, _ in run.fleet)
        self.at_s = np.array([np.inf]) if run.tokens is None else run.tokens.at_s
        # Sent nowhere, -1, is the last row.
        self._replica = frame["replica"].to_numpy()
        late_s = overheads_s(run)[self._replica]
        self.arrived_s = frame["arrival_s"].to_numpy()
        self.released_s = frame["admitted_s"].to_numpy()
        self.first_seen_s = frame["first_token_s"].to_numpy()
        self.last_seen_s = frame["finished_s"].to_numpy()
        self.first_s = self.first_seen_s - late_s
        self.last_s = self.last_seen_s - late_s

    def counter(
        self,
        name: str,
        text: str,
        at_s: NDArray[np.float64],
        amount: ArrayLike = 1,
        *,
        timed: bool = True,
        **labels: str,
    ) -> Metric:
        """Return a counter of what is `amount` for a request at some instant; NaN is never."""
        values = self.added(at_s, np.broadcast_to(amount, at_s.shape))
        return Metric(name, text, "counter", self.at_s, values, labels=labels, timed=timed)

    def histogram(
        self,
        name: str,
        text: str,
        edges: Sequence[float],
        at_s: NDArray[np.float64],
        observed: NDArray[Any],
    ) -> Metric:
        """Return a histogram of what was observed at some instants; NaN is never."""
        observed = observed.round(DIGITS)
        counts = np.zeros((self.replicas + 1, len(self.at_s), len(edges) + 1), dtype=np.int64)
        rows, when = self._seen(at_s)
        np.add.at(counts, (self._replica[rows], when, np.searchsorted(edges, observed[rows])), 1)
        sums = self.added(at_s, observed)
        return Metric(name, text, "histogram", self.at_s, sums, edges, counts.cumsum(axis=1))

    def added(self, at_s: NDArray[np.float64], amount: NDArray[Any]) -> NDArray[Any]:
        """Return what had been added by each instant, shape (replicas + 1, instants)."""
        values = np.zeros((self.replicas + 1, len(self.at_s)), dtype=amount.dtype)
        rows, when = self._seen(at_s)
        np.add.at(values, (self._replica[rows], when), amount[rows])
        return np.asarray(values.cumsum(axis=1))

    def _seen(self, at_s: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the requests to which it happened, and the instant by which it had."""
        rows = np.flatnonzero(np.isfinite(at_s))
        # What a client sees a little after the engine has stopped is in the last scrape.
        return rows, np.minimum(np.searchsorted(self.at_s, at_s[rows]), len(self.at_s) - 1)
