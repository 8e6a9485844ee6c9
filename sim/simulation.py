"""One trace, one profile, one policy: assemble a run, let it run, account for it."""

from __future__ import annotations

from dataclasses import fields, replace
from difflib import get_close_matches
from itertools import repeat
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from calibrate.capacity import with_utilization
from calibrate.profile import Profile
from policies.catalog import make_policy
from policies.protocol import NEVER_PS, PS_PER_S, Pending
from policies.routers import RoundRobin
from policies.routing import Fleet
from sim.cluster import run_cluster
from sim.costs import StepCosts
from sim.ledger import Ledger, ReplicaLedger
from sim.options import (
    DEFAULT_MAX_NUM_SEQS,
    LONGEST_S,
    EngineLimits,
    OptionError,
    RunOptions,
    to_ps,
    whole_number,
)
from sim.result import Result
from sim.spec import ReplicaSpec
from sim.stepwise import run_stepwise
from sim.warn import warnings_of
from traces.request import Trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from policies.protocol import Policy
    from policies.routing import Router
    from sim.options import Discipline

POLICY_STREAM, ROUTER_STREAM, JITTER_STREAM = range(3)


def simulate(
    trace: Trace,
    profile: Profile,
    policy: object = "saber",
    replicas: int = 1,
    seed: int = 0,
    leap: bool = True,
    **run_options: Any,
) -> Result:
    """Replay a trace on simulated replicas.

    Parameters
    ----------
    trace : Trace
        What arrives.
    profile : Profile
        What a step costs; every replica has the same.
    policy : str, Policy or callable
        Who is admitted when: as `policies.catalog.make_policy` takes it.
    replicas : int
        How many replicas share the arrivals, each in turn.
    seed : int
        Of the policies' random choices and of jitter; the trace has its own.
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
    replicas = whole_number("replicas", replicas, 1)
    seed = whole_number("seed", seed, 0)
    _check_kinds(trace, profile)
    chosen = make_policy(policy)
    arrival_ps, sla_ps = _instants(trace)
    if options.warmup_s > trace.arrival_s[-1]:
        raise OptionError(
            f"warmup_s={options.warmup_s:g} is after the last arrival, at "
            f"{trace.arrival_s[-1]:g} s: nothing would be measured"
        )
    profile = replace(
        with_kv_capacity(profile, options), mean_context_tokens=mean_context_tokens(trace)
    )
    limits, options = _resolve(options, chosen, profile)
    ledger = Ledger(len(trace))
    costs = StepCosts(profile.cost, min(limits.max_num_seqs, len(trace)))
    prompt_tokens, output_tokens = trace.prompt_tokens.tolist(), trace.output_tokens.tolist()
    refusals = refusals_of(trace, limits, options.max_model_len)
    specs = [
        ReplicaSpec(
            index=index,
            costs=costs,
            limits=limits,
            decider=chosen.start(_stream(seed, POLICY_STREAM, index), profile),
            prompt_tokens=prompt_tokens,
            output_tokens=output_tokens,
            refusals=refusals,
            ledger=ledger,
            account=ReplicaLedger(),
            jitter=_jitter(options.jitter_cv, _stream(seed, JITTER_STREAM, index)),
        )
        for index in range(replicas)
    ]
    router: Router = RoundRobin()
    profiles = [profile] * replicas
    route = router.start(profiles, _stream(seed, ROUTER_STREAM, 0))
    until_ps = None if options.until_s is None else to_ps(options.until_s)
    run = run_cluster if leap else run_stepwise
    run(pending(trace, arrival_ps, sla_ps), specs, route, Fleet(profiles), until_ps)
    accounts = tuple(spec.account for spec in specs)
    return Result(
        trace=trace,
        policy=chosen.label,
        profile=profile.name,
        replicas=replicas,
        seed=seed,
        options=options,
        warnings=warnings_of(trace, profile, options, ledger, accounts),
        arrival_ps=arrival_ps,
        sla_ps=sla_ps,
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


def mean_context_tokens(trace: Trace) -> float:
    """Return the mean context of a sequence over the decode steps of a trace.

    A step with g tokens generated before it has a context of prompt + g tokens.
    """
    steps = trace.output_tokens - 1
    total = int(steps.sum())
    if not total:
        return float(trace.prompt_tokens.mean())
    context = trace.prompt_tokens + trace.output_tokens / 2
    return float((steps * context).sum() / total)


def refusals_of(trace: Trace, limits: EngineLimits, max_model_len: int | None) -> dict[int, str]:
    """Return the requests that an engine can never serve, each with the reason."""
    size = limits.block_size
    peak = -(-(trace.prompt_tokens + trace.output_tokens - 1) // size)
    available = limits.blocks - limits.watermark
    reasons = {
        int(i): f"needs {peak[i]} KV blocks of {size} tokens, the cache has {available} to give"
        for i in np.flatnonzero(peak > available)
    }
    if max_model_len is not None:
        length = trace.prompt_tokens + trace.output_tokens
        for i in np.flatnonzero(length > max_model_len):
            reasons[int(i)] = f"has {length[i]} tokens, max_model_len is {max_model_len}"
    return reasons


def pending(
    trace: Trace, arrival_ps: NDArray[np.int64], sla_ps: NDArray[np.int64]
) -> Iterator[Pending]:
    """Yield the requests as policies may know them, in order of arrival."""
    never = (sla_ps < 0) | (sla_ps > NEVER_PS - arrival_ps)
    deadline_ps = np.where(never, NEVER_PS, arrival_ps + sla_ps)
    return map(
        Pending,
        range(len(trace)),
        arrival_ps.tolist(),
        deadline_ps.tolist(),
        trace.prompt_tokens.tolist(),
        trace.max_tokens.tolist(),
        _labels(trace.task_code, trace.tasks),
        _labels(trace.tenant_code, trace.tenants),
        _labels(trace.session_code, trace.sessions),
    )


def _labels(codes: NDArray[np.int32], names: tuple[str, ...]) -> Iterable[str]:
    # Code -1, no label, picks the last name.
    return map((*names, "").__getitem__, codes.tolist()) if names else repeat("")


def _options(run_options: dict[str, Any]) -> RunOptions:
    known = [field.name for field in fields(RunOptions)]
    for name in run_options:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(known)}"
            raise OptionError(f"unknown run option {name!r}: {hint}")
    return RunOptions(**run_options)


def _check_kinds(trace: Trace, profile: Profile) -> None:
    for name, value, kind, source in (
        ("trace", trace, Trace, "traces.load(path) or traces.workload(name, rps)"),
        ("profile", profile, Profile, "calibrate.load_profile(name or path)"),
    ):
        if not isinstance(value, kind):
            raise OptionError(
                f"{name} is a {type(value).__name__}: expected a {kind.__name__}, see {source}"
            )


def _instants(trace: Trace) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return arrivals and SLAs [ps], -1 for no SLA."""
    if not len(trace):
        raise OptionError("the trace has no requests: expected at least one")
    for name, seconds in (("arrival_s", trace.arrival_s), ("sla_s", trace.sla_s)):
        longest = float(np.nanmax(seconds, initial=0.0))
        if longest >= LONGEST_S:
            raise OptionError(
                f"{name} reaches {longest:g} s: expected less than {LONGEST_S:g} s (the clock "
                "counts picoseconds); take a window of the trace"
            )
    arrival_ps = np.rint(trace.arrival_s * PS_PER_S).astype(np.int64)
    sla_ps = np.where(np.isnan(trace.sla_s), -1, np.rint(trace.sla_s * PS_PER_S))
    return arrival_ps, sla_ps.astype(np.int64)


