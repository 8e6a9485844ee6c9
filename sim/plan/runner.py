"""One configuration on one seed: from a point of a plan to a simulation and its numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from calibrate.bounds import bounds
from sim.feasible import Unloaded
from sim.plan.evaluate import FREE_ADMISSION
from sim.plan.measure import measure
from sim.simulation import simulate
from traces.bootstrap import BLOCK_S, block_bootstrap
from traces.seeds import stream
from traces.transform import scale_rate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from calibrate.profile import Profile
    from calibrate.steptime import PiecewiseLinear, StepCost
    from policies.protocol import Policy
    from sim.cluster.fleet import Replica
    from sim.options import RunOptions
    from sim.plan.evaluate import Costs, Point
    from sim.plan.measure import Sample
    from sim.plan.target import Target
    from sim.sources import Source
    from traces.request import Trace

BLOCKS_AT_LEAST = 10
"""Of a trace that is redrawn: shorter ones for a short trace."""
LIFTED = 1000
"""How many times as fast, or as large, what is free or endless is taken to be."""
ALONE_AT_MOST = 20_000


@dataclass(frozen=True)
class Requests:
    """The requests of each seed; those of a recorded trace are redrawn in blocks of time.

    Attributes
    ----------
    source : Source
        Where they come from.  Seed 0 of a recorded trace is the trace itself.
    """

    source: Source

    def __call__(self, seed: int) -> Trace:
        """Return the trace of `seed`."""
        trace = self.source(seed)
        if not self.source.fixed or not seed:
            return trace
        block_s = min(BLOCK_S, trace.span_s / BLOCKS_AT_LEAST)
        return block_bootstrap(trace, stream(seed, "blocks"), block_s)


@dataclass(frozen=True)
class Runner:
    """Runs one configuration on one seed; picklable.

    Attributes
    ----------
    requests : callable
        The trace of a seed.
    kinds : tuple of Replica
        What a fleet is made of; their counts do not matter here.
    policies : mapping of str to Policy
        By label.
    target : Target
        What to measure.
    options : RunOptions
        How to run; instants are those of the trace at the rate it was given at.
    """

    requests: Callable[[int], Trace]
    kinds: tuple[Replica, ...]
    policies: Mapping[str, Policy]
    target: Target
    options: RunOptions

    def __call__(self, point: Point, seed: int) -> Sample:
        """Return what a simulation of `point` on `seed` measured."""
        trace, options = self.requests(seed), self.options
        if point.costs == "endless KV":
            options = replace(options, kv_tokens=None, gpu_memory_utilization=None)
        if point.policy == FREE_ADMISSION:
            options = replace(options, max_num_seqs=None)
        first = self.kinds[point.fleet[0][0]].profile
        if not point.rate:
            trace = _alone(trace, Unloaded(first, options))
            # What fails alone, others can take over; what is capped, a larger cluster need not be.
            options = replace(
                options, warmup_s=0.0, until_s=None, failures=None, startup_s=0.0, tenants=None
            )
        elif point.rate != 1:
            trace = scale_rate(trace, point.rate)
            options = replace(
                options,
                warmup_s=options.warmup_s / point.rate,
                until_s=None if options.until_s is None else options.until_s / point.rate,
            )
        fleet = [
            replace(self.kinds[kind], profile=_with(self.kinds[kind].profile, point.costs), count=n)
            for kind, n in point.fleet
        ]
        hardware: dict[str, Any] = (
            {"profile": fleet[0].profile, "replicas": fleet[0].count}
            if len(fleet) == 1
            else {"profile": fleet}
        )
        result = simulate(
            trace, policy=self.policies[point.policy], seed=seed, **hardware, **vars(options)
        )
        return measure(result, self.target, Unloaded(first, self.options))


def _alone(trace: Trace, engine: Unloaded) -> Trace:
    """Return the requests, or an even choice of many, each after the one before has ended."""
    stride = -(-len(trace) // ALONE_AT_MOST)
    part = trace[::stride]
    alone_s = engine.unloaded_s(part.prompt_tokens, part.output_tokens)
    return part.replace(arrival_s=np.concatenate([[0.0], np.cumsum(1.01 * alone_s + 1e-3)[:-1]]))


def _with(profile: Profile, costs: Costs) -> Profile:
    """Return the profile with other costs or more memory."""
    if costs == "fitted":
        return profile
    if costs == "endless KV":
        return replace(profile, kv_tokens=LIFTED * profile.kv_tokens)
    if costs == "free prompts":
        cost = replace(
            profile.cost,
            prefill=_faster(profile.cost.prefill),
            attention_token2_s=profile.cost.attention_token2_s / LIFTED,
        )
    elif costs == "free tokens":
        cost = replace(
            profile.cost,
            decode_fixed=_faster(profile.cost.decode_fixed),
            decode_context=_faster(profile.cost.decode_context),
        )
    else:
        cost = _end(profile, costs)
    return replace(profile, cost=cost)


def _faster(table: PiecewiseLinear) -> PiecewiseLinear:
    return replace(table, y=tuple(y / LIFTED for y in table.y))


def _end(profile: Profile, costs: Costs) -> StepCost:
    ends = bounds(profile)
    assert ends is not None
    return ends[costs == "high"]
