"""One trace, one fleet, one policy: assemble a run, let it run, account for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from policies.catalog import make_policy
from policies.routers import make_router
from policies.routing import Fleet
from sim.cluster.fleet import Replica, fleet_of
from sim.cluster.goals import goals_of
from sim.cluster.habits import habits_of
from sim.cluster.run import run_cluster
from sim.cluster.scenario import Scenario
from sim.intake import instants, mean_context_tokens, pending, refusals_of
from sim.ledger import Ledger
from sim.options import OptionError, RunOptions, to_ps, whole_number
from sim.prefixcache import content_of
from sim.result import Result
from sim.setup import (
    CLIENT_STREAM,
    OUTAGE_STREAM,
    ROUTER_STREAM,
    options_of,
    overhead_ps,
    random_stream,
    resolved,
    specs_of,
    told,
)
from sim.stepwise import run_stepwise
from sim.timeline import SHORTEST_PS, Samples, interval_ps, timeline_of
from sim.warn import tally_of, warnings_of
from traces.request import Trace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from calibrate.profile import Profile

MOST_REPLICAS = 32_767
"""The ledger keeps a replica's index in two bytes."""


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
    options = options_of(run_options)
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
    kinds = told(kinds, options, mean_context_tokens(trace))
    initial = sum(kind.count for kind in kinds)
    if options.autoscale is not None:
        kinds = _grown(kinds, options.autoscale.max_replicas)
    if sum(kind.count for kind in kinds) > MOST_REPLICAS:
        raise OptionError(
            f"{sum(kind.count for kind in kinds)} replicas: expected at most {MOST_REPLICAS:,}"
        )
    ledger = Ledger(len(trace))
    samples = None
    if options.timeline:
        first_ps = int(arrival_ps[0]) // SHORTEST_PS * SHORTEST_PS
        interval = interval_ps(int(arrival_ps[-1]) - first_ps)
        samples = [Samples(interval, first_ps) for kind in kinds for _ in range(kind.count)]
    specs = specs_of(
        kinds,
        chosen,
        options,
        seed,
        ledger,
        requests=len(trace),
        prompt_tokens=trace.prompt_tokens.tolist(),
        output_tokens=trace.output_tokens.tolist(),
        refusals=lambda limits: refusals_of(trace, limits, options.max_model_len),
        prefix=content_of(trace, options.block_size) if options.prefix_caching else None,
        samples=samples,
    )
    profiles = [kind.profile for kind in kinds for _ in range(kind.count)]
    overheads_ps = np.array([overhead_ps(each, options) for each in profiles], dtype=np.int64)
    router = make_router(options.router)
    fleet = Fleet(profiles)
    scenario = Scenario(
        specs=specs,
        route=router.start(fleet.profiles, random_stream(seed, ROUTER_STREAM, 0)),
        fleet=fleet,
        looks=router.looks,
        until_ps=None if options.until_s is None else to_ps(options.until_s),
        ready=initial,
        startup_ps=to_ps(options.startup_s),
        failures=options.failures,
        autoscale=options.autoscale,
        outage_rng=lambda index: random_stream(seed, OUTAGE_STREAM, index),
        habits=(
            None
            if options.clients is None
            else habits_of(
                options.clients,
                trace,
                int(overheads_ps.max()),
                lambda number: random_stream(seed, CLIENT_STREAM, number),
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
    used = resolved(options, chosen, kinds, int(overheads_ps.max()))
    return Result(
        trace=trace,
        policy=chosen.label,
        fleet=kinds,
        seed=seed,
        options=used,
        warnings=warnings_of(
            trace.warnings,
            len(trace),
            kinds,
            chosen,
            used,
            tally_of(trace, kinds, ledger),
            accounts,
        ),
        arrival_ps=arrival_ps,
        sla_ps=sla_ps,
        overheads_ps=overheads_ps,
        ledger=ledger,
        accounts=accounts,
        timeline=None
        if samples is None
        else timeline_of(
            samples,
            [spec.limits.blocks for spec in specs],
            accounts,
            int(arrival_ps.max()),
            scenario.until_ps,
        ),
    )


def _grown(kinds: tuple[Replica, ...], max_replicas: int) -> tuple[Replica, ...]:
    """Return the kinds with what a scaler may add; the last kind is what it adds."""
    missing = max_replicas - sum(kind.count for kind in kinds)
    if missing < 0:
        raise OptionError(
            f"max_replicas={max_replicas} is below the {max_replicas - missing} replicas there "
            "are from the start: raise it or start with fewer"
        )
    return (*kinds[:-1], replace(kinds[-1], count=kinds[-1].count + missing))


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
