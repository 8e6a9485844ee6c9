"""Rows to Parquet: the same rows give the same bytes, whoever wrote them and when."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from sim.sweep.words import KNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

ROW_GROUP = 4096
"""Rows that are read and written together."""

Row = dict[str, Any]

_ASKED = ("key", *KNOWN)
_FOUND = (
    *("goodput_pct", "goodput_rps", "requests", "statuses", "ttft_s", "tpot_s", "itl_s", "e2e_s"),
    *("sla_ratio", "throughput_tok_s", "utilisation", "duration_s"),
)
_PARTS = {part: place for place, part in enumerate(("mean", "std", "cv", "p50", "p90", "p95"))}


def write_rows(
    path: Path,
    keys: Sequence[str],
    rows_of: Callable[[Sequence[str]], list[Row]],
    metadata: Mapping[str, str],
) -> None:
    """Write rows to a Parquet file, in the order of the keys, all at once or not at all.

    Parameters
    ----------
    path : Path
        Replaced in one step when all is written and on the disk.
    keys : sequence of str
        Of the rows.
    rows_of : callable
        Returns the rows of some keys; asked twice for each group, so that memory stays small.
    metadata : mapping of str to str
        About the file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    groups = [keys[start : start + ROW_GROUP] for start in range(0, len(keys), ROW_GROUP)]
    found: dict[str, str] = {}
    for group in groups:
        for row in rows_of(group):
            for name, value in row.items():
                found[name] = _wider(found.get(name, ""), _kind(value))
    # A column for whatever has a value somewhere, in an order that hangs on their names alone.
    kinds = {name: found[name] for name in sorted(found, key=_place) if found[name]}
    types = _types()
    schema = pa.schema([(name, types[kind]) for name, kind in kinds.items()], dict(metadata))
    scratch = path.with_name(f".{path.name}.tmp")
    with pq.ParquetWriter(scratch, schema, compression="zstd") as writer:
        for group in groups:
            writer.write_table(_table(rows_of(group), kinds, schema), row_group_size=ROW_GROUP)
    put(scratch, path)


def read_rows(path: Path, places: Mapping[str, int]) -> dict[str, Row]:
    """Return some rows of a file that `write_rows` wrote, by key.

    Parameters
    ----------
    path : Path
    places : mapping of str to int
        The number of each key's row.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        groups = sorted({place // ROW_GROUP for place in places.values()})
        rows: list[Row] = file.read_row_groups(groups).to_pylist()
    return {row["key"]: row for row in rows if row["key"] in places}


def put(scratch: Path, path: Path) -> None:
    """Give a file that is written its name, so that it is there whole even after a power cut."""
    with scratch.open("rb") as file:
        os.fsync(file.fileno())
    scratch.replace(path)
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _place(name: str) -> tuple[Any, ...]:
    """Return what columns are sorted by: key, what was asked for, what came out, warnings."""
    head, _, part = name.partition(".")
    if head in _ASKED:
        return (0, _ASKED.index(head), 0, name)
    found = _FOUND.index(head) if head in _FOUND else len(_FOUND)
    return (2 if head == "warnings" else 1, found, head, _PARTS.get(part, len(_PARTS)), part)


def _kind(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        kind = ""
        for item in value:
            kind = _wider(kind, _kind(item))
        return "json" if kind not in ("int", "float", "str", "") else f"{kind} list"
    name = type(value).__name__
    return name if name in ("bool", "int", "float", "str") else "json"


def _wider(a: str, b: str) -> str:
    """Return the kind that holds values of both; no kind at all is that of None."""
    if a == b or not b:
        return a
    if not a:
        return b
    if {a, b} == {"int", "float"}:
        return "float"
    if a.endswith(" list") and b.endswith(" list"):
        item = _wider(a.removesuffix(" list"), b.removesuffix(" list"))
        return "json" if item == "json" else f"{item} list"
    return "json"


def _types() -> dict[str, pa.DataType]:
    import pyarrow as pa

    one = {"bool": pa.bool_(), "int": pa.int64(), "float": pa.float64(), "str": pa.string()}
    lists = {f"{kind} list": pa.list_(one[kind]) for kind in ("int", "float", "str")}
    # Lists that are all empty are taken for lists of texts.
    return one | lists | {" list": pa.list_(pa.string()), "json": pa.string()}


def _table(rows: Sequence[Row], kinds: Mapping[str, str], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    columns = []
    for name, kind in kinds.items():
        values = [row.get(name) for row in rows]
        if kind == "json":
            values = [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
        columns.append(pa.array(values, schema.field(name).type))
    return pa.table(columns, schema=schema)
