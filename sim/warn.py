"""What a reader of a result has to know before quoting a number from it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from policies.gate import Gated
from policies.protocol import NEVER_PS
from policies.static import Static
from sim.ledger import REFUSED, UNFINISHED, UNSET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from calibrate.profile import Profile
    from policies.protocol import Policy
    from sim.cluster.fleet import Replica
    from sim.ledger import Ledger, ReplicaLedger
    from sim.options import RunOptions
    from traces.request import Trace


@dataclass(frozen=True)
class Tally:
    """What warnings need to know of the requests of a run, or of some of them.

    Attributes
    ----------
    submitted : int
        Requests that were sent at all.
    without_sla, refused, unreleased, running : int
        Of these: without an SLA, refused, never released by the policy, still with an engine.
    first_refused : int
        The first that was refused, by id.
    reason : str
        Why.
    stored_tokens : tuple of int
        By kind of replica: the most tokens that one admitted request had stored.
    """

    submitted: int = 0
    without_sla: int = 0
    refused: int = 0
    first_refused: int = NEVER_PS
    reason: str = ""
    unreleased: int = 0
    running: int = 0
    stored_tokens: tuple[int, ...] = ()

    def __add__(self, other: Tally) -> Tally:
        """Return the tally of both."""
        first = min(self, other, key=lambda tally: tally.first_refused)
        pairs = zip_longest(self.stored_tokens, other.stored_tokens, fillvalue=0)
        return Tally(
            submitted=self.submitted + other.submitted,
            without_sla=self.without_sla + other.without_sla,
            refused=self.refused + other.refused,
            first_refused=first.first_refused,
            reason=first.reason,
            unreleased=self.unreleased + other.unreleased,
            running=self.running + other.running,
            stored_tokens=tuple(max(pair) for pair in pairs),
        )


def tally_of(
    trace: Trace,
    fleet: Sequence[Replica],
    ledger: Ledger,
    ids: Sequence[int] | NDArray[np.int64] | None = None,
) -> Tally:
    """Return the tally of the requests in a ledger; `ids` are theirs where they are not a trace's.

    Parameters
    ----------
    trace : Trace
        The requests in the order of the ledger.
    fleet : sequence of Replica
        The kinds of replicas.
    ledger : Ledger
        What became of them.
    ids : sequence of int, optional
        What they are called; their rows by default.
    """
    submitted = np.frombuffer(ledger.attempts, dtype=np.int32) > 0
    status = np.frombuffer(ledger.status, dtype=np.uint8)
    admitted = np.frombuffer(ledger.admitted_ps, dtype=np.int64) != UNSET
    refused = np.flatnonzero(status == REFUSED)
    first = int(refused[0]) if len(refused) else -1
    first_id = first if ids is None or first < 0 else int(ids[first])
    unfinished = submitted & (status == UNFINISHED)
    stored = trace.prompt_tokens + trace.output_tokens - 1  # never the last token
    served_by = np.frombuffer(ledger.replica, dtype=np.int16)
    longest = []
    begin = 0
    for kind in fleet:
        here = admitted & (served_by >= begin) & (served_by < begin + kind.count)
        longest.append(int(stored[here].max(initial=0)))
        begin += kind.count
    return Tally(
        submitted=int(submitted.sum()),
        without_sla=int(np.isnan(trace.sla_s[submitted]).sum()),
        refused=len(refused),
        first_refused=first_id if len(refused) else NEVER_PS,
        reason=ledger.reason[first] if len(refused) else "",
        unreleased=int((unfinished & ~admitted).sum()),
        running=int((unfinished & admitted).sum()),
        stored_tokens=tuple(longest),
    )


def warnings_of(
    trace_warnings: Sequence[str],
    requests: int,
    fleet: Sequence[Replica],
    policy: Policy,
    options: RunOptions,
    tally: Tally,
    accounts: Sequence[ReplicaLedger],
) -> tuple[str, ...]:
    """Return the warnings of a run, one sentence each, the trace's and the profiles' first.

    `requests` is how many the trace has.
    """
    found = [*trace_warnings]
    begin = 0
    for kind, stored_tokens in zip(fleet, tally.stored_tokens, strict=True):
        about = [*kind.profile.caveats]
        if options.discipline not in (None, kind.profile.discipline):
            about.append(
                f"the profile describes a {kind.profile.discipline} engine, the run is "
                f"{options.discipline}"
            )
        own = accounts[begin : begin + kind.count]
        about += _about_ranges(kind.profile, stored_tokens, own)
        begin += kind.count
        found += about if len(fleet) == 1 else [f"{kind.profile.name}: {each}" for each in about]
    inner = policy.policy if isinstance(policy, Gated) else policy
    if options.goodput_ms is not None and not isinstance(inner, Static):
        found.append(
            f"{policy.label} does not see the goodput limits: a policy is shown SLAs, "
            + (
                "and no request has one"
                if tally.without_sla == tally.submitted
                else "which count for nothing else here"
            )
        )
    found += _about_requests(requests, options, tally)
    return tuple(found)


def _about_ranges(
    profile: Profile, stored_tokens: int, accounts: Sequence[ReplicaLedger]
) -> list[str]:
    """Return a warning for each measured range that the replicas of a profile left."""
    found = []
    reached = (
        ("batch", "sequences", max(account.peak_batch for account in accounts)),
        ("prefill_tokens", "prompt tokens a step", max(a.peak_prefill_tokens for a in accounts)),
        ("context_tokens", "context tokens", stored_tokens),
    )
    for key, unit, highest in reached:
        measured = getattr(profile, f"measured_{key}")
        if measured is not None and highest > measured[1]:
            found.append(
                f"beyond the profile's range: {highest} {unit}, known from {measured[0]} to "
                f"{measured[1]}; step costs there are extrapolated"
            )
    return found


def _about_requests(requests: int, options: RunOptions, tally: Tally) -> list[str]:
    """Return warnings about requests that the summary leaves out or that came to nothing."""
    found = []
    late = requests - tally.submitted
    if late:
        found.append(
            f"{late} requests arrive after until_s and were not submitted"
            if options.until_s is not None
            else f"{late} requests were not submitted: what they waited for never ended"
        )
    if options.goodput_ms is None and tally.without_sla:
        found.append(
            "the trace has no SLA: goodput is not defined (assign one, or set goodput limits)"
            if tally.without_sla == tally.submitted
            else f"{tally.without_sla} requests have no SLA and are outside goodput"
        )
    if tally.refused:
        found.append(
            f"{tally.refused} requests were refused; the first, request {tally.first_refused}, "
            f"{tally.reason}"
        )
    if options.until_s is None:
        if tally.unreleased:
            found.append(f"{tally.unreleased} requests were never released by the policy")
        if tally.running:
            found.append(
                f"{tally.running} requests were still running when the clock ended, at 106 days"
            )
    return found
