"""A baseline brought up to date: measured anew, and what did not change stays as it is written."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sim.check.baseline import Recorded, differences, kept
from sim.check.judging import ROUNDING
from sim.options import OptionError
from sim.runfile import provenance

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sim.check.baseline import Baseline, Meant
    from sim.check.gate import Bar
    from sim.check.measure import Bench, Value
    from sim.check.suite import Scenario


@dataclass(frozen=True)
class Update:
    """What a baseline comes to.

    Attributes
    ----------
    baseline : dict
        All of it.
    changes : mapping of str to tuple of str
        By scenario what is new, in words; nothing where it is as it was.
    """

    baseline: Baseline
    changes: Mapping[str, tuple[str, ...]]


def updated(
    scenarios: Iterable[Scenario],
    meant: Mapping[str, Meant],
    bench: Bench,
    held: Baseline,
    *,
    seeds: int,
    first_seed: int,
    bar: Bar,
) -> Update:
    """Return a baseline with these scenarios measured anew.

    All seeds are, those that are held too: a baseline that is part of one version and part of
    another would compare nothing.

    Parameters
    ----------
    scenarios : iterable of Scenario
        Those that can be measured; others stay as they are held.
    meant : mapping
        What each of them means.
    bench : Bench
    held : dict
        What there is; changed by nothing.
    seeds : int
        How many are wanted; what is held of a scenario that did not change is never shortened.
    first_seed : int
    bar : callable
        Shows how far it is.

    Raises
    ------
    OptionError
        If a run fails, or a metric has no value on any seed.
    """
    wanted = {each.name: each for each in scenarios if any(each.needs().values())}
    counts = {name: max(seeds, _length(name, meant[name], held, first_seed)) for name in wanted}
    runs = [
        run
        for name, scenario in wanted.items()
        for run in bench.missing(
            [(name, policy) for policy, metrics in scenario.needs().items() if metrics],
            counts[name],
        )
    ]
    with bar("measuring the baseline", len(runs)) as on_done:
        bench.measure(runs, on_done)
    baseline, changes = dict(held), {}
    for name, scenario in wanted.items():
        now = _measured(scenario, meant[name], bench, counts[name], first_seed)
        was = held.get(name)
        baseline[name], changes[name] = (now, ("new",)) if was is None else _merged(was, now)
    return Update(baseline, changes)


def _length(name: str, meant: Meant, held: Baseline, first_seed: int) -> int:
    was = held.get(name)
    same = was is not None and was.first_seed == first_seed and was.meant.digest == meant.digest
    return was.seeds if was is not None and same else 0


def _measured(
    scenario: Scenario, meant: Meant, bench: Bench, seeds: int, first_seed: int
) -> Recorded:
    values: dict[str, dict[str, list[Value]]] = {}
    for policy, metrics in scenario.needs().items():
        failed = bench.error(scenario.name, policy, seeds)
        if failed is not None:
            raise OptionError(
                f"scenario {scenario.name!r}: the run of {policy} with seed {failed[0]} failed: "
                f"{failed[1]}"
            )
        for metric in metrics:
            found = [kept(v) for v in bench.values(scenario.name, policy, metric, seeds)]
            if all(value is None for value in found):
                raise OptionError(
                    f"scenario {scenario.name!r}: {metric} of {policy} has no value on any seed: "
                    "guard another metric, or give the scenario what it is made from"
                )
            values.setdefault(policy, {})[metric] = found
    return Recorded(meant, first_seed, values, provenance())


def _merged(was: Recorded, now: Recorded) -> tuple[Recorded, tuple[str, ...]]:
    """Return what is to be kept, with the numbers that did not change as they were written."""
    told = differences(was.meant, now.meant)
    if was.first_seed != now.first_seed:
        told.append(f"first_seed {was.first_seed} -> {now.first_seed}")
    if told:
        return now, tuple(told)
    values: dict[str, dict[str, Sequence[Value]]] = {}
    for policy, by_metric in now.values.items():
        for metric, after in by_metric.items():
            before = was.values.get(policy, {}).get(metric)
            merged = after if before is None else _same_or_new(before, after)
            values.setdefault(policy, {})[metric] = merged
            told += _told(f"{metric} of {policy}", before, merged)
    told += [
        f"{metric} of {policy} is guarded no more"
        for policy, by_metric in was.values.items()
        for metric in by_metric
        if metric not in values.get(policy, {})
    ]
    return (replace(now, values=values), tuple(told)) if told else (was, ())


def _same_or_new(before: Sequence[Value], after: Sequence[Value]) -> list[Value]:
    return [
        old if _same(old, new) else new for old, new in zip(before, after, strict=False)
    ] + list(after[len(before) :])


def _same(old: Value, new: Value) -> bool:
    if old is None or new is None:
        return old is new
    return math.isclose(old, new, rel_tol=ROUNDING)


def _told(name: str, before: Sequence[Value] | None, after: Sequence[Value]) -> list[str]:
    """Return in words how values changed."""
    if before is None:
        return [f"{name} is new"]
    common = min(len(before), len(after))
    found = []
    changed = sum(old != new for old, new in zip(before, after, strict=False))
    if changed:
        was, now = _mean(before[:common]), _mean(after[:common])
        found.append(f"{name}: mean {was} -> {now}, changed on {changed} of {common} seeds")
    if len(after) > len(before):
        found.append(f"{name}: {len(before)} -> {len(after)} seeds")
    return found


def _mean(values: Sequence[Value]) -> str:
    there = [value for value in values if value is not None]
    return f"{math.fsum(there) / len(there):.6g}" if there else "none"
