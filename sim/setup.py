"""What a run is made of before it starts: options, profiles, the parts of every replica."""

from __future__ import annotations

from dataclasses import fields, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from calibrate.capacity import with_utilization
from policies.routers import make_router
from sim.cluster.autoscale import Autoscale
from sim.cluster.clients import Clients
from sim.cluster.failures import Failures
from sim.cluster.tenants import Tenants
from sim.costs import StepCosts
from sim.ledger import ReplicaLedger
from sim.options import DEFAULT_MAX_NUM_SEQS, EngineLimits, OptionError, RunOptions, to_ps
from sim.spec import ReplicaSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from calibrate.profile import Profile
    from policies.protocol import Policy
    from sim.cluster.fleet import Replica
    from sim.ledger import Book, Lookup
    from sim.options import Discipline
    from sim.timeline import Samples
    from traces.columns import HashIds

_KINDS: dict[str, tuple[type[Any], str]] = {
    "failures": (Failures, "sim.cluster.failures.parse_failures(text)"),
    "clients": (Clients, "sim.cluster.clients.Clients"),
    "autoscale": (Autoscale, "sim.cluster.autoscale.Autoscale"),
    "tenants": (Tenants, "sim.cluster.tenants.Tenants"),
}
"""Options that are objects of their own, and where to get one."""

POLICY_STREAM, ROUTER_STREAM, JITTER_STREAM, OUTAGE_STREAM, CLIENT_STREAM = range(5)


def options_of(run_options: dict[str, Any]) -> RunOptions:
    """Return what was given by keyword as options; an OptionError for what does not exist."""
    known = [field.name for field in fields(RunOptions)]
    for name in run_options:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(known)}"
            raise OptionError(f"unknown run option {name!r}: {hint}")
    for name, (kind, where) in _KINDS.items():
        given = run_options.get(name)
        if given is not None and not isinstance(given, kind):
            raise OptionError(f"{name}={given!r}: expected a {kind.__name__}, see {where}")
    return RunOptions(**run_options)


def told(
    kinds: Sequence[Replica], options: RunOptions, context_tokens: float
) -> tuple[Replica, ...]:
    """Return the kinds, their profiles with the run's KV capacity and the trace's mean context."""
    return tuple(
        replace(
            kind,
            profile=replace(
                with_kv_capacity(kind.profile, options), mean_context_tokens=context_tokens
            ),
        )
        for kind in kinds
    )


def with_kv_capacity(profile: Profile, options: RunOptions) -> Profile:
    """Return the profile with the KV capacity a run asks for, or as it is.

    Raises
    ------
    OptionError
        For two answers: `kv_tokens` and `gpu_memory_utilization`.
    ProfileError
        When the profile does not say enough of its device, or no token fits.
    """
    kv_tokens, share = options.kv_tokens, options.gpu_memory_utilization
    if share is not None:
        if kv_tokens is not None:
            raise OptionError(
                f"kv_tokens={kv_tokens} and gpu_memory_utilization={share:g} both set the KV "
                "capacity: give one of them"
            )
        return with_utilization(profile, share)
    if kv_tokens is None:
        return profile
    return replace(profile, kv_tokens=kv_tokens, kv_source="given for this run")


def specs_of(
    kinds: Sequence[Replica],
    policy: Policy,
    options: RunOptions,
    seed: int,
    ledger: Book,
    *,
    requests: int,
    prompt_tokens: Lookup,
    output_tokens: Lookup,
    refusals: Callable[[EngineLimits], Mapping[int, str]],
    prefix: HashIds | None = None,
    samples: Sequence[Samples] | None = None,
) -> list[ReplicaSpec]:
    """Return the parts of every replica, kind by kind.

    Parameters
    ----------
    kinds, policy, options, seed : as in `simulate`
    ledger : Book
        Where the account of the requests is written.
    requests : int
        How many there are at most.
    prompt_tokens, output_tokens : Lookup
        Their lengths by id.
    refusals : callable
        Which of them an engine with these limits can never serve.
    prefix : HashIds or None
        Their content blocks, for a prefix cache.
    samples : sequence of Samples or None
        Where each replica's state over time is noted.
    """
    specs: list[ReplicaSpec] = []
    for kind in kinds:
        limits = _limits(kind.profile, policy, options)
        costs = StepCosts(kind.profile.cost, min(limits.max_num_seqs, requests))
        refused = refusals(limits)
        known = _as_run(kind.profile, limits, options)
        for index in range(len(specs), len(specs) + kind.count):
            deciders = _deciders(policy, known, seed, index)
            specs.append(
                ReplicaSpec(
                    index=index,
                    costs=costs,
                    limits=limits,
                    decider=next(deciders),
                    prompt_tokens=prompt_tokens,
                    output_tokens=output_tokens,
                    refusals=refused,
                    ledger=ledger,
                    account=ReplicaLedger(),
                    restart=deciders.__next__,
                    prefix=prefix,
                    samples=None if samples is None else samples[index],
                    feedback_ps=to_ps(options.feedback_delay_s),
                    jitter=_jitter(options.jitter_cv, random_stream(seed, JITTER_STREAM, index)),
                )
            )
    return specs


