"""Policies beside the best static batch size, on the same requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.plan.band import Rules, difference, judged
from sim.plan.evaluate import Ask, Point

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from sim.interval import Estimate
    from sim.plan.answer import Answer
    from sim.plan.measure import Sample


@dataclass(frozen=True)
class Pair:
    """A policy beside the best static size, on the same seeds, replicas and rate.

    Attributes
    ----------
    kind, replicas : int
        The kind of replica, and how many of it both have.
    policy, baseline : str
        Labels.
    condition : str
        What is compared.
    difference : Estimate
        The policy's value less the baseline's, paired by seed.
    """

    kind: int
    replicas: int
    policy: str
    baseline: str
    condition: str
    difference: Estimate


def to_pair(answers: Sequence[Answer]) -> list[tuple[Answer, Answer]]:
    """Return each answer beside that of the best static size on the same kind."""
    return [
        (answer, by)
        for answer in answers
        for by in answers
        if by.lane.sizes
        and not answer.lane.sizes
        and by.lane.kind == answer.lane.kind
        and not by.never
        and not answer.never
    ]


def beside(answer: Answer, by: Answer, rules: Rules) -> Generator[Ask, tuple[Sample, ...], Pair]:
    """Compare two policies at the smaller of their numbers of replicas."""
    count = min(answer.count, by.count)
    verdicts = []
    for policy in (answer.policy, by.policy):
        point = Point(((answer.lane.kind, count),), policy)
        verdicts.append((yield from judged(point, rules, at_least=rules.seeds)))
    ours, theirs = verdicts
    binding = theirs.binding
    return Pair(
        kind=answer.lane.kind,
        replicas=count,
        policy=answer.policy,
        baseline=by.policy,
        condition=rules.target.conditions[binding].name,
        difference=difference(
            [
                a.values[binding] - b.values[binding]
                for a, b in zip(ours.samples, theirs.samples, strict=True)
            ],
            rules.level_pct,
        ),
    )
