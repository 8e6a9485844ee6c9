"""From a TOML file to the settings of every cell of its grid.

A value is fixed, a list crosses with every other list.  Tables are settings with parts; their
names are written with dots from here on: ``clients.timeout_s``.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from policies.text import nearest
from sim.options import OptionError
from sim.sweep.words import KNOWN, TABLES, parts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

Setting = dict[str, Any]
"""Values by dotted name: what one cell is asked for, as it was written."""

MOST_CELLS = 5_000_000


@dataclass(frozen=True)
class Grid:
    """What a file asks for.

    Attributes
    ----------
    path : Path
        The file; traces and profiles are looked for beside it.
    settings : tuple of dict
        One for each cell, in the order of the file, seeds changing fastest.
    """

    path: Path
    settings: tuple[Setting, ...]


def read_grid(path: Path) -> Grid:
    """Return the grid in a TOML file.

    Raises
    ------
    OptionError
        In one line: file, key, value and what was expected.
    OSError
        If the file cannot be read.
    """
    try:
        data = tomllib.loads(path.read_text("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"{path}: not a TOML file: {error}") from None
    try:
        return Grid(path, tuple(_settings(data)))
    except OptionError as error:
        raise OptionError(f"{path}: {error}") from None


def one_setting(table: Mapping[str, Any]) -> Setting:
    """Return the setting in a table of single values.

    Raises
    ------
    OptionError
        For a list, or what `read_grid` refuses.
    """
    for name, value in _leaves(table, ""):
        if isinstance(value, list):
            raise OptionError(f"{name} = {_shown(value)}: expected one value, not a list")
    [setting] = _crossed(table)
    return setting


def _settings(data: Mapping[str, Any]) -> Iterable[Setting]:
    data = dict(data)
    seeds = _seeds(data)
    zips = _tables(data.pop("zip", []), "zip")
    either = _tables(data.pop("either", []), "either")
    axes: list[tuple[str, list[Setting]]] = [
        ("at the top", _axis(name, value)) for name, value in data.items()
    ]
    axes += [(f"in [[zip]] {i}", _zipped(table, i)) for i, table in enumerate(zips, 1)]
    if either:
        axes.append(("in [[either]]", [s for table in either for s in _crossed(table)]))
    axes.append(("seeds", seeds))
    _refuse_twice(axes)
    count = math.prod(len(values) for _, values in axes)
    if count > MOST_CELLS:
        raise OptionError(f"{count:,} cells: expected at most {MOST_CELLS:,}; split the grid")
    # What is given last in the file changes fastest, and seeds fastest of all.
    for parts in product(*(values for _, values in axes)):
        yield {name: value for part in parts for name, value in part.items()}


def _seeds(data: dict[str, Any]) -> list[Setting]:
    """Take what chooses the seeds out of `data`."""
    count, first = data.pop("seeds", None), data.pop("first_seed", None)
    if "seed" in data:
        for name, value in (("seeds", count), ("first_seed", first)):
            if value is not None:
                raise OptionError(f"{name} = {value!r} has no effect beside seed: give one of them")
        return _axis("seed", data.pop("seed"))
    if any("seed" in table for kind in ("zip", "either") for table in _tables(data.get(kind, []))):
        if count is not None:
            raise OptionError(f"seeds = {count!r} and a seed in a table: give one of them")
        return [{}]
    for name, value, least in (("seeds", count, 1), ("first_seed", first, 0)):
        if value is not None and (type(value) is not int or value < least):
            raise OptionError(f"{name} = {value!r}: expected a whole number of at least {least}")
    return [{"seed": seed} for seed in range(first or 0, (first or 0) + (count or 1))]


def _tables(value: Any, name: str = "") -> list[dict[str, Any]]:
    if isinstance(value, list) and all(isinstance(table, dict) for table in value):
        return value
    if not name:
        return []
    raise OptionError(f"{name} = {_shown(value)}: expected tables, each begun by [[{name}]]")


def _crossed(table: Mapping[str, Any], prefix: str = "") -> list[Setting]:
    """Return every combination of a table's values."""
    axes = [_axis(prefix + name, value) for name, value in table.items()]
    return [{k: v for part in parts for k, v in part.items()} for parts in product(*axes)]


def _axis(name: str, value: Any) -> list[Setting]:
    """Return the alternatives for one name: of a list each item, of a table every combination."""
    _check_name(name)
    if isinstance(value, list):
        if not value:
            raise OptionError(f"{name} = []: expected at least one value")
        if any(isinstance(item, list) for item in value):
            raise OptionError(f"{name} = {_shown(value)}: expected values, not lists in a list")
        return [setting for item in value for setting in _axis(name, item)]
    if isinstance(value, dict):
        if parts_of(name) is None:
            raise OptionError(f"{name} = {_shown(value)}: expected a value or a list of values")
        return _crossed(value, f"{name}.") if value else [{name: {}}]
    if not isinstance(value, str | int | float):
        raise OptionError(f"{name} = {value}: expected a number, a text, true or false")
    if isinstance(value, float) and not math.isfinite(value):
        raise OptionError(f"{name} = {value}: expected a finite number")
    return [{name: value}]


def _zipped(table: Mapping[str, Any], number: int) -> list[Setting]:
    """Return the settings of lists that advance together."""
    lists = dict(_leaves(table, ""))
    lengths = {name: len(v) if isinstance(v, list) else None for name, v in lists.items()}
    for name, length in lengths.items():
        if length is None:
            raise OptionError(
                f"[[zip]] {number}: {name} = {_shown(lists[name])}: expected a list; a single "
                "value belongs at the top of the file"
            )
    if len(set(lengths.values())) != 1:
        found = ", ".join(f"{length} of {name}" for name, length in lengths.items())
        raise OptionError(f"[[zip]] {number}: expected lists of one length, found {found or None}")
    steps = zip(*lists.values(), strict=True)
    return [s for step in steps for s in _crossed(dict(zip(lists, step, strict=True)))]


def _leaves(table: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, Any]]:
    for name, value in table.items():
        _check_name(prefix + name)
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _check_name(name: str) -> None:
    """Refuse a name that nobody knows."""
    head, dot, part = name.partition(".")
    if head not in KNOWN:
        raise OptionError(f"unknown key {head!r}{nearest(head, (*KNOWN, 'zip', 'either'))}")
    if not dot:
        return
    parts = parts_of(head)
    if parts is None:
        raise OptionError(f"{name}: {head} is no table, expected {head} = a value")
    if parts and part.partition(".")[0] not in parts:
        raise OptionError(f"[{head}]: unknown key {part!r}{nearest(part, parts)}")
    if "." in part and f"{head}.{part.partition('.')[0]}" not in TABLES:
        raise OptionError(f"{name}: expected no table there")


def _refuse_twice(axes: Sequence[tuple[str, Sequence[Setting]]]) -> None:
    """Refuse a name that two axes set, or one that another is a part of."""
    places: dict[str, str] = {}
    for place, settings in axes:
        names = {name for setting in settings for name in setting}
        for name in sorted(names):
            clash = next(
                (o for o in places if o == name or f"{o}.".startswith(f"{name}.")
                 or f"{name}.".startswith(f"{o}.")),
                None,
            )  # fmt: skip
            if clash is not None:
                raise OptionError(
                    f"{name} stands {place} and {clash} {places[clash]}: expected it in one place"
                )
        places |= dict.fromkeys(names, place)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
