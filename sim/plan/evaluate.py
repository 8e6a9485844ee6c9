"""What a plan asks for: configurations, each simulated once, side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence

    from sim.plan.measure import Sample

T = TypeVar("T")

Costs = Literal["fitted", "low", "high", "free prompts", "free tokens", "endless KV"]
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
