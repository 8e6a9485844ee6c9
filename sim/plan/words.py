"""A plan in words and a table that somebody who buys machines understands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.console import MISSING, number
from sim.plan.facts import (
    decided,
    margins,
    mean_of,
    name_of,
    price_per_1000,
    price_per_h,
    reason,
)

if TYPE_CHECKING:
    from sim.interval import Estimate
    from sim.plan.answer import Answer, Span
    from sim.plan.band import Verdict
    from sim.plan.breaks import Break
    from sim.plan.pair import Pair
    from sim.plan.planning import Plan
    from sim.plan.target import Condition

_CAUSES = {
    "unfinished": "never end",
    "preempted": "are preempted for lack of KV cache",
    "held back": "wait longest before the policy lets them in",
    "first token": "wait longest for their first token",
    "between tokens": "lose most time between tokens",
}
_REMEDIES = {
    "prefill": "faster prefill (shorter prompts, or a GPU with more compute)",
    "decode": "faster decoding (fewer tokens, or a GPU with more bandwidth)",
    "KV cache": "a larger KV cache",
    "admission": "a larger batch, or a policy that holds nobody back",
}


def headings(plan: Plan) -> list[str]:
    """Return the columns of the table."""
    return [
        "replicas of",
        "under",
        "at least",
        f"there {', '.join(_heading(condition) for condition in plan.rules.target.conditions)}",
        "seeds",
        "up to requests/s",
        "price/h",
        "per 1,000",
    ]


def _heading(condition: Condition) -> str:
    return f"{condition.name} [{'%' if condition.is_goodput else 's'}]"


def rows(plan: Plan, rate_rps: float) -> list[list[str]]:
    """Return a row of the table for each answer, under `headings`."""
    return [_row(plan, answer, rate_rps) for answer in plan.answers]


def _row(plan: Plan, answer: Answer, rate_rps: float) -> list[str]:
    head = [name_of(plan, answer), "best " * bool(answer.lane.sizes) + short(answer.policy)]
    measured = ", ".join(map(_measured, answer.at.estimates))
    if answer.never:
        return [*head, "no number", f"alone {measured}", *[MISSING] * 4]
    least = f"over {answer.lane.cap}" if answer.replicas is None else f"{answer.replicas}"
    rate = MISSING
    if answer.rate is not None and answer.rate.meets is not None:
        endless = "over " * (answer.rate.misses is None)
        rate = f"{endless}{number(answer.rate.meets * rate_rps)}"
        rate += _within(answer.rate_by_seeds, rate_rps) * (not endless)
    return [
        *head,
        least + _within(answer.replicas_by_seeds),
        measured,
        f"{answer.at.seeds_met}/{len(answer.at.samples)}",
        rate,
        number(price_per_h(plan, answer.at)),
        number(price_per_1000(plan, answer.at)),
    ]


def short(policy: str) -> str:
    """Return a policy's text as one would type it."""
    return policy.replace("static(max_num_seqs=", "static(")


def sentences(plan: Plan, rate_rps: float) -> list[str]:
    """Return what the table means, one thing a line."""
    said = [_verdict(plan)]
    told: dict[tuple[str, ...], str] = {}
    for answer in plan.answers:
        head, *rest = _about(plan, answer, rate_rps)
        same = told.setdefault((name_of(plan, answer), *rest), short(answer.policy))
        if rest and same != short(answer.policy):
            said.append(f"{head}: the same as under {same}.")
        else:
            said += [head, *rest]
    said += [_pair(plan, pair) for pair in plan.pairs]
    said += _mix(plan)
    ends = f"{plan.rules.level_pct:g} % intervals over {plan.rules.seeds} seeds"
    by = f"the worse end of the {ends}" if plan.rules.cautious else "the mean over seeds"
    made = f"{plan.runs.made:,} simulation{'s' if plan.runs.made > 1 else ''}"
    said.append(
        f"Decided by {by}; {made}."
        if plan.rules.seeds > 1
        else f"One seed has no interval: nothing here is decided; {made}."
    )
    return said


def _verdict(plan: Plan) -> str:
    best, target = plan.best, plan.rules.target.text
    if best is None:
        return f"Nothing here reaches {target}."
    price = plan.price_per_h(best)
    cost = "" if price is None else f", {number(price)} an hour"
    fleet = f"{best.replicas} x {name_of(plan, best)} under {short(best.policy)}"
    doubt = " (the seeds leave doubt, see below)" if decided(best) is False else ""
    return f"To keep {target}: {fleet}{cost}{doubt}."


def _about(plan: Plan, answer: Answer, rate_rps: float) -> list[str]:
    head = f"{name_of(plan, answer)}, {short(answer.policy)}"
    why = reason(plan, answer)
    if answer.never or answer.rate is None:
        return [f"{head}: {why}."]
    said = [] if why is None else [f"Not reached: {why}."]
    if decided(answer) is False:
        fewer = answer.count if answer.at.straddles else answer.count - 1
        said.append(f"{fewer} or {fewer + 1} replicas: not decided by {plan.rules.seeds} seeds.")
    said.append(_left(answer))
    for what, verdict in (("one fewer", answer.fewer), ("one more", answer.more)):
        if verdict is not None:
            said.append(_neighbour(plan, what, verdict))
    if answer.more is not None and answer.at.meets and not answer.more.meets:
        said.append("More replicas do worse here: the routing matters more than their number.")
    if answer.breaks is not None:
        said.append(_break(answer.breaks, rate_rps))
    said.append(_by_profile(answer, rate_rps))
    return [head, *(f"  - {line}" for line in said)]


