"""The files traces come in: CSV, JSON lines, JSON and Parquet, plain or compressed.

What a file is shows in its first bytes. A table is read in batches of raw columns, so that memory
holds one batch beside the finished numbers.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

import numpy as np

from traces.errors import TraceError, brief

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from traces.columns import IntColumn
    from traces.decode import Values

_GZIP, _ZSTD, _PARQUET = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1"
# Small, as pyarrow reads dozens of batches ahead; a row has to fit into one.
_CSV_BATCH_BYTES = 1 << 21
_BATCH_ROWS = 1 << 16
_LONGEST_HEADER = 1 << 16


class Batch(NamedTuple):
    """Some rows of a table: raw values by field, row numbers from 0, and rows that fell apart."""

    values: dict[str, Values]
    rows: IntColumn
    broken: list[tuple[int, str]]


class Table(NamedTuple):
    """A file of rows.

    `fields` are its field names; `read(names)` yields batches of those fields; `where(row)` says
    where in the file a row is.
    """

    fields: frozenset[str]
    read: Callable[[Sequence[str]], Iterable[Batch]]
    where: Callable[[int], str]


class Document(NamedTuple):
    """A file that is one JSON object."""

    content: dict[str, Any]


@contextmanager
def one_line_errors(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong with the bytes of a file into a one-line `TraceError`."""
    try:
        yield
    except FileNotFoundError as e:
        raise TraceError(f"{path}: no such file; expected a trace file") from e
    except IsADirectoryError as e:
        raise TraceError(f"{path}: is a directory; expected a trace file") from e
    except (EOFError, zlib.error, gzip.BadGzipFile) as e:
        raise TraceError(f"{path}: the compressed data is damaged or cut short ({e})") from e
    except OSError as e:
        if e.errno is None:  # zstandard's, by way of pyarrow
            raise TraceError(f"{path}: the compressed data is damaged or cut short ({e})") from e
        raise TraceError(f"{path}: cannot be read ({e.strerror or e})") from e
    except UnicodeDecodeError as e:
        raise TraceError(
            f"{path}: is not UTF-8 text (byte {e.start} is {e.object[e.start]:#x})"
        ) from e


def open_bytes(path: Path) -> BinaryIO:
    """Return the file's bytes, decompressed where its magic bytes say gzip or zstandard."""
    file = path.open("rb")
    magic = file.read(4)
    file.seek(0)
    if magic.startswith(_GZIP):
        return cast("BinaryIO", _Both(gzip.GzipFile(fileobj=file), file))
    if magic == _ZSTD:
        import pyarrow as pa

        # Unlike zstandard's own reader it says when the stream is cut short.
        reader = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")
        return cast("BinaryIO", _Both(reader, file))
    return file


class _Both(io.BufferedReader):
    """A buffered decompressor that closes the file below it too."""

    def __init__(self, reader: Any, file: BinaryIO) -> None:
        super().__init__(reader, 1 << 20)
        self._file = file

    def close(self) -> None:
        super().close()
        self._file.close()


def open_container(path: Path) -> Table | Document:
    """Return what the file at `path` is.

    Raises
    ------
    TraceError
        The file is empty or is none of CSV, JSON lines, JSON and Parquet.
    """
    with open_bytes(path) as file:
        start = file.read(_LONGEST_HEADER)
    if start.startswith(_PARQUET):
        return _parquet(path)
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text:
        raise TraceError(f"{path}: is empty")
    if text[:1] == b"[":
        return _json(path)
    if text[:1] == b"{":
        with open_bytes(path) as file:
            first = _first_record(file)
            alone = not any(line.strip() for line in file)
        if first is None or (alone and "input_lens" in first):
            return _json(path)
        return _json_lines(path, first)
    return _csv(path, start)


def _first_record(file: BinaryIO) -> dict[str, Any] | None:
    for line in file:
        if line.strip():
            try:
                return cast("dict[str, Any]", json.loads(line.decode("utf-8-sig")))
            except (ValueError, RecursionError):
                return None
    return None


def _json(path: Path) -> Table | Document:
    with open_bytes(path) as file:
        text = file.read().decode("utf-8-sig")
    try:
        content = json.loads(text)
    except json.JSONDecodeError as e:
        raise TraceError(f"{path}: line {e.lineno}: is not valid JSON ({e.msg})") from e
    except RecursionError as e:
        raise TraceError(f"{path}: is JSON nested too deeply") from e
    except ValueError as e:  # a number of more digits than Python converts
        raise TraceError(f"{path}: holds a number that cannot be read ({e})") from e
    if isinstance(content, dict):
        return Document(content)

    def read(names: Sequence[str]) -> Iterator[Batch]:
        for start in range(0, len(content), _BATCH_ROWS):
            yield _records(list(enumerate(content[start : start + _BATCH_ROWS], start)), names)

    fields = content[0] if content and isinstance(content[0], dict) else {}
    return Table(frozenset(fields), read, lambda row: f"item {row}")


def _json_lines(path: Path, first: dict[str, Any]) -> Table:
    def read(names: Sequence[str]) -> Iterator[Batch]:
        with open_bytes(path) as file:
            found: list[tuple[int, Any]] = []
            for row, line in enumerate(file):
                if text := line.removeprefix(b"\xef\xbb\xbf").strip():
                    found.append((row, _parsed(text)))
                if len(found) == _BATCH_ROWS:
                    yield _records(found, names)
                    found = []
            yield _records(found, names)

    return Table(frozenset(first), read, lambda row: f"line {row + 1}")