def _resolve(
    options: RunOptions, policy: Policy, profile: Profile
) -> tuple[EngineLimits, RunOptions]:
    """Return the engine's limits, and the options with what was used in place of None."""
    seats = getattr(policy, "max_num_seqs", None)
    if seats is None:
        seats = DEFAULT_MAX_NUM_SEQS if options.max_num_seqs is None else options.max_num_seqs
    elif options.max_num_seqs is not None:
        raise OptionError(
            f"max_num_seqs={options.max_num_seqs} and policy {policy.label} both set the batch "
            "size: give one of them"
        )
    resolved = replace(
        options,
        max_num_seqs=seats,
        kv_tokens=profile.kv_tokens,
        discipline=options.discipline or cast("Discipline", profile.discipline),
        client_overhead_s=(
            profile.client_overhead_s
            if options.client_overhead_s is None
            else options.client_overhead_s
        ),
    )
    assert resolved.discipline is not None
    limits = EngineLimits(
        discipline=resolved.discipline,
        max_num_seqs=seats,
        max_num_batched_tokens=resolved.max_num_batched_tokens,
        blocks=profile.kv_tokens // resolved.block_size,
        block_size=resolved.block_size,
    )
    return limits, resolved


def _stream(seed: int, purpose: int, replica: int) -> np.random.Generator:
    """Return a random stream of its own for each purpose and replica."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose, replica)))


def _jitter(cv: float, rng: np.random.Generator) -> Callable[[], float] | None:
    """Return a source of log-normal factors with mean 1; None when there is no jitter."""
    if not cv:
        return None
    variance = float(np.log1p(cv * cv))
    return lambda: float(rng.lognormal(-variance / 2, variance**0.5))
