"""The account of a run: one row per request, one run-length row per stretch of equal gaps.

Engines and replicas write here and read nothing back; `sim.result` turns it into answers.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from itertools import repeat
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Lookup: TypeAlias = Sequence[int] | Mapping[int, int]
    """Whole numbers by request id."""

STATUSES = ("unfinished", "finished", "refused", "failed", "timed_out", "cancelled")
"""Names of the status codes; a request is unfinished until something else happens to it."""
UNFINISHED, FINISHED, REFUSED, FAILED, TIMED_OUT, CANCELLED = range(6)

UNSET = -1
"""An instant that has not come."""


class Ledger:
    """Columns indexed by request id.

    Attributes
    ----------
    admitted_ps, first_token_ps, finished_ps : array of int
        Instants [ps], ``UNSET`` until they come.  Released by the policy; first and last token.
    status : bytearray
        Codes of ``STATUSES``.
    demoted : bytearray
        Flags: a policy made the request best effort.
    replica : array of int
        Where the request was last sent, -1 while it was sent nowhere.
    attempts : array of int
        How often it was sent: retries and failovers count, 0 while it has not arrived.
    moved_ps : dict of int to int
        Arrivals [ps] that are not the trace's, because they waited for an answer.
    wasted_tokens : int
        Output tokens generated for attempts that did not finish.
    preemptions : array of int
        How often it was preempted.
    gone_ps : dict of int to int
        Instants [ps] at which requests were over that did not finish.
    reason : dict of int to str
        Why a request was refused.
    """

    __slots__ = (
        "admitted_ps",
        "attempts",
        "demoted",
        "finished_ps",
        "first_token_ps",
        "gone_ps",
        "moved_ps",
        "preemptions",
        "reason",
        "replica",
        "status",
        "wasted_tokens",
    )

    def __init__(self, requests: int) -> None:
        unset = array("q", [UNSET])
        self.admitted_ps = unset * requests
        self.first_token_ps = unset * requests
        self.finished_ps = unset * requests
        self.status = bytearray(requests)
        self.demoted = bytearray(requests)
        self.replica = array("h", [-1]) * requests
        self.attempts = array("i", [0]) * requests
        self.preemptions = array("i", [0]) * requests
        self.moved_ps: dict[int, int] = {}
        self.wasted_tokens = 0
        self.gone_ps: dict[int, int] = {}
        self.reason: dict[int, str] = {}


class OpenLedger:
    """A book for requests that come and go: rows are taken out once they are complete.

    The columns are dictionaries and hold only what was written.
    """

    __slots__ = Ledger.__slots__

    def __init__(self) -> None:
        self.admitted_ps: dict[int, int] = {}
        self.first_token_ps: dict[int, int] = {}
        self.finished_ps: dict[int, int] = {}
        self.status: dict[int, int] = {}
        self.demoted: dict[int, int] = {}
        self.replica: dict[int, int] = {}
        self.attempts: defaultdict[int, int] = defaultdict(int)
        self.preemptions: defaultdict[int, int] = defaultdict(int)
        self.moved_ps: dict[int, int] = {}
        self.wasted_tokens = 0
        self.gone_ps: dict[int, int] = {}
        self.reason: dict[int, str] = {}

    def take(self, requests: Sequence[int]) -> Ledger:
        """Take the rows of `requests` out; return them as columns, in that order."""
        taken = Ledger(0)

        def of(column: dict[int, int], missing: int) -> map[int]:
            return map(column.pop, requests, repeat(missing))

        taken.admitted_ps.extend(of(self.admitted_ps, UNSET))
        taken.first_token_ps.extend(of(self.first_token_ps, UNSET))
        taken.finished_ps.extend(of(self.finished_ps, UNSET))
        taken.status.extend(of(self.status, UNFINISHED))
        taken.demoted.extend(of(self.demoted, 0))
        taken.replica.extend(of(self.replica, -1))
        taken.attempts.extend(of(self.attempts, 0))
        taken.preemptions.extend(of(self.preemptions, 0))
        if self.reason:
            refused = [(i, r) for i, r in enumerate(requests) if r in self.reason]
            taken.reason = {i: self.reason.pop(r) for i, r in refused}
            taken.gone_ps = {i: self.gone_ps.pop(r) for i, r in refused}
        return taken


Book: TypeAlias = Ledger | OpenLedger
"""Where a run writes its account of the requests."""


class ReplicaLedger:
    """What one replica's engine did.

    Attributes
    ----------
    gaps : array of int
        Inter-token gaps as rows of five: instant at which the first gap of the row ends [ps], that
        gap [ps], increase of the gap from step to step [ps], steps, tokens per step.
    busy_ps : array of int
        Busy periods as pairs: start, end [ps].
    up_ps, paid_ps : array of int
        Periods in which it took or finished requests, and in which it was paid for, as pairs of
        start and end [ps].
    peak_batch, peak_prefill_tokens : int
        Largest running set and largest number of prompt tokens in one step.
    prefix_query_tokens, prefix_hit_tokens : int
        With a prefix cache: tokens of the prompts (and recomputes) at their admission, and how
        many of them were found stored and not computed.
    """

    __slots__ = (
        "busy_ps",
        "gaps",
        "paid_ps",
        "peak_batch",
        "peak_prefill_tokens",
        "prefix_hit_tokens",
        "prefix_query_tokens",
        "up_ps",
    )

    def __init__(self) -> None:
        self.gaps = array("q")
        self.busy_ps = array("q")
        self.up_ps = array("q")
        self.paid_ps = array("q")
        self.peak_batch = 0
        self.peak_prefill_tokens = 0
        self.prefix_query_tokens = 0
        self.prefix_hit_tokens = 0
