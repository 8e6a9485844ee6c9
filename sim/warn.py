"""What a reader of a result has to know before quoting a number from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.ledger import REFUSED, UNFINISHED, UNSET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from calibrate.profile import Profile
    from sim.ledger import Ledger, ReplicaLedger
    from sim.options import RunOptions
    from traces.request import Trace


def warnings_of(
    trace: Trace,
    profile: Profile,
    options: RunOptions,
    ledger: Ledger,
    accounts: Sequence[ReplicaLedger],
) -> tuple[str, ...]:
    """Return the warnings of a run, one sentence each, the trace's and the profile's first."""
    found = [*trace.warnings, *profile.caveats]
    if options.discipline != profile.discipline:
        found.append(
            f"the profile describes a {profile.discipline} engine, the run is {options.discipline}"
        )
    found += _about_ranges(trace, profile, ledger, accounts)
    found += _about_requests(trace, options, ledger)
    return tuple(found)


def _about_ranges(
    trace: Trace, profile: Profile, ledger: Ledger, accounts: Sequence[ReplicaLedger]
) -> list[str]:
    """Return a warning for each measured range that the run left."""
    found = []
    admitted = np.frombuffer(ledger.admitted_ps, dtype=np.int64) != UNSET
    stored = (trace.prompt_tokens + trace.output_tokens - 1)[admitted]  # never the last token
    reached = (
        ("batch", "sequences", max(account.peak_batch for account in accounts)),
        ("prefill_tokens", "prompt tokens a step", max(a.peak_prefill_tokens for a in accounts)),
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
    submitted = np.frombuffer(ledger.replica, dtype=np.int16) >= 0
    status = np.frombuffer(ledger.status, dtype=np.uint8)
    late = int((~submitted).sum())
    if late:
        found.append(f"{late} requests arrive after until_s and were not submitted")
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
