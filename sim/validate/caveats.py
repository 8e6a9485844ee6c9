"""What a reader of a replay has to know before quoting a number from it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from policies.protocol import PS_PER_S
from sim.ledger import FINISHED, STATUSES, UNFINISHED
from sim.options import DEFAULT_MAX_NUM_SEQS
from sim.validate.lateness import LATE_S, Lateness, lateness_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from calibrate.endpoint.server import Server
    from calibrate.profile import Profile
    from sim.options import RunOptions
    from sim.validate.record import Record, Replayed
    from traces.request import Trace

BUSY_SHARE = 0.25
"""A load average above this share of the cores, before anything is sent, is other work."""

KV_APART = 0.01
"""KV caches that differ by more than this share are not the same."""

LOOPBACK = ("localhost", "127.", "[::1]", "::1", "0.0.0.0")


def caveats_of(planned: Trace, replayed: Replayed) -> tuple[str, ...]:
    """Return the warnings of one replay, one sentence each."""
    records = replayed.records
    found = []
    if replayed.account and replayed.ending != "drained":
        found.append(f"the replay ended early: {replayed.account}")
    missing = len(planned) - len(records)
    if missing:
        found.append(f"{missing} requests were not sent: the replay had ended")
    found += _about_statuses(replayed)
    found += _about_tokens(planned, [record for record in records if record.status == FINISHED])
    delays = {
        "the driver's event loop was": replayed.lateness,
        "arrivals were": arrival_lateness(records),
        "the policy was told of completions": notice_lateness(records),
    }
    found += [
        f"{what} late by {1e3 * (late.p99_s or 0):.1f} ms at p99, more than {1e3 * LATE_S:g} ms: "
        "this machine is too busy to time anything more finely"
        for what, late in delays.items()
        if late.is_late
    ]
    return tuple(found)


def arrival_lateness(records: Sequence[Record]) -> Lateness:
    """Return how long after their planned instants requests arrived."""
    return lateness_of([(r.arrival_ps - r.planned_ps) / PS_PER_S for r in records])


def notice_lateness(records: Sequence[Record]) -> Lateness:
    """Return how long after their last token the policy was told of completions."""
    return lateness_of(
        [(r.known_ps - r.finished_ps) / PS_PER_S for r in records if r.status == FINISHED]
    )


def _about_statuses(replayed: Replayed) -> list[str]:
    """Return a warning for each way in which requests did not finish."""
    found = []
    for code, name in enumerate(STATUSES):
        lost = [record for record in replayed.records if record.status == code]
        if code == FINISHED or not lost:
            continue
        words = name.replace("_", " ")
        if code == UNFINISHED:
            found.append(f"{len(lost)} requests were {words} at the end: {replayed.account}")
        else:
            found.append(
                f"{len(lost)} requests {words}; the first, request {lost[0].id}: {lost[0].reason}"
            )
    return found


def _about_tokens(planned: Trace, finished: Sequence[Record]) -> list[str]:
    """Return warnings about answers and prompts that were not of the length they should be."""
    found = []
    replies = [(record.id, record.reply) for record in finished if record.reply is not None]
    told = [(id, reply.prompt_tokens) for id, reply in replies if reply.prompt_tokens]
    other = [(id, count) for id, count in told if count != planned.prompt_tokens[id]]
    if other:
        apart = max(abs(count - int(planned.prompt_tokens[id])) for id, count in other)
        found.append(
            f"{len(other)} prompts had other lengths for the server than in the trace, by up to "
            f"{apart} tokens: the simulation takes the server's"
        )
    early = sum(reply.output_tokens < planned.output_tokens[id] for id, reply in replies)
    if early:
        found.append(
            f"{early} answers ended before the length asked for: the simulation takes the tokens "
            "that came"
        )
    uncounted = sum(not reply.counted for _, reply in replies)
    if uncounted:
        found.append(
            f"the server did not count the tokens of {uncounted} answers: each message with "
            "content was taken for one"
        )
    return found


def load_average() -> float | None:
    """Return how many processes ran or wanted to on this machine in the last minute, on average."""
    try:
        return os.getloadavg()[0]
    except OSError:
        return None


def caveats_of_machine(url: str, load: float | None) -> tuple[str, ...]:
    """Return the warnings about where the driver runs; `load` is the average before it began."""
    from urllib.parse import urlsplit

    found = []
    cores = os.cpu_count() or 1
    if load is not None and load > BUSY_SHARE * cores:
        found.append(
            f"other work ran on this machine: its load average was {load:.1f} on {cores} cores "
            "before the replay began"
        )
    if (urlsplit(url).hostname or "").startswith(LOOPBACK):
        found.append("the server runs on the driver's machine: they share its cores")
    return tuple(found)


def caveats_of_server(profile: Profile, options: RunOptions, server: Server) -> tuple[str, ...]:
    """Return the warnings about a server that is not what the simulation takes it for."""
    found = []
    if options.max_num_seqs is None:
        found.append(
            f"the simulated engine runs at most {DEFAULT_MAX_NUM_SEQS} requests at a time: give "
            "--max-num-seqs if the server was started with another limit"
        )
    kv_tokens = server.kv_tokens
    if kv_tokens is not None and abs(kv_tokens / profile.kv_tokens - 1) > KV_APART:
        found.append(
            f"the server's KV cache holds {kv_tokens:,} tokens, the simulated one "
            f"{profile.kv_tokens:,}: give --kv-tokens {kv_tokens}"
        )
    if not server.keeps_length:
        found.append("the server may end answers before the length asked for")
    return tuple(found)
