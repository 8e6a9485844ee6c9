"""One trace, one fleet, one policy: assemble a run, let it run, account for it."""

from __future__ import annotations

from dataclasses import fields, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from calibrate.capacity import with_utilization
from policies.catalog import make_policy
from policies.routers import make_router
from policies.routing import Fleet
from sim.autoscale import Autoscale
from sim.clients import Clients
from sim.cluster import run_cluster
from sim.costs import StepCosts
from sim.failures import Failures
from sim.fleet import Replica, fleet_of
from sim.goals import goals_of
from sim.habits import habits_of
from sim.intake import instants, mean_context_tokens, pending, refusals_of
from sim.ledger import Ledger, ReplicaLedger
from sim.options import (
    DEFAULT_MAX_NUM_SEQS,
    EngineLimits,
    OptionError,
    RunOptions,
    to_ps,
    whole_number,
)
from sim.prefixcache import content_of
from sim.result import Result
from sim.scenario import Scenario
from sim.spec import ReplicaSpec
from sim.stepwise import run_stepwise
from sim.tenants import Tenants
from sim.warn import warnings_of
from traces.request import Trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from calibrate.profile import Profile
    from policies.protocol import Policy
    from sim.options import Discipline

_KINDS: dict[str, tuple[type[Any], str]] = {
    "failures": (Failures, "sim.failures.parse_failures(text)"),
    "clients": (Clients, "sim.clients.Clients"),
    "autoscale": (Autoscale, "sim.autoscale.Autoscale"),
    "tenants": (Tenants, "sim.tenants.Tenants"),
}
"""Options that are objects of their own, and where to get one."""

MOST_REPLICAS = 32_767
"""The ledger keeps a replica's index in two bytes."""

POLICY_STREAM, ROUTER_STREAM, JITTER_STREAM, OUTAGE_STREAM, CLIENT_STREAM = range(5)


