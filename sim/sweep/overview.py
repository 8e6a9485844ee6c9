"""The table at the end of a sweep: a row a configuration, means over its seeds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sim.interval import Estimate, mean_and_interval
from sim.options import OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sim.sweep.cells import Cell

SHOWN = ("goodput_pct", "ttft_s.p99", "tpot_s.mean", "e2e_s.p95", "utilisation")


@dataclass(frozen=True)
class Configuration:
    """What a sweep found for one configuration.

    Attributes
    ----------
    setting : mapping
        What differs between the configurations of the sweep.
    seeds : int
        How many of its cells are there.
    estimates : mapping of str to Estimate or None
        By column: mean over seeds and its 95 % interval; None where no seed has a number.
    """

    setting: Mapping[str, Any]
    seeds: int
    estimates: Mapping[str, Estimate | None]


def overview(path: Path, cells: Sequence[Cell], shown: Sequence[str]) -> list[Configuration]:
    """Return what a table of results says of each configuration, in the grid's order.

    Raises
    ------
    OptionError
        For a column that the table does not have, or one without numbers.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pq.read_schema(path)
    for name in shown:
        if name in schema.names:
            kind = schema.field(name).type
            if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
                raise OptionError(f"--show {name}: expected a column of numbers")
        elif name not in SHOWN:
            from policies.text import nearest

            raise OptionError(
                f"--show {name}: there is no such column{nearest(name, schema.names)}"
            )
    there = [name for name in shown if name in schema.names]
    table = pq.read_table(path, columns=["key", *there])
    place = {key: row for row, key in enumerate(table["key"].to_pylist())}
    columns = {name: table[name].to_pylist() for name in there}
    differing = names_that_differ(cells)
    rows: dict[tuple[Any, ...], list[int]] = {}
    settings: dict[tuple[Any, ...], dict[str, Any]] = {}
    for cell in cells:
        if cell.key in place:
            setting = {name: cell.setting.get(name) for name in differing}
            rows.setdefault(tuple(setting.values()), []).append(place[cell.key])
            settings.setdefault(tuple(setting.values()), setting)
    return [
        Configuration(
            setting=settings[which],
            seeds=len(places),
            estimates={
                name: _estimate([columns[name][row] for row in places]) if name in columns else None
                for name in shown
            },
        )
        for which, places in rows.items()
    ]


def _estimate(values: Sequence[float | None]) -> Estimate | None:
    """Return the mean of what is there and its interval."""
    return mean_and_interval([value for value in values if value is not None])


def names_that_differ(cells: Sequence[Cell]) -> list[str]:
    """Return what more than one value is given for, or a value in some cells only, but seeds."""
    values: dict[str, set[Any]] = {}
    given: Counter[str] = Counter()
    for cell in cells:
        for name, value in cell.setting.items():
            values.setdefault(name, set()).add(str(value))
            given[name] += 1
    return [
        name
        for name, found in values.items()
        if name != "seed" and (len(found) > 1 or given[name] < len(cells))
    ]


def warnings_of(path: Path, cells: Sequence[Cell]) -> dict[str, int]:
    """Return what the runs behind a table of results warn of, and how many of the cells do.

    What most cells warn of comes first.
    """
    import pyarrow.parquet as pq

    if "warnings" not in pq.read_schema(path).names:
        return {}
    table = pq.read_table(path, columns=["key", "warnings"])
    keys = {cell.key for cell in cells}
    found: Counter[str] = Counter()
    for key, warnings in zip(*(column.to_pylist() for column in table.columns), strict=True):
        if key in keys:
            found.update(set(warnings or ()))
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
