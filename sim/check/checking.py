"""A check from what was asked for to its report, and the update of a baseline."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from policies.text import nearest
from sim.check.baseline import meant_by, read_baseline, write_baseline
from sim.check.gate import Gate, changes
from sim.check.guard import BASELINE
from sim.check.measure import Bench, cells_of_suite
from sim.check.reference import opened_reference
from sim.check.report import Finding, Report
from sim.check.suite import MOST_SEEDS, read_suite
from sim.check.update import updated
from sim.options import OptionError
from sim.runfile import provenance
from sim.sweep.inputs import Inputs
from sim.sweep.pools import check_pool, opened_pool

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from sim.check.asked import Asked
    from sim.check.baseline import Meant
    from sim.check.gate import Bar
    from sim.check.suite import Scenario, Suite
    from sim.sweep.cells import Cell


class ScenariosChanged(OptionError):
    """A suite asks for what the reference did not measure.

    Attributes
    ----------
    scenarios : mapping of str to str
        What changed, by scenario.
    """

    def __init__(self, scenarios: Mapping[str, str], remedy: str) -> None:
        self.scenarios = scenarios
        count = f"{len(scenarios)} scenario{'s' if len(scenarios) > 1 else ''}"
        super().__init__(f"{count} cannot be compared, {', '.join(scenarios)}: {remedy}")


class Updated(NamedTuple):
    """What became of a baseline.

    Attributes
    ----------
    path : Path
        Its file.
    written : bool
        Whether it had to be written.
    changes : mapping
        By scenario what changed, in words; those that are gone too.
    kept : mapping
        Scenarios that could not be measured and stay as they were, and why.
    """

    path: Path
    written: bool
    changes: Mapping[str, tuple[str, ...]]
    kept: Mapping[str, str]


class _Prepared(NamedTuple):
    """A suite with its inputs read."""

    suite: Suite
    scenarios: tuple[Scenario, ...]  # that are to be run
    left_out: tuple[Scenario, ...]  # that are asked for and cannot be run
    skipped: dict[str, str]
    cells: dict[tuple[str, str], Cell]
    meant: dict[str, Meant]
    inputs: Inputs


def check(asked: Asked, bar: Bar) -> Report:
    """Return what a check finds; an interrupt ends it early.

    Raises
    ------
    ScenariosChanged
        If scenarios are not those that the baseline holds.
    OptionError
        For anything else that cannot be checked.
    """
    start_s = time.perf_counter()
    suite = _with_seeds(read_suite(asked.suite), asked.seeds, asked.max_seeds)
    ready = _prepared(suite, asked, bar)
    _refuse_idle(asked, (*ready.scenarios, *ready.left_out))
    guards = [guard for scenario in ready.scenarios for guard in scenario.guards]
    needed = any(guard.against == BASELINE for guard in guards)
    with opened_reference(asked, needed, bar) as (reference, name, remedy):
        held = reference(ready.suite.seeds) if needed else {}
        changed = changes(ready.scenarios, ready.meant, ready.suite.first_seed, held)
        if changed:
            unlike = f"{asked.against} measures something else"
            meant = f"if that is meant, run {asked.updating}"
            raise ScenariosChanged(changed, meant if asked.against is None else unlike)
        with _bench(ready, asked) as bench:
            verdicts = Gate(ready.suite, bench, reference, remedy, bar).judge(guards)
    left = [
        Finding(guard, "skipped", reason=ready.skipped[scenario.name])
        for scenario in ready.left_out
        for guard in scenario.guards
    ]
    order = {guard: place for place, guard in enumerate(ready.suite.guards)}
    findings = sorted([*verdicts.findings, *left], key=lambda finding: order[finding.guard])
    made_by = [dict(held[each.name].versions) for each in ready.scenarios if each.name in held]
    return Report(
        suite=asked.suite,
        findings=tuple(findings),
        skipped=ready.skipped,
        reference=name if needed else "",
        confidence=suite.confidence,
        versions=provenance(),
        reference_versions=tuple(v for i, v in enumerate(made_by) if v not in made_by[:i]),
        command=asked.command(),
        wall_s=time.perf_counter() - start_s,
        interrupted=verdicts.interrupted,
    )


def update(asked: Asked, bar: Bar) -> Updated:
    """Bring a baseline up to date; it is written at the very end, whole or not at all.

    Raises
    ------
    OptionError
        If a scenario cannot be run.
    """
    suite = read_suite(asked.suite)
    if not any(guard.against == BASELINE for guard in suite.guards):
        raise OptionError(
            f"{asked.suite}: no guard compares with a baseline: there is none to make"
        )
    if asked.seeds is not None and asked.seeds > MOST_SEEDS:
        raise OptionError(f"--seeds {asked.seeds}: expected at most {MOST_SEEDS:,}")
    ready = _prepared(suite, asked, bar)
    if not any(any(each.needs().values()) for each in ready.scenarios):
        why = "; ".join(f"{name}: {why}" for name, why in ready.skipped.items())
        why = why or "no guard that is asked for compares with a baseline"
        raise OptionError(f"{asked.suite}: there is nothing to measure: {why}")
    path = asked.baseline_path
    held = read_baseline(path) if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    with _bench(ready, asked) as bench:
        made = updated(
            ready.scenarios,
            ready.meant,
            bench,
            held,
            seeds=asked.seeds or suite.max_seeds,
            first_seed=suite.first_seed,
            bar=bar,
        )
    changed = dict(made.changes)
    there = {each.name for each in suite.scenarios if any(each.needs().values())}
    for name in [name for name in made.baseline if name not in there and not asked.only]:
        del made.baseline[name]
        changed[name] = ("is gone",)
    kept = {
        name: f"{why}; {'stays as it was' if name in held else 'nothing is known of it'}"
        for name, why in ready.skipped.items()
    }
    written = not path.exists() or any(changed.values())
    if written:
        write_baseline(path, made.baseline)
    return Updated(path, written, changed, kept)


def _refuse_idle(asked: Asked, chosen: Iterable[Scenario]) -> None:
    """Refuse a baseline that nothing would be compared with."""
    if any(guard.against == BASELINE for scenario in chosen for guard in scenario.guards):
        return
    for flag, value in (("--baseline", asked.baseline), ("--against", asked.against)):
        if value is not None:
            raise OptionError(
                f"{flag} {value} has no effect: no guard of {asked.suite} that is asked for "
                "compares with a baseline"
            )


def _with_seeds(suite: Suite, seeds: int | None, max_seeds: int | None) -> Suite:
    """Return the suite with the seeds of a command line, which may ask for more or fewer."""
    first = suite.seeds if seeds is None else seeds
    if max_seeds is None:
        return replace(suite, seeds=first, max_seeds=max(first, suite.max_seeds))
    if seeds is None:
        first = min(first, max_seeds)
    elif max_seeds < seeds:
        raise OptionError(
            f"--max-seeds {max_seeds} is less than --seeds {seeds}: expected at least as many"
        )
    return replace(suite, seeds=first, max_seeds=max_seeds)


def _prepared(suite: Suite, asked: Asked, bar: Bar) -> _Prepared:
    """Choose the scenarios and read their inputs."""
    check_pool(asked.backend, asked.jobs, asked.address)
    names = [scenario.name for scenario in suite.scenarios]
    for name in asked.only:
        if name not in names:
            raise OptionError(f"--only {name}: {asked.suite} has none{nearest(name, names)}")
    chosen = [each for each in suite.scenarios if not asked.only or each.name in asked.only]
    skipped = {each.name: why for each in chosen if (why := _missing(each, suite.path.parent))}
    there = tuple(each for each in chosen if each.name not in skipped)
    inputs = Inputs(suite.path.parent)
    with bar("reading the suite", None):
        cells = cells_of_suite(suite, there, inputs)
    meant = {
        each.name: meant_by(cells[each.name, each.policies[0]].setting, inputs) for each in there
    }
    left_out = tuple(each for each in chosen if each.name in skipped)
    return _Prepared(suite, there, left_out, skipped, cells, meant, inputs)


def _missing(scenario: Scenario, folder: Path) -> str:
    """Return why a scenario is to be skipped; empty where it is not."""
    if not scenario.skip_if_missing or (folder / scenario.setting["trace"]).is_file():
        return ""
    return f"its trace {scenario.setting['trace']} is not there"


@contextmanager
def _bench(ready: _Prepared, asked: Asked) -> Iterator[Bench]:
    metrics = {guard.metric for scenario in ready.scenarios for guard in scenario.guards}
    objects = ready.inputs.objects
    with opened_pool(asked.backend, asked.jobs, asked.address, objects) as pool:
        yield Bench(ready.cells, metrics, ready.suite.first_seed, pool)