class _NotJson(str):
    """The text of a line that is not JSON."""


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return _NotJson(line.decode(errors="replace"))


def _records(found: Sequence[tuple[int, Any]], names: Sequence[str]) -> Batch:
    kept = [(row, record) for row, record in found if isinstance(record, dict)]
    broken = [
        (row, f"{'is not valid JSON: ' if isinstance(other, _NotJson) else 'is '}{brief(other)}")
        for row, other in found
        if not isinstance(other, dict)
    ]
    values = {name: [record.get(name) for _, record in kept] for name in names}
    broken = [(row, f"{text}; expected a JSON object") for row, text in broken]
    return Batch(values, np.array([row for row, _ in kept], dtype=np.int64), broken)


def _parquet(path: Path) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        fields = frozenset(pq.read_schema(_seekable(path)).names)
    except pa.ArrowException as e:
        raise TraceError(f"{path}: is a damaged Parquet file ({_first_line(e)})") from e

    def read(names: Sequence[str]) -> Iterator[Batch]:
        start = 0
        try:
            with pq.ParquetFile(_seekable(path)) as file:
                for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=list(names)):
                    values = dict(zip(batch.schema.names, batch.columns, strict=True))
                    yield Batch(values, np.arange(start, start + batch.num_rows), [])
                    start += batch.num_rows
        except pa.ArrowException as e:
            raise TraceError(f"{path}: is a damaged Parquet file ({_first_line(e)})") from e

    return Table(fields, read, lambda row: f"row {row}")


def _seekable(path: Path) -> Any:
    """Return what pyarrow can read a Parquet file from: decompressed, all of it in memory."""
    with open_bytes(path) as file:
        return io.BytesIO(file.read()) if isinstance(file, _Both) else path


def _csv(path: Path, start: bytes) -> Table:
    header, newline, rest = start.removeprefix(b"\xef\xbb\xbf").partition(b"\n")
    before = 0
    while newline and not header.strip():
        before += 1
        header, newline, rest = rest.partition(b"\n")
    if not newline and len(start) >= _LONGEST_HEADER:
        raise TraceError(f"{path}: has no line break in {_LONGEST_HEADER} bytes; expected text")
    names = next(csv.reader([header.decode()]), [])
    names = [name.strip() for name in names]

    def read(wanted: Sequence[str]) -> Iterator[Batch]:
        for name in wanted:
            if names.count(name) > 1:
                raise TraceError(f"{path}: line {before + 1}: column {name!r} is there twice")
        with open_bytes(path) as file:
            for _ in range(before + 1):
                file.readline()
            yield from _csv_batches(path, file, names, wanted)

    return Table(frozenset(names), read, lambda row: f"line {row + before + 2}")


def _csv_batches(
    path: Path, file: BinaryIO, names: Sequence[str], wanted: Sequence[str]
) -> Iterator[Batch]:
    import pyarrow as pa
    import pyarrow.csv as pv

    broken: list[tuple[int, str]] = []

    def on_broken(row: Any) -> str:
        # pyarrow counts physical rows from 1 here, and the header is already gone.
        text = f"has {row.actual_columns} fields: {brief(row.text)}; expected {len(names)}"
        broken.append((row.number - 1, text))
        return "skip"

    if not file.peek(1):  # type: ignore[attr-defined]  # all of open_bytes' files are buffered
        return
    try:
        reader = pv.open_csv(
            file,
            read_options=pv.ReadOptions(
                column_names=[str(i) for i in range(len(names))],
                block_size=_CSV_BATCH_BYTES,
                use_threads=False,  # only then are broken rows numbered
            ),
            parse_options=pv.ParseOptions(ignore_empty_lines=False, invalid_row_handler=on_broken),
            convert_options=pv.ConvertOptions(
                column_types={str(i): pa.string() for i in range(len(names))},
                include_columns=[str(names.index(name)) for name in wanted],
            ),
        )
        whole = told = 0
        for batch in reader:
            rows = _numbered(whole, batch.num_rows, [row for row, _ in broken])
            whole += batch.num_rows
            # pyarrow parses a block ahead, so some broken rows belong to the next batch.
            ahead = sum(1 for row, _ in broken[told:] if len(rows) and row > rows[-1])
            upto = len(broken) - ahead
            columns, rows = _without_blanks(batch.columns, rows)
            yield Batch(dict(zip(wanted, columns, strict=True)), rows, broken[told:upto])
            told = upto
        if broken[told:]:
            empty = {name: pa.array([], pa.string()) for name in wanted}
            yield Batch(empty, np.empty(0, np.int64), broken[told:])
    except pa.ArrowInvalid as e:
        raise TraceError(f"{path}: cannot be read as CSV ({_first_line(e)})") from e


def _without_blanks(columns: list[Values], rows: IntColumn) -> tuple[list[Values], IntColumn]:
    """Leave out rows with nothing in any column: blank lines hold no request, not a bad one."""
    import pyarrow.compute as pc

    filled = pc.not_equal(columns[0], "")
    if pc.all(filled).as_py() is not False:
        return columns, rows
    for column in columns[1:]:
        filled = pc.or_(filled, pc.not_equal(column, ""))
    return [c.filter(filled) for c in columns], rows[filled.to_numpy(zero_copy_only=False)]


def _numbered(start: int, n: int, broken: Sequence[int]) -> IntColumn:
    """Return the row numbers of the whole rows `start` to `start + n`, counting broken ones too."""
    whole_before = np.array(broken, dtype=np.int64) - np.arange(len(broken))
    index = np.arange(start, start + n)
    return index + np.searchsorted(whole_before, index, side="right")


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0]
