"""From replays to what a validation says, and what it would send."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sim.ledger import FINISHED
from sim.options import DEFAULT_MAX_NUM_SEQS, OptionError
from sim.setup import random_stream
from sim.validate.asks import from_zero, latest_s, too_long
from sim.validate.compare import compare
from sim.validate.document import Replay, Validated
from sim.validate.live import BOOTSTRAP_STREAM, REST_S
from sim.validate.replay import in_front, pair_of
from sim.validate.verdict import together, verdicts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from calibrate.endpoint.server import Server
    from policies.protocol import Policy
    from sim.options import RunOptions
    from sim.validate.live import Done, Job
    from sim.validate.replay import Setting
    from sim.validate.verdict import Limit
    from traces.request import Trace

EXIT_CODES = {"within": 0, "outside": 1, "nothing was served": 1, "cannot be told": 3}
"""By what a validation comes to."""


@dataclass(frozen=True)
class Sending:
    """What the replays send at most.

    Attributes
    ----------
    replays, requests, prompt_tokens, output_tokens : int
    longest_s : float
        How long they take at the most [s].
    """

    replays: int
    requests: int
    prompt_tokens: int
    output_tokens: int
    longest_s: float

    def __str__(self) -> str:
        """Return it in words."""
        plural = "s" if self.replays > 1 else ""
        return (
            f"{self.replays} replay{plural}: {self.requests:,} requests with "
            f"{self.prompt_tokens:,} prompt and {self.output_tokens:,} output tokens, "
            f"{self.longest_s / 60:.1f} min at most"
        )


def sending_of(jobs: Sequence[Job], drain_s: float, max_model_len: int | None = None) -> Sending:
    """Return what replays send; requests longer than `max_model_len` are not sent."""
    requests = prompts = outputs = 0
    longest_s = REST_S * (len(jobs) - 1)
    for job in jobs:
        unsent = list(too_long(job.trace, max_model_len))
        requests += len(job.trace) - len(unsent)
        prompts += int(job.trace.prompt_tokens.sum() - job.trace.prompt_tokens[unsent].sum())
        outputs += int(job.trace.output_tokens.sum() - job.trace.output_tokens[unsent].sum())
        longest_s += latest_s(job.trace, drain_s)
    return Sending(len(jobs), requests, prompts, outputs, longest_s)


def refuse_too_many(sending: Sending, max_requests: int, probes: int = 0) -> None:
    """Raise OptionError when more completions would be sent than was agreed."""
    if sending.requests + probes > max_requests:
        beside = f" beside {probes} to find out what the server takes" if probes else ""
        raise OptionError(
            f"--max-requests {max_requests}: the replays would send {sending.requests:,} "
            f"completions{beside}: shorten them (--duration, --n, --repeats) or raise it"
        )


def in_front_of(policies: Iterable[Policy], options: RunOptions) -> list[Policy]:
    """Return the policies as they stand in front of a server with these options."""
    seqs = options.max_num_seqs
    return [in_front(each, DEFAULT_MAX_NUM_SEQS if seqs is None else seqs) for each in policies]


def part_of(trace: Trace, duration_s: float | None) -> Trace:
    """Return the first so many seconds of a trace, from its first arrival on, beginning at 0."""
    if duration_s is None:
        return from_zero(trace)
    from traces.transform import window

    start_s = float(trace.arrival_s[0])
    return from_zero(window(trace, start_s, start_s + duration_s))


def as_the_server(options: RunOptions, server: Server) -> RunOptions:
    """Return the options with what the server says of itself, where nothing else was given."""
    if options.max_model_len is None:
        options = replace(options, max_model_len=server.max_model_len)
    return replace(options, block_size=server.block_size or options.block_size)


def validated_of(
    done: Sequence[Done], texts: Sequence[str], setting: Setting, limits: Sequence[Limit], seed: int
) -> list[Validated]:
    """Simulate what was replayed and compare it, policy by policy.

    Replays that ended before their first request are left out, and policies without any other.
    """
    found = []
    for place, text in enumerate(texts):
        own = [each for each in done if each.job.place == place and each.replayed.records]
        own.sort(key=lambda each: each.job.repeat)
        if not own:
            continue
        replays = [
            Replay(
                each,
                pair_of(each.job.trace, each.replayed, each.job.policy, setting, each.job.seed),
            )
            for each in own
        ]
        comparison = compare(
            [(each.pair.measured, each.pair.simulated) for each in replays],
            random_stream(seed, BOOTSTRAP_STREAM, place),
        )
        found.append(
            Validated(
                text, own[0].job.policy.label, replays, comparison, verdicts_of(comparison, limits)
            )
        )
    return found


def outcome_of(validated: Sequence[Validated]) -> str:
    """Return what a validation comes to, one of `EXIT_CODES`."""
    served = any(
        record.status == FINISHED
        for each in validated
        for replay in each.replays
        for record in replay.done.replayed.records
    )
    if not served:
        return "nothing was served"
    return together([verdict for each in validated for verdict in each.verdicts])


def warnings_of(validated: Sequence[Validated], others: Iterable[str]) -> list[str]:
    """Return every warning once: the others first, then those of replays and simulations."""
    found = list(others)
    several = len(validated) > 1
    for each in validated:
        for replay in each.replays:
            about = each.text if several else ""
            if len(each.replays) > 1:
                about += f"{', ' if about else ''}repeat {replay.done.job.repeat + 1}"
            found += [f"{about}: {w}" if about else w for w in replay.pair.measured.warnings]
            found += [f"simulation: {w}" for w in replay.pair.simulated.warnings]
    return list(dict.fromkeys(found))


def document_of(
    configuration: dict[str, Any],
    server: dict[str, Any],
    validated: Sequence[Validated],
    warnings: Sequence[str],
    *,
    outcome: str,
    interrupted: bool,
) -> dict[str, Any]:
    """Return the validation as one document, in JSON's types but for numbers that are missing."""
    return {
        "configuration": configuration,
        "server": server,
        "outcome": outcome,
        "interrupted": interrupted,
        "policies": [each.to_dict() for each in validated],
        "warnings": list(warnings),
    }
