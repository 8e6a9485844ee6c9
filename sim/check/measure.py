"""The numbers of a suite's runs: each scenario under each policy with each seed, once."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from sim.options import OptionError
from sim.sweep.batches import Batches
from sim.sweep.cells import cell_of
from sim.sweep.outcomes import outcomes_of
from sim.sweep.work import flat, result_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from sim.check.suite import Scenario, Suite
    from sim.sweep.cells import Cell
    from sim.sweep.inputs import Inputs
    from sim.sweep.pools import Pool
    from sim.sweep.work import Supply

Value = float | None
"""A number of a run; None where it is not defined."""


class Run(NamedTuple):
    """One run of a scenario."""

    scenario: str
    policy: str
    seed: int


@dataclass(frozen=True)
class Numbers:
    """What a worker makes of a cell: the numbers that somebody asked for.

    Attributes
    ----------
    metrics : tuple of str
        Paths, as `sim.check.metrics` knows them.
    """

    metrics: tuple[str, ...]

    def __call__(self, cell: Cell, supply: Supply) -> dict[str, Value]:
        """Return the numbers by path."""
        from sim.breakdown import LABELS, breakdown

        result = result_of(cell, supply)
        found: dict[str, Any] = dict(flat(result.summary()))
        for label in LABELS:
            if any(metric.startswith(f"by_{label}.") for metric in self.metrics):
                found |= flat(breakdown(result, label), f"by_{label}.")
        return {metric: found.get(metric) for metric in self.metrics}


def cells_of_suite(
    suite: Suite, scenarios: Iterable[Scenario], inputs: Inputs
) -> dict[tuple[str, str], Cell]:
    """Return by scenario and policy the cell of the first seed; all inputs are read then.

    Raises
    ------
    OptionError
        For the first that cannot be run: in one line, with file and scenario.
    """
    from calibrate.schema import ProfileError
    from policies.protocol import PolicyError
    from traces.errors import TraceError

    cells: dict[tuple[str, str], Cell] = {}
    checked: dict[str, int] = {}
    for scenario in scenarios:
        for policy in scenario.policies:
            written = {**scenario.setting, "policy": policy, "seed": suite.first_seed}
            try:
                cells[scenario.name, policy] = cell_of(written, inputs, checked)
            except (OptionError, PolicyError, ProfileError, TraceError) as error:
                raise OptionError(f"{suite.path}: scenario {scenario.name!r}: {error}") from None
    return cells


class Bench:
    """Runs what it is asked for, and remembers.

    Parameters
    ----------
    cells : mapping
        By scenario and policy, as `cells_of_suite` returns them.
    metrics : collection of str
        What is wanted of each run.
    first_seed : int
        Seed of the first value.
    pool : Pool
        Who runs them.

    Attributes
    ----------
    errors : dict of Run to str
        Why runs failed, in one line each.
    """

    def __init__(
        self,
        cells: Mapping[tuple[str, str], Cell],
        metrics: Collection[str],
        first_seed: int,
        pool: Pool,
    ) -> None:
        self.errors: dict[Run, str] = {}
        self._cells = cells
        self._numbers = Numbers(tuple(sorted(metrics)))
        self._first_seed = first_seed
        self._pool = pool
        self._found: dict[Run, Mapping[str, Value]] = {}

    def missing(self, wanted: Iterable[tuple[str, str]], seeds: int) -> list[Run]:
        """Return the runs of scenarios under policies that have not been made with all seeds."""
        last = self._first_seed + seeds
        runs = (Run(*what, seed) for what in wanted for seed in range(self._first_seed, last))
        return [run for run in runs if run not in self._found and run not in self.errors]

    def measure(self, runs: Sequence[Run], on_done: Callable[[int], None]) -> None:
        """Make runs; what is made stays, whatever ends it.

        Parameters
        ----------
        runs : sequence of Run
        on_done : callable
            Told how many are made.

        Raises
        ------
        OptionError
            When the workers are lost for good.
        """
        by_key = {f"{place}": run for place, run in enumerate(runs)}
        cells = [self._cell(run, key) for key, run in by_key.items()]
        pool = self._pool
        batches = Batches(cells, pool.workers, pool.supply, os.getcwd(), self._numbers)
        done = 0
        for outcome in outcomes_of(batches, pool):
            for line in outcome.lines:
                run = by_key[line.key]
                if line.error:
                    self.errors[run] = line.error
                else:
                    self._found[run] = json.loads(line.text)
                done += 1
            on_done(done)

    def values(self, scenario: str, policy: str, metric: str, seeds: int) -> list[Value]:
        """Return the values of a metric by seed, as far as all runs before them are made."""
        found: list[Value] = []
        for seed in range(self._first_seed, self._first_seed + seeds):
            numbers = self._found.get(Run(scenario, policy, seed))
            if numbers is None:
                break
            found.append(numbers[metric])
        return found

    def error(self, scenario: str, policy: str, seeds: int) -> tuple[int, str] | None:
        """Return the first seed whose run failed, and why; None if none did."""
        for seed in range(self._first_seed, self._first_seed + seeds):
            error = self.errors.get(Run(scenario, policy, seed))
            if error is not None:
                return seed, error
        return None

    def _cell(self, run: Run, key: str) -> Cell:
        cell = self._cells[run.scenario, run.policy]
        return replace(cell, position=int(key), key=key, setting={**cell.setting, "seed": run.seed})
