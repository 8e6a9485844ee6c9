"""The state of every replica at regular instants, recorded while a run goes on.

The cost is bounded: when there are too many samples, every second one is dropped and the interval
doubles.  Both ways to run a cluster record the same samples, compared with ``==``.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from policies.protocol import PS_PER_S

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from sim.ledger import ReplicaLedger

MOST_SAMPLES = 2048
SHORTEST_PS = PS_PER_S // 1000

GAUGES = ("held", "waiting", "running", "kv_blocks")
"""What a sample says of a replica, in this order."""


def interval_ps(span_ps: int) -> int:
    """Return the least interval, a millisecond doubled, at which a span has few enough samples."""
    interval = SHORTEST_PS
    while span_ps // interval >= MOST_SAMPLES:
        interval *= 2
    return interval


class Samples:
    """What is noted of one replica while it runs.

    Sample k shows the state once everything has happened that happens by k intervals from the
    start.

    Attributes
    ----------
    due_ps : int
        The instant [ps] of the next sample.
    interval_ps : int
        Between two of those kept [ps].
    start_ps : int
        The instant [ps] of the first.
    rows : list of tuple of int
        `GAUGES` of each sample kept.
    """

    __slots__ = ("due_ps", "interval_ps", "rows", "start_ps")

    def __init__(self, interval_ps: int, start_ps: int = 0) -> None:
        self.due_ps = self.start_ps = start_ps
        self.interval_ps = interval_ps
        self.rows: list[tuple[int, int, int, int]] = []

    def add(self, held: int, waiting: int, running: int, kv_blocks: int) -> None:
        """Note the state at `due_ps`."""
        self.rows.append((held, waiting, running, kv_blocks))
        if len(self.rows) == MOST_SAMPLES:
            del self.rows[1::2]
            self.interval_ps *= 2
        self.due_ps = self.start_ps + len(self.rows) * self.interval_ps


@dataclass(frozen=True, eq=False)
class Timeline:
    """Every replica at regular instants, on the trace's clock.

    Attributes
    ----------
    start_s : float
        Of the first sample [s]: the first arrival, to the millisecond before it.
    interval_s : float
        Between two samples [s].
    held : ndarray of int, shape (replicas, samples)
        Requests that the policy holds back: vLLM has no such queue.
    waiting : ndarray of int, shape (replicas, samples)
        Requests released to the engine that hold no seat (``vllm:num_requests_waiting``).
    running : ndarray of int, shape (replicas, samples)
        Requests that hold a seat, prompts included (``vllm:num_requests_running``).
    kv_blocks : ndarray of int, shape (replicas, samples)
        KV blocks in use by those that hold a seat; what a prefix cache only keeps does not count.
    kv_capacity_blocks : tuple of int
        KV blocks of each replica.
    up_s : tuple of tuple of (float, float)
        For each replica the periods [s] in which it took or finished requests.
    """

    start_s: float
    interval_s: float
    held: NDArray[np.int32]
    waiting: NDArray[np.int32]
    running: NDArray[np.int32]
    kv_blocks: NDArray[np.int32]
    kv_capacity_blocks: tuple[int, ...]
    up_s: tuple[tuple[tuple[float, float], ...], ...]

    @property
    def replicas(self) -> int:
        """How many replicas there were, or could be."""
        return len(self.held)

    @property
    def at_s(self) -> NDArray[np.float64]:
        """Instants of the samples [s]."""
        return np.asarray(self.start_s + np.arange(self.held.shape[1]) * self.interval_s)

    @property
    def kv_usage(self) -> NDArray[np.float64]:
        """Share of KV blocks in use, (replicas, samples) (``vllm:kv_cache_usage_perc``)."""
        capacity = np.array(self.kv_capacity_blocks, dtype=np.float64)
        return np.asarray(self.kv_blocks / capacity[:, np.newaxis])

    def to_lists(self) -> dict[str, Any]:
        """Return it in JSON's types, the samples as numbers to read."""
        return {
            "start_s": self.start_s,
            "interval_s": self.interval_s,
            **{name: getattr(self, name).tolist() for name in GAUGES},
            "kv_capacity_blocks": list(self.kv_capacity_blocks),
            "up_s": [[list(period) for period in periods] for periods in self.up_s],
        }

    def to_dict(self) -> dict[str, Any]:
        """Return it in JSON's types, the samples packed."""
        packed = {name: _packed(getattr(self, name)) for name in GAUGES}
        return {**self.to_lists(), **packed, "shape": list(self.held.shape)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Timeline:
        """Return what `to_dict` wrote."""
        return cls(
            start_s=data["start_s"],
            interval_s=data["interval_s"],
            **{name: _unpacked(data[name], data["shape"]) for name in GAUGES},
            kv_capacity_blocks=tuple(data["kv_capacity_blocks"]),
            up_s=tuple(tuple((a, b) for a, b in periods) for periods in data["up_s"]),
        )


def timeline_of(
    samples: Sequence[Samples],
    kv_capacity_blocks: Sequence[int],
    accounts: Sequence[ReplicaLedger],
    last_arrival_ps: int,
    until_ps: int | None = None,
) -> Timeline:
    """Return the samples of all replicas at one interval, from their start to the end of the run.

    It ends with the last arrival or step, or where the clock stops.  A replica that nothing
    happened to any more stays as it was seen last.
    """
    end_ps = max(last_arrival_ps, *(max(account.busy_ps, default=0) for account in accounts))
    end_ps = end_ps if until_ps is None else min(end_ps, until_ps)
    interval = max(each.interval_ps for each in samples)
    start_ps = samples[0].start_ps
    span_ps = max(end_ps - start_ps, 0)
    while span_ps // interval >= MOST_SAMPLES:
        interval *= 2
    count = span_ps // interval + 1
    rows = np.zeros((len(samples), count, len(GAUGES)), dtype=np.int32)
    for replica, each in enumerate(samples):
        kept = each.rows[:: interval // each.interval_ps][:count]
        if kept:
            rows[replica, : len(kept)] = kept
            rows[replica, len(kept) :] = each.rows[-1] if len(kept) < count else kept[-1]
    return Timeline(
        start_s=start_ps / PS_PER_S,
        interval_s=interval / PS_PER_S,
        **{name: np.ascontiguousarray(rows[:, :, k]) for k, name in enumerate(GAUGES)},
        kv_capacity_blocks=tuple(kv_capacity_blocks),
        up_s=tuple(_periods_s(account.up_ps, end_ps) for account in accounts),
    )


def _periods_s(periods_ps: Sequence[int], end_ps: int) -> tuple[tuple[float, float], ...]:
    pairs = zip(periods_ps[::2], periods_ps[1::2], strict=True)
    return tuple((a / PS_PER_S, min(b, end_ps) / PS_PER_S) for a, b in pairs if a <= end_ps)


def _packed(values: NDArray[np.int32]) -> str:
    return base64.b64encode(zlib.compress(values.astype("<i4").tobytes(), 6)).decode("ascii")


def _unpacked(text: str, shape: Sequence[int]) -> NDArray[np.int32]:
    raw = zlib.decompress(base64.b64decode(text))
    return np.frombuffer(raw, dtype="<i4").reshape(tuple(shape)).astype(np.int32)
