"""What breaks first as the rate rises: which limit, for whom, where time goes, what mends it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sim.plan.band import Rules, Verdict, judged, looked_at
from sim.plan.evaluate import FREE_ADMISSION, Ask

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from sim.plan.evaluate import Costs
    from sim.plan.measure import Sample

RISE = 1.25
REMEDIES: Mapping[str, Costs] = {
    "prefill": "free prompts",
    "decode": "free tokens",
    "KV cache": "endless KV",
    "admission": "fitted",
}


@dataclass(frozen=True)
class Break:
    """What a higher rate does.

    Attributes
    ----------
    rise : float
        How many times the rate given.
    at : Verdict
        At that rate.
    condition : str
        The condition that is pressed hardest there.
    task : str or None
        The task for which it is pressed hardest; None where there are not several.
    task_value : float or None
        Its value there.
    late : mapping of str to float
        Of the late requests, the share that lost most of their time there; see
        `sim.plan.measure.CAUSES`.
    preemptions : float
        Mean over seeds.
    values : mapping of str to float
        The condition's value with one limit lifted: "prefill" and "decode" steps a thousand times
        as fast, a "KV cache" a thousand times as large, "admission" without a policy or a batch
        size.
    cause : str or None
        The limit whose lifting brings the condition closest to what is wanted; None where none
        helps.
    """

    rise: float
    at: Verdict
    condition: str
    task: str | None
    task_value: float | None
    late: Mapping[str, float]
    preemptions: float
    values: Mapping[str, float]
    cause: str | None


def breaks_first(
    given: Verdict, rules: Rules, rise: float = RISE
) -> Generator[Ask, tuple[Sample, ...], Break]:
    """Look at what a rate `rise` times as high does to a configuration."""
    point = replace(given.point, rate=rise * given.point.rate)
    at = yield from judged(point, rules)
    if not at.meets:
        at = yield from judged(point, rules, at_least=rules.seeds)
    binding = at.binding
    condition = rules.target.conditions[binding]
    values: dict[str, float] = {}
    for remedy, costs in REMEDIES.items():
        policy = FREE_ADMISSION if remedy == "admission" else point.policy
        remedied = replace(point, costs=costs, policy=policy)
        lifted = yield from looked_at(remedied, rules, rules.first)
        values[remedy] = lifted.estimates[binding].mean
    seen = yield from looked_at(point, rules, rules.first)
    tasks = _by_task(at.samples, binding)
    task = max(tasks, key=lambda name: condition.strain(tasks[name]), default=None)
    late = Counter[str]()
    for sample in at.samples:
        late.update(sample.late)
    helped = min(values, key=lambda remedy: condition.strain(values[remedy]))
    without = condition.strain(seen.estimates[binding].mean)
    return Break(
        rise=rise,
        at=at,
        condition=condition.name,
        task=task if len(tasks) > 1 else None,
        task_value=tasks[task] if task is not None and len(tasks) > 1 else None,
        late={cause: count / late.total() for cause, count in late.items()} if late.total() else {},
        preemptions=sum(sample.preemptions for sample in at.samples) / len(at.samples),
        values=values,
        cause=helped if condition.strain(values[helped]) < without else None,
    )


def _by_task(samples: tuple[Sample, ...], binding: int) -> dict[str, float]:
    """Return the mean over seeds of a condition's value for each task."""
    found: dict[str, list[float]] = {}
    for sample in samples:
        for task, values in sample.by_task.items():
            if values[binding] == values[binding]:  # not where a task has no objective
                found.setdefault(task, []).append(values[binding])
    return {task: sum(values) / len(values) for task, values in found.items()}
