"""Cells: one configuration with one seed, under a key that says all that its result hangs on."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.cluster.clients import Clients
from sim.options import OptionError, RunOptions
from sim.sweep.build import CALLS, kinds_of, nested, options_of
from sim.sweep.canonical import canonical
from sim.sweep.inputs import DIGITS, Inputs, digest_of
from sim.sweep.requests import requests_of
from sim.sweep.words import REQUESTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sim.sweep.grid import Grid, Setting

RESULTS_FORMAT = 1
"""To be raised when the same configuration comes to give other numbers or other columns."""

CHECKED = 100
"""Requests of a workload that are drawn to see whether it can be drawn at all."""


@dataclass(frozen=True)
class Cell:
    """One run of a sweep.

    Attributes
    ----------
    position : int
        In the grid, from 0.
    key : str
        Digest of all that determines the result: equal keys, equal results.
    setting : mapping
        In canonical form: everything that was asked for, and the defaults of requests, policy and
        cluster.
    digests : mapping of str to str
        Content of what the setting names: "trace", "sla_profile", and profiles by name.
    requests : int
        How many there are, the measure of how long it takes.
    """

    position: int
    key: str
    setting: Mapping[str, Any]
    digests: Mapping[str, str]
    requests: int


def cells_of(grid: Grid, inputs: Inputs) -> tuple[list[Cell], int]:
    """Return the cells of a grid, and how many settings were left out as equal to an earlier one.

    Raises
    ------
    OptionError
        For the first cell that cannot be run: in one line, with the file and what is wrong.
    """
    from calibrate.schema import ProfileError
    from policies.protocol import PolicyError
    from traces.errors import TraceError

    cells: dict[str, Cell] = {}
    checked: dict[str, int] = {}
    for number, written in enumerate(grid.settings):
        try:
            cell = cell_of(written, inputs, checked, position=len(cells))
        except (OptionError, PolicyError, ProfileError, TraceError) as error:
            where = "" if len(grid.settings) == 1 else f" (cell {number + 1}: {describe(written)})"
            raise OptionError(f"{grid.path}: {error}{where}") from None
        cells.setdefault(cell.key, cell)
    return list(cells.values()), len(grid.settings) - len(cells)


def describe(setting: Mapping[str, Any]) -> str:
    """Return a setting in one line."""
    text = ", ".join(f"{name}={value}" for name, value in setting.items())
    return text if len(text) <= 160 else text[:157] + "..."


@dataclass(frozen=True)
class Configuration:
    """What a setting means, apart from policy, seed and code.

    Attributes
    ----------
    options : RunOptions
    digests : mapping of str to str
        As of a `Cell`.
    meaning : mapping
        In JSON's types: ``requests``, ``fleet``, ``options``; equal where the same is meant.
    """

    options: RunOptions
    digests: Mapping[str, str]
    meaning: Mapping[str, Any]


def configuration_of(setting: Mapping[str, Any], inputs: Inputs) -> Configuration:
    """Return what a setting in canonical form means.

    Raises
    ------
    OptionError, PolicyError, ProfileError, TraceError
        For what cannot be meant, or a file that cannot be read.
    """
    options = options_of(setting)
    digests: dict[str, str] = {}
    if "fleet" in setting:
        kinds = kinds_of(setting["fleet"])
        fleet = [(kind.count, inputs.profile(kind.name), kind.price_per_h) for kind in kinds]
        digests = {kind.name: inputs.profile(kind.name) for kind in kinds}
    else:
        name = setting["profile"]
        digests[name] = inputs.profile(name)
        fleet = [(setting["replicas"], digests[name], setting.get("price_per_h"))]
    about: dict[str, Any] = {n: setting[n] for n in REQUESTS if n in setting}
    if "trace" in setting:
        digests["trace"] = about["trace"] = inputs.trace(
            setting["trace"],
            skip_bad=setting.get("skip_bad", False),
            without_times="rps" in setting,
        )
    sla = nested(setting).get("sla")
    about["sla"] = sla
    about.pop("sla_profile", None)
    if "unloaded" in str(sla):
        reference = setting.get("sla_profile")
        digests["sla_profile"] = inputs.profile(reference) if reference else fleet[0][1]
        about["sla_profile"] = digests["sla_profile"]
    defaults = RunOptions()
    # Those that are set: an option that comes to be later changes no key.
    set_here = {
        name: _plain(value)
        for name, value in vars(options).items()
        if _plain(value) != _plain(getattr(defaults, name))
    }
    meaning = {"requests": about, "fleet": fleet, "options": set_here}
    return Configuration(options, digests, meaning)


def cell_of(
    written: Setting, inputs: Inputs, checked: dict[str, int], *, position: int = 0
) -> Cell:
    """Return the cell of a setting.

    Parameters
    ----------
    written : dict
        The setting.
    inputs : Inputs
        Reads what it names.
    checked : dict
        Requests that were found to be there, with how many they are; kept from cell to cell.
    position : int
        In the grid.

    Raises
    ------
    OptionError, PolicyError, ProfileError, TraceError
        If it cannot be run, in one line.
    """
    setting = canonical(written)
    configuration = configuration_of(setting, inputs)
    requests = _check(setting, configuration, inputs, checked)
    what = {
        "format": RESULTS_FORMAT,
        "version": inputs.version,
        **configuration.meaning,
        "policy": setting["policy"],
        "seed": setting["seed"],
        "code": {text: code for text in _calls(setting) if (code := _code(text))},
    }
    return Cell(position, digest_of(what), setting, configuration.digests, requests)


def _check(
    setting: Setting, configuration: Configuration, inputs: Inputs, checked: dict[str, int]
) -> int:
    """Return how many requests there are; refuse those that cannot be had, each kind once."""
    digests = configuration.digests
    recorded: Any = inputs.objects[digests["trace"]] if "trace" in digests else None
    kind = digest_of(configuration.meaning["requests"])
    if kind not in checked:
        few = setting if recorded is not None else setting | {"n": min(setting["n"], CHECKED)}
        first = next(d for name, d in digests.items() if name != "trace")
        profile: Any = inputs.objects[digests.get("sla_profile", first)]
        found = len(requests_of(few, recorded, profile, configuration.options))
        checked[kind] = found if recorded is not None else setting["n"]
    return checked[kind]


def _plain(value: Any) -> Any:
    """Return what an option means in JSON's types."""
    if isinstance(getattr(value, "label", None), str):
        return value.label
    if is_dataclass(value) and not isinstance(value, type):
        meant = {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
        if isinstance(value, Clients):  # texts that can be spelled in several ways
            meant |= {"cancel_after": _plain(value.patience), "think": _plain(value.think_time)}
        return {"": type(value).__name__, **meant}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "items"):
        return {str(key): _plain(item) for key, item in value.items()}
    return value


def _calls(setting: Mapping[str, Any]) -> list[str]:
    return [setting[name] for name in CALLS if setting.get(name) is not None]


def _code(text: str) -> str:
    """Return a digest of the file behind ``module:object``, nothing for a name of our own."""
    module, colon, _ = text.partition("(")[0].partition(":")
    if not colon:
        return ""
    file = getattr(sys.modules.get(module), "__file__", None)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:DIGITS] if file else ""