def _left(answer: Answer) -> str:
    parts = []
    for condition in answer.at.rules.target.conditions:
        left = margins(answer.at)[condition.name]
        size = _amount(condition, abs(left))
        parts.append(f"{condition.name} is {size} {'inside' if left >= 0 else 'outside'} its limit")
    return f"With {answer.count}, {' and '.join(parts)}{_room(answer)}."


def _room(answer: Answer) -> str:
    """Return what the highest rate says about the rate given."""
    rate = answer.rate
    if rate is None or rate.meets is None:
        return ""
    if rate.misses is None:
        return (
            f", and the target is met at every rate looked at, up to {rate.meets:,.0f} times the "
            "one given: too few requests to say what it bears"
        )
    if rate.meets >= 1:
        return f", with room for {100 * (rate.meets - 1):.0f} % more requests"
    if answer.at.meets:
        return f", but a rate {100 * (1 - rate.misses):.0f} % lower misses: more seeds would tell"
    return f"; it takes {100 * (1 - rate.meets):.0f} % fewer requests to meet the target"


def _amount(condition: Condition, value: float) -> str:
    return f"{value:.1f} points" if condition.is_goodput else condition.show(value)


def _neighbour(plan: Plan, what: str, verdict: Verdict) -> str:
    condition = plan.rules.target.conditions[verdict.binding]
    value = condition.show(verdict.estimates[verdict.binding].mean)
    price = price_per_h(plan, verdict)
    cost = "" if price is None else f" for {number(price)} an hour"
    return f"With {what}, {condition.name} {value}{cost}: {'met' if verdict.meets else 'not met'}."


def _break(found: Break, rate_rps: float) -> str:
    condition = next(c for c in found.at.rules.target.conditions if c.name == found.condition)
    value = condition.show(found.at.estimates[found.at.binding].mean)
    broken = "breaks first" if not found.at.meets else "is pressed hardest and holds"
    said = (
        f"At {number(found.rise * rate_rps)} requests/s ({100 * (found.rise - 1):+.0f} %) "
        f"{found.condition} {broken}: {value}"
    )
    if found.task is not None and found.task_value is not None:
        said += f", worst for {found.task} ({condition.show(found.task_value)})"
    if found.late:
        cause = max(found.late, key=lambda name: found.late[name])
        said += f"; {100 * found.late[cause]:.0f} % of the late requests {_CAUSES[cause]}"
    if found.cause is not None:
        mended = condition.show(found.values[found.cause])
        said += f"; what would mend it most is {_REMEDIES[found.cause]}: {mended} at best"
    return f"{said}."


def _by_profile(answer: Answer, rate_rps: float) -> str:
    replicas, rate = answer.replicas_by_costs, answer.rate_by_costs
    if replicas is None or rate is None:
        return "How well the step costs are known: no interval for the profile."
    return (
        f"If every step cost lay at one end of its interval: {_ends(replicas)} replicas, up to "
        f"{_ends(rate, rate_rps)} requests/s."
    )


def _pair(plan: Plan, pair: Pair) -> str:
    condition = next(c for c in plan.rules.target.conditions if c.name == pair.condition)
    scale, unit = (1.0, "points") if condition.is_goodput else (1e3, "ms")
    mean, low, high = pair.difference.mean, pair.difference.low, pair.difference.high
    within = ""
    if low is not None and high is not None:
        within = f" ({plan.rules.level_pct:g} % interval {scale * low:+.1f} to {scale * high:+.1f})"
    where = f"{pair.replicas} x {plan.kinds[pair.kind].profile.name}"
    if mean == 0 and low == high:
        return (
            f"{where}: no difference between {short(pair.policy)} and the best static size, "
            f"{short(pair.baseline)}, on any seed."
        )
    return (
        f"{where}: {pair.condition} of {short(pair.policy)} less that of the best static size, "
        f"{short(pair.baseline)}: {scale * mean:+.1f} {unit}{within}, paired by seed; the size was "
        "picked on these same requests, which flatters it."
    )


def _mix(plan: Plan) -> list[str]:
    mix = plan.mix
    if mix is None:
        return []
    if not mix.candidates:
        return [
            "No mix of kinds can be cheaper: the parts of all that cost less add up to too little."
        ]
    seen = f"of {mix.candidates} cheaper ones that might do, {mix.tried} were simulated"
    rest = f"{mix.left} were not looked at" if mix.left else "that rules out the others"
    if mix.at is None:
        return [f"No mix of kinds was found to be cheaper: {seen}, none does, and {rest}."]
    made = " + ".join(f"{n} x {plan.kinds[kind].profile.name}" for kind, n in mix.at.point.fleet)
    doubt = " (not decided by the seeds)" if mix.at.straddles else ""
    used = mean_of(sample.utilisation for sample in mix.at.samples)
    return [
        f"Cheapest mix: {made} for {number(price_per_h(plan, mix.at))} an hour under "
        f"{short(mix.policy)}{doubt}; met on {mix.at.seeds_met} of {len(mix.at.samples)} seeds, "
        f"{number(None if used is None else 100 * used)} % busy; {seen}, and {rest}."
    ]


def _measured(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return number(estimate.mean)
    return f"{number(estimate.mean)} ({number(estimate.low)} to {number(estimate.high)})"


def _within(span: Span | None, scale: float = 1.0) -> str:
    if span is None or (span.low is not None and span.low == span.high):
        return ""
    return f" ({_ends(span, scale)})"


def _ends(span: Span, scale: float = 1.0) -> str:
    low, high = (
        "?" if end is None else f"{end}" if isinstance(end, int) else number(scale * end)
        for end in (span.low, span.high)
    )
    return low if low == high else f"{low} to {high}"
