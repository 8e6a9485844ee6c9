"""Inter-token latencies of every replica, counted in vLLM's buckets as the run goes on.

The gaps between tokens are in no row of a request; this is what a run keeps of them on disk.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from policies.protocol import PS_PER_S
from sim.gaps import END, GAP, GROWTH, STEPS, TOKENS, gap_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from sim.ledger import ReplicaLedger

EDGES_S = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75,
    1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
"""Upper edges [s] of the buckets of ``vllm:inter_token_latency_seconds``, vLLM's V1 engine."""

MOST_SCRAPES = 256
"""Instants at most, and of large fleets no more than `MOST_COUNTS` over the replicas."""
MOST_COUNTS = 4096
ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True, eq=False)
class TokenCounts:
    """Every token after a request's first, by the gap before it, at some instants.

    Attributes
    ----------
    at_s : ndarray of float, shape (instants,)
        Rising [s of the trace]; by the last one everything has happened.
    counts : ndarray of int, shape (replicas, instants, buckets)
        Tokens that came by then, in each of the buckets that `EDGES_S` divides.
    sum_s : ndarray of float, shape (replicas, instants)
        Their gaps added up [s].
    """

    at_s: NDArray[np.float64]
    counts: NDArray[np.int64]
    sum_s: NDArray[np.float64]

    def to_dict(self) -> dict[str, Any]:
        """Return it in JSON's types, packed; counts by what was added, which is mostly 0."""
        return {
            "shape": list(self.counts.shape),
            "at_s": _packed(self.at_s, "<f8"),
            "counts": _packed(np.diff(self.counts, axis=1, prepend=0), "<i8"),
            "sum_s": _packed(self.sum_s, "<f8"),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TokenCounts:
        """Return what `to_dict` wrote."""
        shape = tuple(data["shape"])
        return cls(
            _unpacked(data["at_s"], "<f8", shape[1:2]),
            _unpacked(data["counts"], "<i8", shape).cumsum(axis=1),
            _unpacked(data["sum_s"], "<f8", shape[:2]),
        )


def scrapes_ps(end_ps: int, interval_ps: int | None, replicas: int = 1, start_ps: int = 0) -> range:
    """Return the instants [ps] at which tokens are counted, the last one at or after the end.

    They are a whole number of intervals apart, the same all along, from the start on; the end
    alone without any.
    """
    if interval_ps is None:
        return range(end_ps, end_ps + 1)
    most = max(1, min(MOST_SCRAPES, MOST_COUNTS // replicas))
    span_ps = max(end_ps - start_ps, 0)
    step = interval_ps * max(1, -(-span_ps // (interval_ps * most)))
    return range(start_ps, start_ps - (-span_ps // step) * step + 1, step)


def token_counts(accounts: Sequence[ReplicaLedger], at_ps: Sequence[int]) -> TokenCounts:
    """Return the tokens of each replica that came by each instant.

    Parameters
    ----------
    accounts : sequence of ReplicaLedger
        One a replica.
    at_ps : sequence of int
        Rising instants [ps].
    """
    edges = np.array([round(edge * PS_PER_S) for edge in EDGES_S])
    instants = np.array(at_ps, dtype=np.int64)
    counts = np.zeros((len(accounts), len(instants), len(edges) + 1), dtype=np.int64)
    sums = np.zeros((len(accounts), len(instants)))
    for replica, account in enumerate(accounts):
        rows = gap_rows([account])
        for start in range(0, len(rows), ROWS_AT_ONCE):
            pieces, when = _pieces(rows[start : start + ROWS_AT_ONCE], instants)
            np.add.at(counts[replica], when, _in_buckets(pieces, edges))
            np.add.at(sums[replica], when, _total(pieces, pieces[:, STEPS]) * pieces[:, TOKENS])
    return TokenCounts(instants / PS_PER_S, counts.cumsum(axis=1), sums.cumsum(axis=1) / PS_PER_S)


def _pieces(
    rows: NDArray[np.int64], instants: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """Cut rows at the instants; return the pieces, and the first instant by which each is over."""
    more = rows[:, STEPS] - 1
    last = rows[:, END] + _total(rows, rows[:, STEPS]) - rows[:, GAP]
    first_seen, last_seen = (np.searchsorted(instants, end) for end in (rows[:, END], last))
    spans = last_seen - first_seen + 1
    which = np.repeat(np.arange(len(rows)), spans)
    place = np.arange(len(which)) - np.repeat(np.cumsum(spans) - spans, spans)
    when = first_seen[which] + place
    pieces = rows[which]
    done = np.where(when == last_seen[which], more[which] + 1, _steps_by(pieces, instants[when]))
    before = np.where(place == 0, 0, np.concatenate([[0], done[:-1]]))
    pieces[:, GAP] += pieces[:, GROWTH] * before
    pieces[:, STEPS] = done - before
    return pieces, when


def _steps_by(rows: NDArray[np.int64], at_ps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many steps of each row ended by an instant, found by halving."""
    low, high = np.zeros(len(rows), dtype=np.int64), rows[:, STEPS].copy()
    since = at_ps - rows[:, END] + rows[:, GAP]
    while (low < high).any():
        middle = (low + high + 1) // 2
        fits = _total(rows, middle) <= since
        low, high = np.where(fits, middle, low), np.where(fits, high, middle - 1)
    return low


def _total(rows: NDArray[np.int64], steps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how long the first steps of each row took together [ps]."""
    return rows[:, GAP] * steps + rows[:, GROWTH] * (steps * (steps - 1) // 2)


def _in_buckets(rows: NDArray[np.int64], edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return tokens of each row in each bucket, shape (rows, edges + 1); an edge is within."""
    room = edges - rows[:, GAP, np.newaxis]
    growth = np.maximum(rows[:, GROWTH, np.newaxis], 1)
    rising = np.clip(room // growth + 1, 0, rows[:, STEPS, np.newaxis])
    flat = np.where(room >= 0, rows[:, STEPS, np.newaxis], 0)
    within = np.where(rows[:, GROWTH, np.newaxis] > 0, rising, flat)
    steps = np.diff(within, axis=1, prepend=0, append=rows[:, STEPS, np.newaxis])
    return np.asarray(steps * rows[:, TOKENS, np.newaxis])


def _packed(values: NDArray[Any], dtype: str) -> str:
    return base64.b64encode(zlib.compress(values.astype(dtype).tobytes(), 6)).decode("ascii")


def _unpacked(text: str, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    values = np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=dtype).reshape(shape)
    return values.astype(dtype.replace("<", "="))