def simulate(
    trace: Trace,
    profile: Profile | Sequence[Replica],
    policy: object = "saber",
    replicas: int = 1,
    seed: int = 0,
    leap: bool = True,
    **run_options: Any,
) -> Result:
    """Replay a trace on a simulated cluster.

    Parameters
    ----------
    trace : Trace
        What arrives.
    profile : Profile or sequence of Replica
        What a step costs on every replica, or the kinds of replicas and how many there are of each.
    policy : str, Policy or callable
        Who is admitted when: as `policies.catalog.make_policy` takes it.  Each replica has its own.
    replicas : int
        How many replicas of the one profile; kinds of replicas have their own count.
    seed : int
        Of the random choices of policies, router, clients, failures and jitter; the trace has its
        own.
    leap : bool
        Leap from change to change (True) or visit every step (False).  The results are equal; the
        second is the slow reference.
    **run_options
        Fields of `sim.options.RunOptions`.

    Returns
    -------
    Result

    Raises
    ------
    OptionError, PolicyError, ProfileError
        If something that was asked for cannot be meant.
    """
    options = _options(run_options)
    if not isinstance(trace, Trace):
        raise OptionError(
            f"trace is a {type(trace).__name__}: expected a Trace, see traces.load(path) or "
            "traces.workload(name, rps)"
        )
    kinds = fleet_of(profile, whole_number("replicas", replicas, 1))
    seed = whole_number("seed", seed, 0)
    chosen = make_policy(policy)
    arrival_ps, sla_ps = instants(trace)
    closed = options.clients is not None and options.clients.users is not None
    if options.warmup_s > trace.arrival_s[-1] and not closed:
        raise OptionError(
            f"warmup_s={options.warmup_s:g} is after the last arrival, at "
            f"{trace.arrival_s[-1]:g} s: nothing would be measured"
        )
    context_tokens = mean_context_tokens(trace)
    kinds = tuple(
        replace(
            kind,
            profile=replace(
                with_kv_capacity(kind.profile, options), mean_context_tokens=context_tokens
            ),
        )
        for kind in kinds
    )
    initial = sum(kind.count for kind in kinds)
    if options.autoscale is not None:
        kinds = _grown(kinds, options.autoscale.max_replicas)
    if sum(kind.count for kind in kinds) > MOST_REPLICAS:
        raise OptionError(
            f"{sum(kind.count for kind in kinds)} replicas: expected at most {MOST_REPLICAS:,}"
        )
    ledger = Ledger(len(trace))
    specs = _specs(trace, kinds, chosen, options, ledger, seed)
    profiles = [kind.profile for kind in kinds for _ in range(kind.count)]
    overheads_ps = np.array([_overhead_ps(each, options) for each in profiles], dtype=np.int64)
    router = make_router(options.router)
    fleet = Fleet(profiles)
    scenario = Scenario(
        specs=specs,
        route=router.start(fleet.profiles, _stream(seed, ROUTER_STREAM, 0)),
        fleet=fleet,
        looks=router.looks,
        until_ps=None if options.until_s is None else to_ps(options.until_s),
        ready=initial,
        startup_ps=to_ps(options.startup_s),
        failures=options.failures,
        autoscale=options.autoscale,
        outage_rng=lambda index: _stream(seed, OUTAGE_STREAM, index),
        habits=(
            None
            if options.clients is None
            else habits_of(
                options.clients,
                trace,
                int(overheads_ps.max()),
                lambda number: _stream(seed, CLIENT_STREAM, number),
            )
        ),
        tenant_caps={} if options.tenants is None else options.tenants.caps(),
        met=(
            None
            if options.autoscale is None
            else goals_of(ledger, trace, arrival_ps, sla_ps, overheads_ps, options.goodput_ms)
        ),
    )
    _check_scenario(scenario, trace, options)
    (run_cluster if leap else run_stepwise)(pending(trace, arrival_ps, sla_ps), scenario)
    for request, moved_ps in ledger.moved_ps.items():
        arrival_ps[request] = moved_ps
    accounts = tuple(spec.account for spec in specs)
    resolved = _resolved(options, chosen, kinds, int(overheads_ps.max()))
    return Result(
        trace=trace,
        policy=chosen.label,
        fleet=kinds,
        seed=seed,
        options=resolved,
        warnings=warnings_of(trace, kinds, resolved, ledger, accounts),
        arrival_ps=arrival_ps,
        sla_ps=sla_ps,
        overheads_ps=overheads_ps,
        ledger=ledger,
        accounts=accounts,
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


def _specs(
    trace: Trace,
    kinds: Sequence[Replica],
    policy: Policy,
    options: RunOptions,
    ledger: Ledger,
    seed: int,
) -> list[ReplicaSpec]:
    """Return the parts of every replica, kind by kind."""
    prompt_tokens, output_tokens = trace.prompt_tokens.tolist(), trace.output_tokens.tolist()
    prefix = content_of(trace, options.block_size) if options.prefix_caching else None
    specs: list[ReplicaSpec] = []
    for kind in kinds:
        limits = _limits(kind.profile, policy, options)
        costs = StepCosts(kind.profile.cost, min(limits.max_num_seqs, len(trace)))
        refusals = refusals_of(trace, limits, options.max_model_len)
        for index in range(len(specs), len(specs) + kind.count):
            deciders = _deciders(policy, kind.profile, seed, index)
            specs.append(
                ReplicaSpec(
                    index=index,
                    costs=costs,
                    limits=limits,
                    decider=next(deciders),
                    prompt_tokens=prompt_tokens,
                    output_tokens=output_tokens,
                    refusals=refusals,
                    ledger=ledger,
                    account=ReplicaLedger(),
                    restart=deciders.__next__,
                    prefix=prefix,
                    jitter=_jitter(options.jitter_cv, _stream(seed, JITTER_STREAM, index)),
                )
            )
    return specs


def _deciders(policy: Policy, profile: Profile, seed: int, index: int) -> Iterator[Any]:
    """Yield the decider of a replica, and one more each time it returns from a failure."""
    life = 0
    while True:
        yield policy.start(_stream(seed, POLICY_STREAM, index, *([life] if life else [])), profile)
        life += 1


def _grown(kinds: tuple[Replica, ...], max_replicas: int) -> tuple[Replica, ...]:
    """Return the kinds with what a scaler may add; the last kind is what it adds."""
    missing = max_replicas - sum(kind.count for kind in kinds)
    if missing < 0:
        raise OptionError(
            f"max_replicas={max_replicas} is below the {max_replicas - missing} replicas there "
            "are from the start: raise it or start with fewer"
        )
    return (*kinds[:-1], replace(kinds[-1], count=kinds[-1].count + missing))


def _options(run_options: dict[str, Any]) -> RunOptions:
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


def _check_scenario(scenario: Scenario, trace: Trace, options: RunOptions) -> None:
    """Refuse what names something that is not there."""
    count = len(scenario.specs)
    for outage in () if scenario.failures is None else scenario.failures.scripted:
        if outage.replica >= count:
            raise OptionError(
                f"failures name replica {outage.replica}: expected "
                f"{f'0 to {count - 1}' if count > 1 else '0'}, as the cluster has {count}"
            )
    for tenant in scenario.tenant_caps:
        if tenant not in trace.tenants:
            known = ", ".join(trace.tenants) or "no tenants at all"
            raise OptionError(f"tenants: unknown tenant {tenant!r}: the trace has {known}")
    if options.startup_s and scenario.failures is None and scenario.autoscale is None:
        raise OptionError(
            f"startup_s={options.startup_s:g} has no effect: nothing starts without failures or "
            "autoscale"
        )


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


def _overhead_ps(profile: Profile, options: RunOptions) -> int:
    overhead_s = options.client_overhead_s
    return to_ps(profile.client_overhead_s if overhead_s is None else overhead_s)


def _resolved(
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


def _stream(seed: int, *key: int) -> np.random.Generator:
    """Return a random stream of its own for each purpose, replica and life of it."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _jitter(cv: float, rng: np.random.Generator) -> Callable[[], float] | None:
    """Return a source of log-normal factors with mean 1; None when there is no jitter."""
    if not cv:
        return None
    variance = float(np.log1p(cv * cv))
    return lambda: float(rng.lognormal(-variance / 2, variance**0.5))
