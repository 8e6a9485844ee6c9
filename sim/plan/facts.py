"""What follows from the answers of a plan: reasons, prices, margins, curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sim.plan.band import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sim.plan.answer import Answer
    from sim.plan.measure import Sample
    from sim.plan.planning import Plan


def name_of(plan: Plan, answer: Answer) -> str:
    """Return the name of the answer's profile."""
    return plan.kinds[answer.lane.kind].profile.name


def reason(plan: Plan, answer: Answer) -> str | None:
    """Return why an answer has no number of replicas; None where it has one."""
    if answer.replicas is not None:
        return None
    condition = plan.rules.target.conditions[answer.at.binding]
    value = condition.show(answer.at.estimates[answer.at.binding].mean)
    if answer.never:
        return (
            f"even alone on an idle replica {condition.name} is {value}: no number of replicas "
            f"reaches {condition.text}"
        )
    return (
        f"with {answer.count} replicas {condition.name} is {value}: no number up to "
        f"{answer.lane.cap} reaches {condition.text}"
    )


def decided(answer: Answer) -> bool | None:
    """Whether the seeds leave no doubt about the least number; None where it was not asked."""
    if answer.replicas is None or answer.count != answer.replicas:
        return None
    return not answer.at.straddles and not (answer.fewer is not None and answer.fewer.straddles)


def price_per_h(plan: Plan, verdict: Verdict) -> float | None:
    """Return what a fleet costs an hour; None where a price is missing."""
    prices = [plan.kinds[kind].price_per_h for kind, _ in verdict.point.fleet]
    known = [price for price in prices if price is not None]
    if len(known) < len(prices):
        return None
    return sum(p * n for p, (_, n) in zip(known, verdict.point.fleet, strict=True))


def price_per_1000(plan: Plan, verdict: Verdict) -> float | None:
    """Return what 1,000 requests that met their objective cost; None where that is unknown."""
    price = price_per_h(plan, verdict)
    rps = mean_of(sample.goodput_rps for sample in verdict.samples)
    return None if price is None or not rps else 1000 * price / (3600 * rps)


def margins(verdict: Verdict) -> dict[str, float]:
    """Return by condition what is left to its limit, in its unit."""
    return {
        condition.name: (estimate.mean - condition.limit) * (1 if condition.is_goodput else -1)
        for condition, estimate in zip(
            verdict.rules.target.conditions, verdict.estimates, strict=True
        )
    }


def mean_of(values: Iterable[float | None]) -> float | None:
    """Return the mean of the numbers there are; None where there is none."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def curves(plan: Plan, answer: Answer) -> tuple[list[Verdict], list[Verdict]]:
    """Return what was looked at over replicas at the rate given, and over rates."""
    points: dict[Any, dict[int, Sample]] = {}
    for (point, seed), sample in plan.runs.known.items():
        same = point.policy == answer.policy and point.costs == "fitted" and point.rate > 0
        if same and [kind for kind, _ in point.fleet] == [answer.lane.kind]:
            points.setdefault(point, {})[seed] = sample
    found = [
        Verdict(point, tuple(by_seed[seed] for seed in sorted(by_seed)), plan.rules)
        for point, by_seed in points.items()
    ]
    # Few seeds near the target are another mean than all of them: not of one curve.
    found = [v for v in found if len(v.samples) >= plan.rules.stages[-1] or v.is_clear]
    replicas = [v for v in found if v.point.rate == 1]
    rates = [v for v in found if v.point.fleet[0][1] == answer.count]
    return (
        sorted(replicas, key=lambda v: v.point.fleet[0][1]),
        sorted(rates, key=lambda v: v.point.rate),
    )
