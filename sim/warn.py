"""What a reader of a result has to know before quoting a number from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.ledger import REFUSED, UNFINISHED, UNSET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from calibrate.profile import Profile
    from sim.fleet import Replica
    from sim.ledger import Ledger, ReplicaLedger
    from sim.options import RunOptions
    from traces.request import Trace


def warnings_of(
    trace: Trace,
    fleet: Sequence[Replica],
    options: RunOptions,
    ledger: Ledger,
    accounts: Sequence[ReplicaLedger],
) -> tuple[str, ...]:
    """Return the warnings of a run, one sentence each, the trace's and the profiles' first."""
    found = [*trace.warnings]
    begin = 0
    for kind in fleet:
        about = [*kind.profile.caveats]
        if options.discipline not in (None, kind.profile.discipline):
            about.append(
                f"the profile describes a {kind.profile.discipline} engine, the run is "
                f"{options.discipline}"
            )
        replicas = range(begin, begin + kind.count)
        about += _about_ranges(trace, kind.profile, ledger, accounts, replicas)
        begin += kind.count
        found += about if len(fleet) == 1 else [f"{kind.profile.name}: {each}" for each in about]
    found += _about_requests(trace, options, ledger)
    return tuple(found)


def _about_ranges(
    trace: Trace,
    profile: Profile,
    ledger: Ledger,
    accounts: Sequence[ReplicaLedger],
    replicas: range,
) -> list[str]:
    """Return a warning for each measured range that the replicas of a profile left."""
    found = []
    admitted = np.frombuffer(ledger.admitted_ps, dtype=np.int64) != UNSET
    if len(replicas) < len(accounts):
        served_by = np.frombuffer(ledger.replica, dtype=np.int16)
        admitted &= (served_by >= replicas.start) & (served_by < replicas.stop)
    stored = (trace.prompt_tokens + trace.output_tokens - 1)[admitted]  # never the last token
    own = accounts[replicas.start : replicas.stop]
    reached = (
        ("batch", "sequences", max(account.peak_batch for account in own)),
        ("prefill_tokens", "prompt tokens a step", max(a.peak_prefill_tokens for a in own)),
        ("context_tokens", "context tokens", int(stored.max(initial=0))),
    )
    for key, unit, highest in reached:
        measured = getattr(profile, f"measured_{key}")
        if measured is not None and highest > measured[1]:
            found.append(
                f"beyond the profile's range: {highest} {unit}, known from {measured[0]} to "
                f"{measured[1]}; step costs there are extrapolated"
            )
    return found


def _about_requests(trace: Trace, options: RunOptions, ledger: Ledger) -> list[str]:
    """Return warnings about requests that the summary leaves out or that came to nothing."""
    found = []
    submitted = np.frombuffer(ledger.attempts, dtype=np.int32) > 0
    status = np.frombuffer(ledger.status, dtype=np.uint8)
    late = int((~submitted).sum())
    if late:
        found.append(
            f"{late} requests arrive after until_s and were not submitted"
            if options.until_s is not None
            else f"{late} requests were not submitted: what they waited for never ended"
        )
    without = int(np.isnan(trace.sla_s[submitted]).sum())
    if options.goodput_ms is None and without:
        found.append(
            "the trace has no SLA: goodput is not defined (assign one, or set goodput limits)"
            if without == int(submitted.sum())
            else f"{without} requests have no SLA and are outside goodput"
        )
    refused = np.flatnonzero(status == REFUSED)
    if len(refused):
        first = int(refused[0])
        found.append(
            f"{len(refused)} requests were refused; the first, request {first}, "
            f"{ledger.reason[first]}"
        )
    if options.until_s is None:
        admitted = np.frombuffer(ledger.admitted_ps, dtype=np.int64) != UNSET
        kept = int((submitted & (status == UNFINISHED) & ~admitted).sum())
        if kept:
            found.append(f"{kept} requests were never released by the policy")
        cut_off = int((admitted & (status == UNFINISHED)).sum())
        if cut_off:
            found.append(f"{cut_off} requests were still running when the clock ended, at 106 days")
    return found