def _deciders(policy: Policy, profile: Profile, seed: int, index: int) -> Iterator[Any]:
    """Yield the decider of a replica, and one more each time it returns from a failure."""
    life = 0
    while True:
        yield policy.start(
            random_stream(seed, POLICY_STREAM, index, *([life] if life else [])), profile
        )
        life += 1


def _as_run(profile: Profile, limits: EngineLimits, options: RunOptions) -> Profile:
    """Return the profile with what the run sets otherwise: a policy knows the engine it has."""
    overhead_s = options.client_overhead_s
    if overhead_s is None:
        overhead_s = profile.client_overhead_s
    if (limits.discipline, overhead_s) == (profile.discipline, profile.client_overhead_s):
        return profile
    return replace(profile, discipline=limits.discipline, client_overhead_s=overhead_s)


def _limits(profile: Profile, policy: Policy, options: RunOptions) -> EngineLimits:
    """Return what an engine may hold."""
    return EngineLimits(
        discipline=options.discipline or cast("Discipline", profile.discipline),
        max_num_seqs=_seats(policy, options),
        max_num_batched_tokens=options.max_num_batched_tokens,
        blocks=profile.kv_tokens // options.block_size,
        block_size=options.block_size,
    )


def _seats(policy: Policy, options: RunOptions) -> int:
    """Return the largest running set: the policy's, else the option's, else the default."""
    seats: int | None = getattr(policy, "max_num_seqs", None)
    if seats is None:
        return DEFAULT_MAX_NUM_SEQS if options.max_num_seqs is None else options.max_num_seqs
    if options.max_num_seqs is not None:
        raise OptionError(
            f"max_num_seqs={options.max_num_seqs} and policy {policy.label} both set the batch "
            "size: give one of them"
        )
    return seats


def overhead_ps(profile: Profile, options: RunOptions) -> int:
    """Return the client overhead of requests that a replica with this profile serves [ps]."""
    overhead_s = options.client_overhead_s
    return to_ps(profile.client_overhead_s if overhead_s is None else overhead_s)


def resolved(
    options: RunOptions, policy: Policy, kinds: Sequence[Replica], overhead_ps: int
) -> RunOptions:
    """Return the options with what the run used in place of None; what differs stays None."""

    def common(values: list[Any]) -> Any:
        return values[0] if len(set(values)) == 1 else None

    profiles = [kind.profile for kind in kinds]
    return replace(
        options,
        max_num_seqs=_seats(policy, options),
        kv_tokens=common([profile.kv_tokens for profile in profiles]),
        discipline=options.discipline or common([profile.discipline for profile in profiles]),
        client_overhead_s=(
            common([profile.client_overhead_s for profile in profiles])
            if options.client_overhead_s is None
            else options.client_overhead_s
        ),
        router=make_router(options.router).label,
    )


def random_stream(seed: int, *key: int) -> np.random.Generator:
    """Return a random stream of its own for each purpose, replica and life of it."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _jitter(cv: float, rng: np.random.Generator) -> Callable[[], float] | None:
    """Return a source of log-normal factors with mean 1; None when there is no jitter."""
    if not cv:
        return None
    variance = float(np.log1p(cv * cv))
    return lambda: float(rng.lognormal(-variance / 2, variance**0.5))
