"""A batch limit searched by feedback: as large as memory allows and a target for TPOT permits."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import inf, sqrt
from typing import TYPE_CHECKING

from policies.parameters import check_number, check_whole
from policies.protocol import NEVER_PS, PS_PER_S, PolicyError
from policies.text import call_text
from policies.waiting import Waiting, release

if TYPE_CHECKING:
    import numpy as np

    from calibrate.profile import Profile
    from policies.protocol import Choice, Pending, View

RECENT = 256
"""The target is the tightest among so many latest requests."""


@dataclass(frozen=True)
class DynamicBatch:
    """Memory-aware and SLA-constrained dynamic batching.

    B. Pang, K. Li and F. Wang, "Optimizing LLM Inference Throughput via Memory-aware and
    SLA-constrained Dynamic Batching", arXiv 2503.05248 (reported: 8 to 28 % more throughput than
    static batching).  The batch limit is the smaller of two:

    - By latency: the middle of an interval [lo, hi], moved once in `interval_s` by the mean time
      per output token and the mean batch since the last time.  Above the target by more than the
      tolerance: hi = max(mean batch, lo + width), lo = max(lo - widen, 1).  Below it by more:
      lo = min(mean batch, hi - width), hi = min(hi + widen, max_num_seqs).  Else the interval is
      the mean batch plus and minus half the width.
    - By memory: the largest b with b * mu + z * sigma * sqrt(b) <= KV tokens, for the mean mu and
      the standard deviation sigma of a request's tokens (prompt and ``max_tokens``) so far: who is
      released together then overflows the cache with the probability that z stands for.

    Time per output token is measured on who decodes at both ends of an interval, stalls by other
    prompts included.  Requests are released in order of arrival.

    One target serves all: on mixed SLAs the tightest decides, and a batch that meets it wastes what
    the others could bear, or a backlog forms in front of it whose waits no batch size can mend.

    Attributes
    ----------
    tpot_s : float or None
        Target for the mean time per output token [s].  None: the least of SLA / ``max_tokens``
        among the latest `RECENT` requests; memory alone decides where none has an SLA.
    tolerance : float
        Share of the target within which the interval is left around the mean batch.
    width, widen : int
        Least width of the interval (the paper's alpha), and by how much its far end gives way
        (delta).  These, the tolerance and the interval are chosen here by trial, not taken from
        the paper.
    z : float
        Quantile of the memory bound; 1.645 leaves 5 %.
    interval_s : float
        Time between two adjustments [s].  Much less than an answer takes, and the search runs ahead
        of what it measures.
    max_num_seqs : int
        The largest limit, and the engine's.
    """

    tpot_s: float | None = None
    tolerance: float = 0.05
    width: int = 16
    widen: int = 4
    z: float = 1.645
    interval_s: float = 2.0
    max_num_seqs: int = 256

    def __post_init__(self) -> None:
        if self.tpot_s is not None:
            check_number("dynamic-batch", "tpot_s", self.tpot_s, above=0, at_most=1e6)
        check_number("dynamic-batch", "tolerance", self.tolerance, at_least=0, at_most=1)
        check_whole("dynamic-batch", "max_num_seqs", self.max_num_seqs, 1)
        check_whole("dynamic-batch", "width", self.width, 0)
        if self.width >= self.max_num_seqs > 1:
            raise PolicyError(
                f"dynamic-batch: width={self.width}: expected less than "
                f"max_num_seqs={self.max_num_seqs}"
            )
        check_whole("dynamic-batch", "widen", self.widen, 1)
        check_number("dynamic-batch", "z", self.z, at_least=0, at_most=100)
        check_number("dynamic-batch", "interval_s", self.interval_s, at_least=0.001, at_most=1e6)

    @property
    def label(self) -> str:
        """Canonical text of this policy: the parameters that differ from the defaults."""
        return call_text("dynamic-batch", self)

    def start(self, rng: np.random.Generator, profile: Profile) -> SearchedBatch:
        """Return a decider with an empty queue for a replica with the profile's KV capacity."""
        return SearchedBatch(self, profile.kv_tokens)


class SearchedBatch:
    """Looks at the engine once an interval while it is at work."""

    __slots__ = (
        "_batch_ps",
        "_decoding",
        "_due_ps",
        "_hi",
        "_in_engine",
        "_lengths",
        "_lo",
        "_looked_ps",
        "_policy",
        "_seen_ps",
        "_target",
        "_waiting",
    )

    def __init__(self, policy: DynamicBatch, kv_tokens: int) -> None:
        self._policy = policy
        self._waiting = Waiting()
        self._lengths = MemoryBound(kv_tokens, policy.z)
        self._target = TightestTarget()
        self._lo, self._hi = 1.0, float(policy.max_num_seqs)
        # The last look: when, and who had how many tokens.
        self._looked_ps = self._due_ps = 0
        self._decoding: dict[int, int] = {}
        # Requests in the engine, summed over time since then.
        self._batch_ps = self._seen_ps = self._in_engine = 0

    @property
    def limit(self) -> int:
        """The batch limit now."""
        return max(1, min(round((self._lo + self._hi) / 2), self._lengths.batch))

    def decide(self, view: View) -> Choice:
        """Adjust the limit if that is due, and release while it allows."""
        now_ps = view.now_ps
        for request in view.cancelled:
            self._waiting.discard(request)
        self._batch_ps += self._in_engine * (now_ps - self._seen_ps)
        self._seen_ps = now_ps
        if now_ps >= self._due_ps:
            self._look(view)
        arrived = view.arrived
        if arrived is not None:
            self._waiting.put(arrived.id, arrived.arrival_ps)
            self._lengths.add(arrived.prompt_tokens + arrived.max_tokens)
            self._target.add(arrived)
        choice = release(self._waiting, self.limit - view.in_engine)
        self._in_engine = view.in_engine + len(choice.release)
        return choice._replace(wake_ps=self._due_ps if self._in_engine else NEVER_PS)

    def _look(self, view: View) -> None:
        """Measure since the last look and move the interval."""
        elapsed_ps = view.now_ps - self._looked_ps
        decoding = {request: tokens for request, _, tokens in view.running if tokens}
        both = decoding.keys() & self._decoding.keys()
        tokens = sum(decoding[request] - self._decoding[request] for request in both)
        if tokens > 0 and elapsed_ps:
            tpot_s = len(both) * elapsed_ps / tokens / PS_PER_S
            self._move(tpot_s, self._batch_ps / elapsed_ps)
        self._decoding = decoding
        self._looked_ps = view.now_ps
        self._due_ps = view.now_ps + round(self._policy.interval_s * PS_PER_S)
        self._batch_ps = 0

    def _move(self, tpot_s: float, batch: float) -> None:
        """Move the interval by what was measured."""
        policy = self._policy
        target_s = self._target.tpot_s if policy.tpot_s is None else policy.tpot_s
        most, width = float(policy.max_num_seqs), policy.width
        if target_s == inf:
            self._lo = self._hi = most
        elif tpot_s > target_s * (1 + policy.tolerance):
            self._hi = min(max(batch, self._lo + width), most)
            self._lo = max(self._lo - policy.widen, 1.0)
        elif tpot_s < target_s * (1 - policy.tolerance):
            self._lo = max(min(batch, self._hi - width), 1.0)
            self._hi = min(self._hi + policy.widen, most)
        else:
            self._hi = min(batch + width / 2, most)
            self._lo = max(batch - width / 2, 1.0)


class MemoryBound:
    """The largest batch that fits the KV cache with some probability, from the lengths so far."""

    __slots__ = ("_count", "_kv_tokens", "_mean", "_squares", "_z", "batch")

    def __init__(self, kv_tokens: int, z: float) -> None:
        self._kv_tokens = kv_tokens
        self._z = z
        self._count = 0
        self._mean = self._squares = 0.0
        self.batch = kv_tokens

    def add(self, tokens: int) -> None:
        """Take a request's length into account."""
        self._count += 1
        away = tokens - self._mean
        self._mean += away / self._count
        self._squares += away * (tokens - self._mean)
        # b * mu + z * sigma * sqrt(b) = KV is a quadratic in sqrt(b).
        spread = self._z * sqrt(self._squares / self._count)
        root = (sqrt(spread * spread + 4 * self._mean * self._kv_tokens) - spread) / 2 / self._mean
        self.batch = max(1, int(root * root))


class TightestTarget:
    """The least SLA per token among the latest requests."""

    __slots__ = ("_count", "_least")

    def __init__(self) -> None:
        self._count = 0
        # Those that no later one undercuts, in order of arrival: the first is the least.
        self._least: deque[tuple[int, float]] = deque()

    @property
    def tpot_s(self) -> float:
        """Seconds for each token; infinite when no request has an SLA."""
        return self._least[0][1] if self._least else inf

    def add(self, request: Pending) -> None:
        """Take a request into account and forget what is too old."""
        least = self._least
        self._count += 1
        if least and least[0][0] <= self._count - RECENT:
            least.popleft()
        if request.deadline_ps == NEVER_PS:
            return
        tpot_s = (request.deadline_ps - request.arrival_ps) / PS_PER_S / request.max_tokens
        while least and least[-1][1] >= tpot_s:
            least.pop()
        least.append((self._count, tpot_s))
