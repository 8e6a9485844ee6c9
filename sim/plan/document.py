"""A plan as one JSON document, whose keys stay as they are.

Keys of the document
--------------------
target
    `text`; `conditions`, each with `name`, `limit` (percent or seconds) and `text`.
rate_rps
    Mean requests a second as given; every other rate is a multiple of it, made by stretching time.
seeds, level_pct, cautious, max_replicas, simulations
    How it was decided and what it took.
best
    `profile`, `policy`, `replicas`, `price_per_h` of the cheapest answer (by replicas where no
    price is known); null where none meets the target.
answers
    One for each profile and policy: `profile`, `policy`, `size_was_searched`, `reachable`,
    `reason` (null, or why it is not), `alone` (a look: each request alone on an idle replica);
    `replicas`: `least`, `decided` (false where the interval there, or with one less, holds the
    target), `by_seeds` and `by_profile` (`low`, `high`; null where unknown), `price_per_h`;
    `given`, `one_fewer`, `one_more`: looks at the rate given;
    `rate`: `replicas`, `rps` (null where no rate meets), `misses_rps`, `by_seeds`, `by_profile`,
    `headroom_pct` (over the rate given);
    `breaks`: `rise`, `look`, `condition`, `task`, `task_value`, `late` (shares by cause),
    `preemptions`, `lifted` (the condition's value without one limit), `cause`;
    `curves`: `over_replicas` and `over_rate`, lists of looks, those near the target on all seeds.
    A look has `replicas` (a count for each profile), `rate_rps`, `meets`, `straddles` (the interval
    holds the target), `seeds`, `seeds_met`, `conditions` (by name: `mean`, `low`, `high`, `margin`
    in the condition's unit, above 0 where it is kept), `goodput_pct`, `goodput_rps`, `utilisation`
    (means), `price_per_h`, `price_per_1000_met`.
pairs
    `profile`, `replicas`, `policy`, `baseline`, `condition`, `difference` (`mean`, `low`, `high`).
mix
    `policy`; `candidates`, mixes that cost less and might do, `tried`, those simulated, `left`,
    those not ruled out; `look` (null where no mix is cheaper).  Null where there is nothing to mix.

The last key, `warnings`, lists what a reader has to know before quoting a number.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sim.plan.facts import (
    curves,
    decided,
    margins,
    mean_of,
    name_of,
    price_per_1000,
    price_per_h,
    reason,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.plan.answer import Answer, Span
    from sim.plan.band import Verdict
    from sim.plan.planning import Plan


def document(plan: Plan, rate_rps: float, warnings: Sequence[str] = ()) -> dict[str, Any]:
    """Return the plan in JSON's types.

    `rate_rps` is the mean rate of the requests as given.
    """
    rules, best = plan.rules, plan.best
    return {
        "target": {
            "text": rules.target.text,
            "conditions": [
                {"name": c.name, "limit": c.limit, "text": c.text} for c in rules.target.conditions
            ],
        },
        "rate_rps": rate_rps,
        "seeds": rules.seeds,
        "level_pct": rules.level_pct,
        "cautious": rules.cautious,
        "max_replicas": plan.answers[0].lane.cap,
        "simulations": plan.runs.made,
        "best": None
        if best is None
        else {
            "profile": name_of(plan, best),
            "policy": best.policy,
            "replicas": best.replicas,
            "price_per_h": plan.price_per_h(best),
        },
        "answers": [_answer(plan, answer, rate_rps) for answer in plan.answers],
        "pairs": [
            {**asdict(pair), "profile": plan.kinds[pair.kind].profile.name} for pair in plan.pairs
        ],
        "mix": None
        if plan.mix is None
        else {
            "policy": plan.mix.policy,
            "candidates": plan.mix.candidates,
            "tried": plan.mix.tried,
            "left": plan.mix.left,
            "look": _look(plan, plan.mix.at, rate_rps),
        },
        "warnings": list(warnings),
    }


def _answer(plan: Plan, answer: Answer, rate_rps: float) -> dict[str, Any]:
    replicas, rates = curves(plan, answer)
    crossing = answer.rate

    def look(verdict: Verdict | None) -> dict[str, Any] | None:
        return _look(plan, verdict, rate_rps)

    return {
        "profile": name_of(plan, answer),
        "policy": answer.policy,
        "size_was_searched": bool(answer.lane.sizes),
        "reachable": answer.replicas is not None,
        "reason": reason(plan, answer),
        "alone": look(answer.alone),
        "replicas": {
            "least": answer.replicas,
            "decided": decided(answer),
            "by_seeds": _span(answer.replicas_by_seeds),
            "by_profile": _span(answer.replicas_by_costs),
            "price_per_h": plan.price_per_h(answer),
        },
        "given": None if answer.never else look(answer.at),
        "one_fewer": look(answer.fewer),
        "one_more": look(answer.more),
        "rate": None
        if crossing is None
        else {
            "replicas": answer.count,
            "rps": None if crossing.meets is None else crossing.meets * rate_rps,
            "misses_rps": None if crossing.misses is None else crossing.misses * rate_rps,
            "by_seeds": _span(answer.rate_by_seeds, rate_rps),
            "by_profile": _span(answer.rate_by_costs, rate_rps),
            "headroom_pct": None if crossing.meets is None else 100 * (crossing.meets - 1),
        },
        "breaks": None
        if answer.breaks is None
        else {
            "rise": answer.breaks.rise,
            "look": look(answer.breaks.at),
            "condition": answer.breaks.condition,
            "task": answer.breaks.task,
            "task_value": answer.breaks.task_value,
            "late": dict(answer.breaks.late),
            "preemptions": answer.breaks.preemptions,
            "lifted": dict(answer.breaks.values),
            "cause": answer.breaks.cause,
        },
        "curves": {
            "over_replicas": [look(verdict) for verdict in replicas],
            "over_rate": [look(verdict) for verdict in rates],
        },
    }


def _span(span: Span | None, scale: float = 1) -> dict[str, float | None] | None:
    if span is None:
        return None
    ends = {"low": span.low, "high": span.high}
    return {end: None if value is None else scale * value for end, value in ends.items()}


def _look(plan: Plan, verdict: Verdict | None, rate_rps: float) -> dict[str, Any] | None:
    if verdict is None:
        return None
    left = margins(verdict)
    names = [condition.name for condition in plan.rules.target.conditions]
    return {
        "replicas": {plan.kinds[kind].profile.name: n for kind, n in verdict.point.fleet},
        "rate_rps": verdict.point.rate * rate_rps,
        "meets": verdict.meets,
        "straddles": verdict.straddles,
        "seeds": len(verdict.samples),
        "seeds_met": verdict.seeds_met,
        "conditions": {
            name: {**asdict(estimate), "margin": left[name]}
            for name, estimate in zip(names, verdict.estimates, strict=True)
        },
        "goodput_pct": mean_of(sample.goodput_pct for sample in verdict.samples),
        "goodput_rps": mean_of(sample.goodput_rps for sample in verdict.samples),
        "utilisation": mean_of(sample.utilisation for sample in verdict.samples),
        "price_per_h": price_per_h(plan, verdict),
        "price_per_1000_met": price_per_1000(plan, verdict),
    }
