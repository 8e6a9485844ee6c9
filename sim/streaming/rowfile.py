"""Per-request rows written to a file as they come."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sim.options import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pandas as pd

ROWS_AT_ONCE = 1 << 16
"""Rows that are kept until they are written together: a row group of a Parquet file."""


@contextmanager
def row_file(path: Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Yield what writes frames, one after the other, to a ``.parquet`` or ``.csv`` file.

    The file has its name once all rows are in it; until then they are in ``PATH.part``.

    Raises
    ------
    OptionError
        If the suffix is neither.
    """
    writers: dict[str, type[Any]] = {".parquet": _Parquet, ".csv": _Csv}
    if path.suffix not in writers:
        raise OptionError(f"{path}: cannot write {path.suffix!r}: expected .parquet or .csv")
    part = path.with_name(path.name + ".part")
    writer = writers[path.suffix](part)
    held: list[pd.DataFrame] = []

    def flush() -> None:
        import pandas as pd

        if held:
            # Categories may differ from frame to frame; the file has plain text.
            writer.write(pd.concat(held, ignore_index=True))
            held.clear()

    def add(frame: pd.DataFrame) -> None:
        texts = {name: frame[name].astype(object) for name in ("task", "status")}
        held.append(frame.assign(**texts))
        if sum(map(len, held)) >= ROWS_AT_ONCE:
            flush()

    try:
        yield add
        flush()
        writer.close()
        part.replace(path)
    except BaseException:
        writer.close()
        part.unlink(missing_ok=True)
        raise


class _Csv:
    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._header = True

    def write(self, frame: pd.DataFrame) -> None:
        frame.to_csv(self._file, index=False, header=self._header)
        self._header = False

    def close(self) -> None:
        self._file.close()


class _Parquet:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Any = None

    def write(self, frame: pd.DataFrame) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        labels = {name: pa.dictionary(pa.int32(), pa.string()) for name in ("task", "status")}
        rows = pa.Table.from_pandas(frame.drop(columns=list(labels)), preserve_index=False)
        for name, kind in labels.items():
            column = pa.array(frame[name], pa.string(), from_pandas=True).cast(kind)
            rows = rows.add_column(frame.columns.get_loc(name), name, column)
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, rows.schema)
        self._writer.write_table(rows)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
