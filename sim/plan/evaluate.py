"""One configuration, simulated once: the cache, the worker processes, and the count of runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from calibrate.bounds import bounds
from sim.feasible import Unloaded
from sim.plan.measure import measure
from sim.simulation import simulate
from traces.bootstrap import BLOCK_S, block_bootstrap
from traces.seeds import stream
from traces.transform import scale_rate

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence

    from calibrate.profile import Profile
    from calibrate.steptime import PiecewiseLinear, StepCost
    from policies.protocol import Policy
    from sim.fleet import Replica
    from sim.options import RunOptions
    from sim.plan.measure import Sample
    from sim.plan.target import Target
    from sim.sources import Source
    from traces.request import Trace

T = TypeVar("T")

Costs = Literal["fitted", "low", "high", "free prompts", "free tokens", "endless KV"]
BLOCKS_AT_LEAST = 10
LIFTED = 1000
"""How many times as fast, or as large, what is free or endless is taken to be."""
ALONE_AT_MOST = 20_000
FREE_ADMISSION = "free admission"
"""Stands for a policy that holds nobody back, with seats for all."""


@dataclass(frozen=True)
class Point:
    """A configuration: the key of the cache.

    Attributes
    ----------
    fleet : tuple of (int, int)
        Kinds, by their place in the plan, and how many of each.
    policy : str
        Label of the policy, or `FREE_ADMISSION`.
    rate : float
        How many times as fast as given the requests come; 0 is each alone on an idle replica.
    costs : str
        The profile's numbers as fitted, at the low or high ends of their intervals, or with one
        limit lifted.
    """

    fleet: tuple[tuple[int, int], ...]
    policy: str
    rate: float = 1.0
    costs: Costs = "fitted"


@dataclass(frozen=True)
class Ask:
    """A configuration somebody wants to know on some seeds."""

    point: Point
    seeds: tuple[int, ...]


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
            options = replace(options, warmup_s=0.0, until_s=None)
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


class Runs:
    """All simulations of one plan: each is made once.

    Parameters
    ----------
    run : callable
        (point, seed) -> Sample.
    jobs : int
        Worker processes, -1 for one a core; what is found does not depend on it.
    on_done : callable, optional
        Called with the number of simulations so far.
    seats : mapping of str to int, optional
        Batch sizes of policies by label.
    fixed : collection of str, optional
        Those of them that are fixed batch sizes: their runs are the same as any other in which
        every request was let in as it came and no batch was full, and are not made again.

    Attributes
    ----------
    known : dict of (Point, int) to Sample
        Everything known so far.
    made : int
        How many simulations that took.
    """

    def __init__(
        self,
        run: Callable[[Point, int], Sample],
        jobs: int = 1,
        on_done: Callable[[int], None] | None = None,
        seats: Mapping[str, int] | None = None,
        fixed: Collection[str] = (),
    ) -> None:
        self.known: dict[tuple[Point, int], Sample] = {}
        self.made = 0
        self._run, self._jobs, self._on_done = run, jobs, on_done
        self._seats = seats or {}
        self._fixed = {label: self._seats[label] for label in fixed}

    def follow(self, lanes: Iterable[Generator[Ask, tuple[Sample, ...], T]]) -> list[T]:
        """Return what each lane returns, having run what they asked for side by side."""
        answers: dict[int, T] = {}
        going: dict[int, tuple[Generator[Ask, tuple[Sample, ...], T], Ask]] = {}

        def advance(
            place: int, lane: Generator[Ask, tuple[Sample, ...], T], ask: Ask | None
        ) -> None:
            """Let a lane go on for as long as all it asks for is known."""
            try:
                while True:
                    known = None if ask is None else self._known(ask)
                    if ask is not None and known is None:
                        going[place] = lane, ask
                        return
                    # A generator is started by sending it None.
                    ask = lane.send(known)  # type: ignore[arg-type]
            except StopIteration as end:
                answers[place] = end.value

        for place, lane in enumerate(lanes):
            advance(place, lane, None)
        while going:
            wanted = {
                (ask.point, seed): None
                for _, ask in going.values()
                for seed in ask.seeds
                if (ask.point, seed) not in self.known
            }
            self._simulate(list(wanted))
            stopped, going = going, {}
            for place, (lane, ask) in stopped.items():
                advance(place, lane, ask)
        return [answers[place] for place in sorted(answers)]

    def _known(self, ask: Ask) -> tuple[Sample, ...] | None:
        """Return the samples of every seed asked for, None while one is missing."""
        found = [self._sample(ask.point, seed) for seed in ask.seeds]
        return tuple(s for s in found if s is not None) if all(found) else None

    def _sample(self, point: Point, seed: int) -> Sample | None:
        """Return what is known of a run, also from another that must have been the same."""
        size = self._fixed.get(point.policy)
        others = {} if size is None or (point, seed) in self.known else self._seats
        for other, seats in others.items():
            same = self.known.get((replace(point, policy=other), seed))
            if same is not None and same.passed and same.peak_batch < min(size or 0, seats):
                self.known[point, seed] = same
                break
        return self.known.get((point, seed))

    def _simulate(self, wanted: Sequence[tuple[Point, int]]) -> None:
        for key, sample in zip(wanted, self._samples(wanted), strict=True):
            self.known[key] = sample
            self.made += 1
            if self._on_done is not None:
                self._on_done(self.made)

    def _samples(self, wanted: Sequence[tuple[Point, int]]) -> Iterable[Sample]:
        if self._jobs == 1 or len(wanted) == 1:
            return (self._run(point, seed) for point, seed in wanted)
        from joblib import Parallel, delayed

        found: Iterable[Sample] = Parallel(n_jobs=self._jobs, return_as="generator")(
            delayed(self._run)(point, seed) for point, seed in wanted
        )
        return found
