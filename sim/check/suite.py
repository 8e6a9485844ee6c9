"""From a TOML file to what is to be checked: scenarios, their policies, their guards."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from policies.protocol import PolicyError
from policies.text import nearest
from sim.check.bootstrap import LEAST_SEEDS
from sim.check.guard import BASELINE
from sim.check.guards import guards_of
from sim.options import OptionError, is_number
from sim.sweep.build import canonical_call
from sim.sweep.grid import one_setting
from sim.sweep.words import KNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sim.check.guard import Guard
    from sim.sweep.grid import Setting

TOP = ("seeds", "max_seeds", "first_seed", "confidence", "scenario")
OWN = ("name", "policies", "skip_if_missing", "guard")
SETTINGS = tuple(name for name in KNOWN if name not in ("policy", "seed", "timeline"))
"""What a scenario may set: what a sweep knows, but for what a suite says in words of its own."""

CONFIDENCE = 0.95
MOST_SEEDS = 100_000


@dataclass(frozen=True)
class Scenario:
    """One configuration under one or several policies, with what is guarded in it.

    Attributes
    ----------
    name : str
        Unique in a suite.
    setting : mapping
        As it is written, by dotted name; without policy and seed.
    policies : tuple of str
        Canonical texts.
    guards : tuple of Guard
        At least one.
    skip_if_missing : bool
        Whether it is left out, with a note, where its trace file is not there.
    """

    name: str
    setting: Mapping[str, Any]
    policies: tuple[str, ...]
    guards: tuple[Guard, ...]
    skip_if_missing: bool = False

    def needs(self) -> dict[str, list[str]]:
        """Return by policy the metrics that a baseline has to hold."""
        found: dict[str, list[str]] = {}
        for guard in self.guards:
            metrics = found.setdefault(guard.policy, []) if guard.against == BASELINE else []
            if guard.metric not in metrics:
                metrics.append(guard.metric)
        return found


@dataclass(frozen=True)
class Suite:
    """What a file asks for.

    Attributes
    ----------
    path : Path
        The file; traces and profiles are looked for beside it.
    scenarios : tuple of Scenario
        In the order of the file.
    seeds, max_seeds : int
        Of the first look, and at which an undecided guard is left undecided.
    first_seed : int
        Seeds are counted on from it.
    confidence : float
        With which all verdicts of the suite hold together.
    """

    path: Path
    scenarios: tuple[Scenario, ...]
    seeds: int = 20
    max_seeds: int = 20
    first_seed: int = 0
    confidence: float = CONFIDENCE

    def __post_init__(self) -> None:
        for name, least in (("seeds", LEAST_SEEDS), ("max_seeds", 1), ("first_seed", 0)):
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= MOST_SEEDS:
                why = "; with fewer there is nothing to tell by" if name == "seeds" else ""
                raise OptionError(
                    f"{name} = {value!r}: expected a whole number from {least} to {MOST_SEEDS:,}"
                    f"{why}"
                )
        if self.max_seeds < self.seeds:
            raise OptionError(
                f"max_seeds = {self.max_seeds} is less than seeds = {self.seeds}: expected at "
                "least as many"
            )
        if not (is_number(self.confidence) and 0.5 < self.confidence < 1):
            raise OptionError(
                f"confidence = {self.confidence!r}: expected a number between 0.5 and 1, such as "
                f"{CONFIDENCE}"
            )

    @property
    def guards(self) -> tuple[Guard, ...]:
        """The guards of all scenarios."""
        return tuple(guard for scenario in self.scenarios for guard in scenario.guards)

    @property
    def tail(self) -> float:
        """Chance of an error on one side for each guard, so that all together hold."""
        return (1 - self.confidence) / 2 / len(self.guards)


def read_suite(path: Path) -> Suite:
    """Return the suite in a TOML file.

    Raises
    ------
    OptionError
        In one line: file, scenario, guard, key, value and what was expected.
    OSError
        If the file cannot be read.
    """
    try:
        data = tomllib.loads(path.read_text("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise OptionError(f"{path}: not a TOML file: {error}") from None
    try:
        return _suite(path, data)
    except (OptionError, PolicyError) as error:
        raise OptionError(f"{path}: {error}") from None


def _suite(path: Path, data: Mapping[str, Any]) -> Suite:
    for key in data:
        if key not in TOP:
            belongs = f": it belongs in a [[scenario]], as {key} = ..." if key in SETTINGS else ""
            raise OptionError(f"unknown key {key!r}{belongs or nearest(key, TOP)}")
    tables = data.get("scenario")
    if not isinstance(tables, list) or not tables or not all(isinstance(t, dict) for t in tables):
        raise OptionError("no scenario: expected at least one, begun by [[scenario]]")
    scenarios: list[Scenario] = []
    for number, table in enumerate(tables, 1):
        name = _name(table, number)
        if name in {scenario.name for scenario in scenarios}:
            raise OptionError(f"scenario {name!r} is there twice: expected names that differ")
        try:
            scenarios.append(_scenario(name, table))
        except (OptionError, PolicyError) as error:
            raise OptionError(f"scenario {name!r}: {error}") from None
    given = {name: data[name] for name in TOP if name in data and name != "scenario"}
    if "seeds" in given:
        given.setdefault("max_seeds", given["seeds"])
    elif type(given.get("max_seeds")) is int:
        given["seeds"] = min(Suite.seeds, given["max_seeds"])
    return Suite(path, tuple(scenarios), **given)


def _name(table: Mapping[str, Any], number: int) -> str:
    name = table.get("name")
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        shown = "name is missing" if name is None else f"name = {name!r}"
        raise OptionError(f"scenario {number}: {shown}: expected a text on one line")
    return name.strip()


def _scenario(name: str, table: Mapping[str, Any]) -> Scenario:
    for key in table:
        if key == "policy":
            raise OptionError(f"policy = {table[key]!r}: expected policies = [...]")
        if key not in OWN and key not in SETTINGS:
            raise OptionError(f"unknown key {key!r}{nearest(key, (*OWN, *SETTINGS))}")
    setting = one_setting({key: value for key, value in table.items() if key not in OWN})
    skip = _skip(table.get("skip_if_missing", False), setting)
    policies = _policies(table.get("policies"))
    return Scenario(name, setting, policies, guards_of(name, policies, table.get("guard")), skip)


def _skip(value: Any, setting: Setting) -> bool:
    if not isinstance(value, bool):
        raise OptionError(f"skip_if_missing = {value!r}: expected true or false")
    if value and "trace" not in setting:
        raise OptionError("skip_if_missing = true has no effect without trace: leave it out")
    return value


def _policies(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(p, str) for p in value):
        shown = "policies is missing" if value is None else f"policies = {value!r}"
        raise OptionError(f'{shown}: expected a list such as ["saber", "static(30)"]')
    policies = [canonical_call("policy", text) for text in value]
    for place, policy in enumerate(policies):
        if policy in policies[:place]:
            raise OptionError(f"policies: {value[place]!r} is there twice: expected it once")
    return tuple(policies)
