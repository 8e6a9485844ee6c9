"""From what a server's sessions showed to a profile."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from calibrate.endpoint.findings import speed_points
from calibrate.endpoint.plan import UNKNOWN_MODEL_LEN
from calibrate.endpoint.timed import timed
from calibrate.fit import fit_cost, fit_warnings
from calibrate.measured import ranges_of
from calibrate.profile import Profile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from calibrate.endpoint.findings import Budget, Discipline, Seen
    from calibrate.endpoint.options import EndpointOptions
    from calibrate.endpoint.plan import Facts
    from calibrate.endpoint.server import Server
    from calibrate.endpoint.timed import Timed

INCOHERENT = 0.25
"""Streams whose tokens are further apart than this share of a step hardly advance together."""
HELD_BACK = 0.1
"""Beyond this share of tokens that wait for later ones, times tell of more than the engine."""
_FITTED = (
    "fitted to steps reconstructed from the arrivals of streamed tokens, by non-negative least "
    "squares on relative errors; intervals from a bootstrap over the repeats"
)


@dataclass(frozen=True)
class Looked:
    """What a run found out about a server beside its sessions.

    Parameters
    ----------
    server : Server
    facts : Facts
    discipline : Discipline
    budget : Budget
    cut : sequence of str
        What was not sent, a line each.
    stopped : str
        Why the run ended before its plan did; empty where it did not.
    requests : int
    statuses : mapping
        How requests ended, with their number.
    """

    server: Server
    facts: Facts
    discipline: Discipline
    budget: Budget
    cut: Sequence[str]
    stopped: str
    requests: int
    statuses: Mapping[str, int]


def endpoint_profile(options: EndpointOptions, looked: Looked, seen: Sequence[Seen]) -> Profile:
    """Return the profile that a server's sessions give.

    Raises
    ------
    ProfileError
        When too little was measured for a fit.
    """
    server, facts = looked.server, looked.facts
    found = timed(seen, facts)
    fit = fit_cost(
        found.measurements, engine_overhead_s=0.0, rng=np.random.default_rng(options.seed)
    )
    points = speed_points(seen, facts.most_together)
    capacity, kv_source = _kv_tokens(options, server, seen)
    warnings = [*_warnings(looked, seen), *fit_warnings(fit)]
    slower = drift(found)
    return Profile(
        name=f"{slug(options.model)}-endpoint",
        method="endpoint",
        date=date.today().isoformat(),
        model={"name": options.model},
        device={"name": options.device_name},
        software={
            name: value
            for name, value in (("engine", server.engine), ("version", server.version))
            if value
        },
        provenance={
            "measured_by": "saber calibrate endpoint",
            "url": options.url,
            "api": options.api,
            "requests": looked.requests,
            "statuses": dict(looked.statuses),
            "sessions": len([one for one in seen if one.session.round >= 0]),
            "stopped": looked.stopped or None,
            "left_out": list(looked.cut),
            "drift": None if slower is None else round(slower, 4),
            "max_num_seqs": facts.most_together,
            "max_num_batched_tokens": looked.budget.tokens,
            "max_model_len": server.max_model_len,
            "block_size": server.block_size,
            "counts_tokens": server.counts_tokens,
            "keeps_length": server.keeps_length,
            "seed": options.seed,
            "held_out_rows": fit.held_out_rows,
            "held_out": "errors of a fit to the other rows; the coefficients are of a fit to all",
            "warnings": warnings,
        },
        sources={
            **{f"cost.{name}": _FITTED for name in _TABLES},
            "engine_overhead_s": "contained in the measured steps",
            "client_overhead_s": "time to the first token of a prompt of a few tokens, less a "
            "decode step of one sequence",
            "discipline": looked.discipline.source,
            "speed_points": "measured in closed loops of each level: the gaps between a request's "
            "tokens over the time from its first to its last one",
            "provenance.max_num_batched_tokens": looked.budget.source,
        },
        discipline=looked.discipline.name,
        kv_tokens=capacity,
        kv_source=kv_source,
        client_overhead_s=found.client_overhead_s,
        cost=fit.cost,
        speed_points=points or None,
        fit={"held_out": fit.held_out, "in_sample": fit.in_sample},
        intervals=fit.intervals,
        raw=tuple(m.to_raw() for m in found.measurements),
        **ranges_of(found.measurements),
    )


_TABLES = (
    "decode.step_s",
    "decode.context_token_s",
    "prefill.step_s",
    "prefill.attention_token2_s",
)


def drift(found: Timed) -> float | None:
    """Return how far the slowest round lies above the fastest, as a share; None for one round.

    The median over the steps that all rounds measured of a round's time over the step's mean.
    """
    rounds = max((len(each) for each in found.rounds.values()), default=0)
    table = np.array(
        [
            [float(np.median(each[number])) for number in sorted(each)]
            for each in found.rounds.values()
            if len(each) == rounds
        ]
    )
    if rounds < 2:
        return None
    by_round = np.median(table / table.mean(axis=1, keepdims=True), axis=0)
    return float(by_round.max() / by_round.min() - 1)


def _kv_tokens(options: EndpointOptions, server: Server, seen: Sequence[Seen]) -> tuple[int, str]:
    if options.kv_tokens is not None:
        return options.kv_tokens, "given with --kv-tokens"
    if server.kv_tokens is not None:
        return server.kv_tokens, "told by the server's metrics, vllm:cache_config_info"
    together = max(one.observed.together for one in seen)
    length = server.max_model_len or UNKNOWN_MODEL_LEN
    return together * length, (
        f"assumed: the server does not tell; room for {together} requests of {length:,} tokens, "
        "the most that were seen to run together; give it with --kv-tokens"
    )


def _warnings(looked: Looked, seen: Sequence[Seen]) -> list[str]:
    """Return what a person should know of how this was measured, a line each."""
    lines = []
    server = looked.server
    if looked.stopped:
        lines.append(f"not all was measured: {looked.stopped}")
    if server.counts_tokens == "no":
        lines.append(
            "the server does not count tokens: each message was taken for one token"
            + ("" if server.takes_ids else ", and each word of a prompt for one")
        )
    if not server.keeps_length:
        lines.append("answers end where the model ends them: fewer steps were seen than asked for")
    if looked.discipline.source.startswith("assumed"):
        lines.append(f"the discipline is {looked.discipline.source}: --discipline sets it")
    apart = float(np.median([one.observed.incoherence for one in seen]))
    held_back = float(np.mean([one.observed.held_back for one in seen]))
    if held_back > HELD_BACK:
        lines.append(
            f"{held_back * 100:.0f} % of the tokens arrived together with later ones: something is "
            "too busy to hand them on as they are made, and times are rough"
        )
    if apart > INCOHERENT:
        lines.append(
            f"the tokens of one step arrive {apart * 100:.0f} % of a step apart: the server's "
            "streams do not advance together, as this way of measuring takes for granted"
        )
    return lines


def slug(name: str) -> str:
    """Return a model's name in the letters of a file name."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.") or "model"
