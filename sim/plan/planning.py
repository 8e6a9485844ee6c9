"""The whole plan: every kind under every policy, who is best, and the cheapest mix."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from policies.catalog import make_policy
from policies.static import Static
from sim.options import DEFAULT_MAX_NUM_SEQS, OptionError, whole_number
from sim.plan.answer import Answer, Lane
from sim.plan.evaluate import FREE_ADMISSION, Runs
from sim.plan.lane import START_SIZE, follow_lane
from sim.plan.mix import Mix, Need, cheapest_mix
from sim.plan.pair import Pair, beside, to_pair
from sim.plan.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from policies.protocol import Policy
    from sim.cluster.fleet import Replica
    from sim.options import RunOptions
    from sim.plan.band import Rules
    from traces.request import Trace

STATIC = "static"
"""The text that leaves the choice of a static batch size to the search."""
SIZES = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
FREE_SEATS = 1024


@dataclass(frozen=True)
class Plan:
    """What `plan` found.

    Attributes
    ----------
    kinds : tuple of Replica
        What may be bought; their counts do not matter.
    rules : Rules
        How it was decided.
    answers : tuple of Answer
        Kind by kind, and for each policy by policy.
    pairs : tuple of Pair
        Policies beside the best static size, where that was asked for.
    mix : Mix or None
        None where there is one kind only, or a price is missing, or no kind does.
    runs : Runs
        Everything that was simulated.
    """

    kinds: tuple[Replica, ...]
    rules: Rules
    answers: tuple[Answer, ...]
    pairs: tuple[Pair, ...]
    mix: Mix | None
    runs: Runs

    @property
    def best(self) -> Answer | None:
        """The cheapest answer, by replicas where no price is known; None where none does.

        Of equals the one with the highest rate.
        """
        able = [answer for answer in self.answers if answer.replicas is not None]
        return min(able, key=self._rank, default=None)

    def price_per_h(self, answer: Answer) -> float | None:
        """Return what the least number of replicas costs an hour."""
        price = self.kinds[answer.lane.kind].price_per_h
        return None if price is None or answer.replicas is None else price * answer.replicas

    def _rank(self, answer: Answer) -> tuple[float, float]:
        assert answer.replicas is not None
        priced = all(kind.price_per_h is not None for kind in self.kinds)
        price = self.price_per_h(answer) if priced else None
        rate = answer.rate.meets if answer.rate is not None else None
        return (answer.replicas if price is None else price), -(rate or 0.0)


def plan(
    requests: Callable[[int], Trace],
    kinds: Sequence[Replica],
    policies: Sequence[str | Policy],
    rules: Rules,
    *,
    options: RunOptions,
    cap: int = 64,
    replicas: int | None = None,
    jobs: int = 1,
    on_done: Callable[[int], None] | None = None,
) -> Plan:
    """Find how many replicas of which kind meet a target, and how much more they could take.

    Parameters
    ----------
    requests : callable
        The trace of a seed; picklable where `jobs` is not 1.  See `sim.plan.runner.Requests`.
    kinds : sequence of Replica
        What may be bought, with its price; counts do not matter.
    policies : sequence of str or Policy
        As `policies.catalog.make_policy` takes them; ``"static"`` is the best static size.
    rules : Rules
        The target, the seeds, and how to decide.
    options : RunOptions
        How to run; its instants are those of the trace as given, and move with the rate.
    cap : int
        The most replicas to consider.
    replicas : int, optional
        The number to find the highest rate for; the least that meets the target when left out.
    jobs : int
        Worker processes, -1 for one a core; the plan is the same for any number.
    on_done : callable, optional
        Called with the number of simulations made so far.

    Returns
    -------
    Plan

    Raises
    ------
    OptionError, PolicyError, TraceError
        For what cannot be run, in one line.
    """
    cap = whole_number("max_replicas", cap, 1)
    if replicas is not None:
        replicas = whole_number("replicas", replicas, 1)
    if jobs == 0 or jobs < -1:
        raise OptionError(f"jobs={jobs}: expected at least 1, or -1 for one a core")
    sizes = {
        size: Static(size).label for size in SIZES if size <= options.max_num_batched_tokens
    } or {options.max_num_batched_tokens: Static(options.max_num_batched_tokens).label}
    known: dict[str, Policy] = {label: Static(size) for size, label in sizes.items()}
    lanes: list[Lane] = []
    chosen = [policy if policy == STATIC else make_policy(policy) for policy in policies]
    _refuse_twins(chosen)
    for kind, policy in ((k, p) for k in range(len(kinds)) for p in chosen):
        searched = policy == STATIC
        label = sizes.get(START_SIZE, next(iter(sizes.values())))
        if not isinstance(policy, str):
            label = policy.label
            known[label] = policy
        lanes.append(
            Lane(
                kind=kind,
                policy=label,
                sizes=sizes if searched else {},
                cap=cap,
                fixed=replicas,
                has_intervals=bool(kinds[kind].profile.intervals),
            )
        )
    known[FREE_ADMISSION] = Static(min(FREE_SEATS, options.max_num_batched_tokens))
    runner = Runner(requests, tuple(kinds), known, rules.target, options)
    most = options.max_num_seqs or DEFAULT_MAX_NUM_SEQS
    runs = Runs(
        runner,
        jobs,
        on_done,
        seats={label: getattr(policy, "max_num_seqs", most) for label, policy in known.items()},
        fixed=[label for label, policy in known.items() if isinstance(policy, Static)],
    )
    # Batch sizes last: where a policy holds nobody back, their runs are known from its own.
    by_lane: dict[int, Answer] = {}
    for searched in (False, True):
        group = [i for i in range(len(lanes)) if bool(lanes[i].sizes) is searched]
        by_lane |= zip(group, runs.follow(follow_lane(lanes[i], rules) for i in group), strict=True)
    answers = tuple(by_lane[i] for i in range(len(lanes)))
    found = Plan(tuple(kinds), rules, answers, (), None, runs)
    pairs = runs.follow(beside(answer, by, rules) for answer, by in to_pair(answers))
    mixes = runs.follow([cheapest_mix(*_mixing(found), rules)] if _can_mix(found) else [])
    return replace(found, pairs=tuple(pairs), mix=mixes[0] if mixes else None)


def _refuse_twins(policies: Sequence[str | Policy]) -> None:
    if not policies:
        raise OptionError("no policy to plan with: expected at least one, such as saber")
    labels = [policy if isinstance(policy, str) else policy.label for policy in policies]
    for label in labels:
        if labels.count(label) > 1:
            raise OptionError(
                f"policy {label} is given {labels.count(label)} times: expected each once"
            )


def _can_mix(found: Plan) -> bool:
    return (
        len(found.kinds) > 1
        and found.best is not None
        and all(kind.price_per_h is not None for kind in found.kinds)
    )


def _mixing(found: Plan) -> tuple[list[Need], str]:
    """Return what each kind needs under the policy of the best answer, and that policy."""
    assert found.best is not None
    policy = found.best.lane.policy if found.best.lane.sizes else found.best.policy
    needs = []
    for kind, replica in enumerate(found.kinds):
        assert replica.price_per_h is not None
        able: Mapping[str, Answer] = {
            answer.policy: answer
            for answer in found.answers
            if answer.lane.kind == kind and answer.replicas is not None
        }
        answer = able.get(policy) or min(able.values(), key=_replicas, default=None)
        needs.append(_need(answer, replica.price_per_h))
    return needs, policy


def _need(answer: Answer | None, price_per_h: float) -> Need:
    if answer is None or answer.replicas is None:
        return Need(None, float("inf"), price_per_h)
    sustains = answer.rate.meets if answer.rate is not None and answer.lane.fixed is None else None
    exact = answer.replicas / (sustains or 1.0)
    return Need(answer.replicas, max(exact, answer.replicas - 0.999), price_per_h)


def _replicas(answer: Answer) -> int:
    assert answer.replicas is not None
    return answer.replicas
