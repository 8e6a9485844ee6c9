"""Traces in and out of files: detect and read every public format, write our own."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from traces.arrivals import parse_arrivals
from traces.assemble import Assembly
from traces.containers import Document, Table, one_line_errors, open_container
from traces.errors import TraceError, brief, unknown
from traces.layouts import FORMATS, LAYOUTS, OWN, SHAREGPT, VLLM, Layout, find_layout, looked_for
from traces.lengths import CHARS_PER_TOKEN, lengths_of_records, lengths_of_result
from traces.seeds import stream

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from traces.columns import FloatColumn
    from traces.request import Trace

_WRITE_ROWS = 1 << 16


def load(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    skip_bad: bool = False,
    rps: float | None = None,
    arrivals: str | None = None,
    seed: int | np.random.SeedSequence = 0,
    chars_per_token: float | None = None,
) -> Trace:
    """Return the trace in a file of any known format.

    Parameters
    ----------
    path : CSV, JSON lines, JSON or Parquet, plain or compressed by gzip or zstandard; told apart
        by content, never by name
    format : one of `traces.layouts.FORMATS`; detected from header or first record if None
    skip_bad : drop bad rows and count them in `warnings` instead of refusing the file
    rps, arrivals, seed : for files without arrival times only: the rate, the process
        (`traces.arrivals.parse_arrivals`; default "poisson") and the seed of those made up
    chars_per_token : for files of texts without token counts only; default 4

    Returns
    -------
    Trace
        Sorted by arrival (stably; a warning counts what was out of order). Arrivals count from
        the first request, except in our own format, where they stay as written. `meta` has
        "source", "format" and "arrivals".

    Raises
    ------
    TraceError
        One line that names file, line, field, value and what was expected.
    """
    path = Path(path)
    if format is not None and format not in FORMATS:
        raise unknown("trace format", format, FORMATS)
    if chars_per_token is not None and not (math.isfinite(chars_per_token) and chars_per_token > 0):
        raise TraceError(f"chars_per_token is {chars_per_token}; expected a finite number above 0")
    with one_line_errors(path):
        container = open_container(path)
        try:
            table, layout, estimated = recognised(container, format, chars_per_token)
        except TraceError as e:
            raise TraceError(f"{path}: {e}") from e
        if chars_per_token is not None and not estimated:
            raise TraceError(f"{path}: states its token counts; chars_per_token has no effect")
        made_up = _arrival_times(path, layout, rps, arrivals, seed)
        trace = Assembly(path, table, layout, skip_bad=skip_bad).trace(made_up)
    warnings = list(trace.warnings)
    meta = dict(trace.meta)
    if made_up is not None:
        meta["arrivals"] = f"{arrivals or 'poisson'} at {rps:g} rps, seed {seed!r}"
    if estimated:
        warnings.append(
            f"lengths are estimated at {chars_per_token or CHARS_PER_TOKEN:g} characters per token"
        )
    return trace.replace(meta=meta, warnings=tuple(warnings))


def recognised(
    container: Table | Document, name: str | None, chars_per_token: float | None
) -> tuple[Table, Layout, bool]:
    """Return the rows of a file, their layout, and whether lengths are estimated from texts.

    Raises
    ------
    TraceError
        It is no format that is known, or not the one called `name`; without the path.
    """
    if isinstance(container, Document):
        result = lengths_of_result(container) if name in (None, VLLM) else None
        if result is not None:
            return *result, False
        shown, container_kind = sorted(container.content), "JSON object"
    else:
        if name not in (SHAREGPT, VLLM):
            layout = find_layout(container.fields, name)
            if layout is not None:
                return container, layout, False
        if name in (None, SHAREGPT):
            lengths = lengths_of_records(container, chars_per_token or CHARS_PER_TOKEN)
            if lengths is not None:
                return lengths
        shown, container_kind = sorted(container.fields), "table"
    given = brief(",".join(shown))
    if name is not None:
        raise TraceError(f"is not in the {name} format: its fields are {given}")
    raise TraceError(
        f"fits no trace format: it is a {container_kind} with the fields {given}"
        f"{_nearest(set(shown))}. Looked for {looked_for()}"
    )


def _nearest(fields: set[str]) -> str:
    """Return what the most similar layout lacks, if any is similar at all."""
    lacks = [(layout, [f for f in layout.needs if f not in fields]) for layout in LAYOUTS]
    layout, missing = min(lacks, key=lambda pair: len(pair[1]) / len(pair[0].needs))
    if len(missing) == len(layout.needs):
        return ""
    return f" (nearest is {layout.name}, which also needs {', '.join(missing)})"


def _arrival_times(
    path: Path,
    layout: Layout,
    rps: float | None,
    arrivals: str | None,
    seed: int | np.random.SeedSequence,
) -> Callable[[int], FloatColumn] | None:
    if layout.arrival is not None:
        for option, value in (("rps", rps), ("arrivals", arrivals)):
            if value is not None:
                raise TraceError(
                    f"{path}: has arrival times of its own ({layout.name}), so {option}={value} "
                    "has no effect; saber trace convert --scale changes the rate"
                )
        return None
    process = parse_arrivals(arrivals or "poisson")
    if rps is None:
        raise TraceError(f"{path}: has no arrival times ({layout.name}); give rps to make them")
    return lambda n: process(n, rps, stream(seed, "arrivals"))


def save(trace: Trace, path: str | os.PathLike[str]) -> None:
    """Write a trace in our own format, as the suffix says: .csv or .parquet.

    Optional columns are written where they hold something. Reading the file gives an equal trace;
    the same trace gives the same bytes (for Parquet: with one version of pyarrow). `meta` and
    `warnings` are not kept.

    Raises
    ------
    TraceError
        The suffix is neither, the trace is empty, or the file cannot be written.
    """
    path = Path(path)
    writer = {".csv": _write_csv, ".parquet": _write_parquet}.get(path.suffix.lower())
    if writer is None:
        raise TraceError(f"{path}: cannot tell the format to write; expected .csv or .parquet")
    if not len(trace):
        raise TraceError(f"{path}: a trace without requests is not written")
    try:
        writer(trace, path)
    except OSError as e:
        raise TraceError(f"{path}: cannot be written ({e.strerror or e})") from e


def _optional(trace: Trace) -> list[str]:
    """Return the optional columns of our format that say something of this trace."""
    filled = {
        "max_tokens": not np.array_equal(trace.max_tokens, trace.output_tokens),
        "sla_s": not np.isnan(trace.sla_s).all(),
        "parent": bool((trace.parent >= 0).any()),
        "hash_ids": trace.hash_ids is not None,
        "block_tokens": trace.hash_ids is not None,
    }
    filled |= {kind: bool((trace.labels(kind).codes >= 0).any()) for kind in OWN.labels}
    return [name for name in OWN.knows if filled.get(name)]


def _write_csv(trace: Trace, path: Path) -> None:
    optional = _optional(trace)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*OWN.needs, *optional])
        for start in range(0, len(trace), _WRITE_ROWS):
            rows = slice(start, start + _WRITE_ROWS)
            columns = [_texts(trace, name, rows) for name in (*OWN.needs, *optional)]
            writer.writerows(zip(*columns, strict=True))


def _texts(trace: Trace, name: str, rows: slice) -> list[Any]:
    """Return some rows of a column as csv writes them exactly: None is empty, floats by repr."""
    if name in OWN.labels:
        codes, names = trace.labels(name)
        return [None if code < 0 else names[code] for code in codes[rows].tolist()]
    if name == "hash_ids" and trace.hash_ids is not None:
        blocks = trace.hash_ids
        return [" ".join(map(str, blocks.row(i).tolist())) for i in range(len(trace))[rows]]
    if name == "block_tokens" and trace.hash_ids is not None:
        return [trace.hash_ids.block_tokens] * len(range(len(trace))[rows])
    values = getattr(trace, name)[rows].tolist()
    if name == "sla_s":
        return [None if math.isnan(v) else v for v in values]
    return [None if v < 0 else v for v in values] if name == "parent" else values


def _write_parquet(trace: Trace, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def column(name: str) -> Any:
        if name in OWN.labels:
            codes, names = trace.labels(name)
            index = pa.array(codes, mask=codes < 0)
            return pa.DictionaryArray.from_arrays(index, pa.array(names, pa.string()))
        if name == "hash_ids" and trace.hash_ids is not None:
            return pa.LargeListArray.from_arrays(trace.hash_ids.offsets, trace.hash_ids.ids)
        if name == "block_tokens" and trace.hash_ids is not None:
            return pa.array(np.full(len(trace), trace.hash_ids.block_tokens))
        values = getattr(trace, name)
        if name == "sla_s":
            return pa.array(values, from_pandas=True)
        return pa.array(values, mask=values < 0 if name == "parent" else None)

    names = [*OWN.needs, *_optional(trace)]
    pq.write_table(pa.table({name: column(name) for name in names}), path, compression="zstd")
