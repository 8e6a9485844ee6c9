"""The gate: looks at more and more seeds until every guard is decided."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from sim.check.baseline import differences
from sim.check.guard import BASELINE
from sim.check.judging import compared, judged
from sim.check.looks import looks
from sim.check.report import Finding
from sim.options import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from sim.check.baseline import Baseline, Meant
    from sim.check.guard import Guard
    from sim.check.measure import Bench, Value
    from sim.check.suite import Scenario, Suite
    from sim.check.verdict import Look

    Reference = Callable[[int], Baseline]
    """Returns a baseline with at least so many seeds, or with as many as there are."""

    Bar = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]
    """Shows, under a label, how much of a total is done, where that is known."""


class Verdicts(NamedTuple):
    """What a gate found.

    Attributes
    ----------
    findings : tuple of Finding
        In the order of the guards.
    interrupted : bool
        Whether it was stopped; what is not decided is "incomplete" then.
    """

    findings: tuple[Finding, ...]
    interrupted: bool


def changes(
    scenarios: Iterable[Scenario],
    meant: Mapping[str, Meant],
    first_seed: int,
    baseline: Baseline,
) -> dict[str, str]:
    """Return by scenario in what it is not what the baseline holds; such are never compared."""
    found: dict[str, str] = {}
    for scenario in scenarios:
        needs = scenario.needs()
        if not any(needs.values()):
            continue
        held = baseline.get(scenario.name)
        if held is None:
            found[scenario.name] = "it is new"
            continue
        told = differences(held.meant, meant[scenario.name])
        if held.first_seed != first_seed:
            told.append(f"first_seed {held.first_seed} -> {first_seed}")
        for policy, metrics in needs.items():
            lacking = [m for m in metrics if m not in held.values.get(policy, {})]
            if lacking:
                told.append(f"{', '.join(lacking)} of {policy} is new")
        if told:
            found[scenario.name] = "; ".join(told)
    return found


@dataclass
class Gate:
    """Judges guards on the runs of a bench.

    Attributes
    ----------
    suite : Suite
        Whose looks and confidence count.
    bench : Bench
        Makes the runs.
    reference : callable
        Where the baseline's values are from.
    remedy : str
        What is to be done where it has too few seeds, with ``{seeds}`` for how many.
    bar : callable
        Shows how far it is.
    """

    suite: Suite
    bench: Bench
    reference: Reference
    remedy: str
    bar: Bar
    _baseline: Baseline = field(default_factory=dict)

    def judge(self, guards: Sequence[Guard]) -> Verdicts:
        """Return what is found of guards; a verdict that has fallen at a look stays.

        Raises
        ------
        OptionError
            If a metric has no value anywhere, or the workers are lost for good.
        """
        found: dict[Guard, Finding] = {}
        open_guards = list(guards)
        try:
            for look in looks(self.suite.seeds, self.suite.max_seeds, self.suite.tail):
                self._measure(open_guards, look.seeds)
                for guard in open_guards:
                    found[guard] = self._look(guard, look, found.get(guard))
                open_guards = [g for g in open_guards if self._is_open(found[g], look)]
                if not open_guards:
                    break
        except KeyboardInterrupt:
            for guard in open_guards:
                found[guard] = self._so_far(guard)
            return Verdicts(tuple(found[guard] for guard in guards), interrupted=True)
        return Verdicts(tuple(found[guard] for guard in guards), interrupted=False)

    def _is_open(self, finding: Finding, look: Look) -> bool:
        return finding.state == "inconclusive" and finding.seeds == look.seeds

    def _measure(self, guards: Sequence[Guard], seeds: int) -> None:
        """Make the runs that are missing, and have as many seeds of the baseline."""
        if any(guard.against == BASELINE for guard in guards):
            self._baseline = self.reference(seeds)
        wanted = dict.fromkeys(
            (guard.scenario, policy) for guard in guards for policy in _policies(guard)
        )
        runs = self.bench.missing(wanted, seeds)
        with self.bar(f"{seeds} seeds", len(runs)) as on_done:
            self.bench.measure(runs, on_done)

    def _look(self, guard: Guard, look: Look, before: Finding | None) -> Finding:
        error = self._error(guard, look.seeds)
        if error:
            return Finding(guard, "fail", reason=error, broken=True)
        reference = self._reference_values(guard, look.seeds)
        if len(reference) < look.seeds:
            # Only a baseline may have too few.
            why = (
                f"the baseline holds {len(reference)} seeds, {look.seeds} are needed: "
                f"{self.remedy.format(seeds=look.seeds)}"
            )
            return replace(before or Finding(guard, "inconclusive"), reason=why)
        candidate = self.bench.values(guard.scenario, guard.policy, guard.metric, look.seeds)
        if not _any(candidate) and not _any(reference) and _any(self._all_held(guard)):
            return Finding(guard, "inconclusive", look.seeds, reason="there is no value yet")
        return judged(guard, look, candidate, reference, self.suite.first_seed)

    def _error(self, guard: Guard, seeds: int) -> str:
        """Return why there are no numbers; empty where no run failed."""
        for policy in _policies(guard):
            failed = self.bench.error(guard.scenario, policy, seeds)
            if failed is None:
                continue
            seed, why = failed
            told = f"the run of {policy} with seed {seed} failed: {why}"
            held = self._baseline.get(guard.scenario)
            if why.partition(":")[0] in _MISTAKES and (held is None or policy not in held.values):
                raise OptionError(f"scenario {guard.scenario!r}: {told}")
            return told
        return ""

    def _reference_values(self, guard: Guard, seeds: int) -> Sequence[Value]:
        if guard.number is not None:
            return [guard.number] * seeds
        if guard.against != BASELINE:
            return self.bench.values(guard.scenario, guard.against, guard.metric, seeds)
        return self._all_held(guard)[:seeds]

    def _all_held(self, guard: Guard) -> Sequence[Value]:
        """Return all that the baseline has of a guard, whatever it is compared with."""
        held = self._baseline.get(guard.scenario)
        return [] if held is None else held.values.get(guard.policy, {}).get(guard.metric, [])

    def _so_far(self, guard: Guard) -> Finding:
        """Return the means of what is there of a guard that was not decided."""
        most = self.suite.max_seeds
        candidate = self.bench.values(guard.scenario, guard.policy, guard.metric, most)
        try:
            found, _, _ = compared(
                guard, candidate, self._reference_values(guard, most), self.suite.first_seed
            )
        except OptionError:
            return Finding(guard, "incomplete")
        return replace(found, state="incomplete", reason="")


def _any(values: Sequence[Value]) -> bool:
    """Whether there is a value on any seed."""
    return any(value is not None for value in values)


def _policies(guard: Guard) -> tuple[str, ...]:
    """Return the policies that have to run for a guard."""
    if guard.number is not None or guard.against == BASELINE:
        return (guard.policy,)
    return guard.policy, guard.against


_MISTAKES = ("OptionError", "ProfileError", "TraceError")
"""Errors by which a run says that it was asked for what cannot be; a policy may fail by itself."""
