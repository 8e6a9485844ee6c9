"""The folder of a sweep: what is finished stays finished, whatever happens to the process.

``cells.parquet`` holds the grid's cells in the grid's order.  Until it is written, at the end of a
sweep, finished cells stand in ``_unsorted/``, in files that come whole or not at all and are never
changed.  ``_outside.parquet`` keeps cells of earlier grids.  Nothing is removed before all that it
holds is on the disk somewhere else; a cell that is found twice is the same twice.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from sim.options import OptionError
from sim.sweep.table import put, read_rows, write_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from sim.sweep.table import Row
    from sim.sweep.work import Line

CELLS, OUTSIDE, UNSORTED, FAILED = "cells.parquet", "_outside.parquet", "_unsorted", "_failed.jsonl"
FLUSH_S = 1.0
FLUSH_CELLS = 2000


class Store:
    """Keeps rows by key.

    Parameters
    ----------
    folder : Path
        Made where it is not there; locked by `opened`, which is the way to get a store.

    Attributes
    ----------
    done : set of str
        Keys of the cells that are kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._sources: dict[str, tuple[Path, int]] = {}
        self._pending: list[Line] = []
        self._flushed = time.monotonic()
        self._next = 0
        for scratch in (*folder.glob(".*.tmp"), *(folder / UNSORTED).glob(".*.tmp")):
            scratch.unlink()  # of a process that was killed
        for inputs in folder.glob(".inputs-*"):
            shutil.rmtree(inputs, ignore_errors=True)
        for name in (OUTSIDE, CELLS):
            if (folder / name).exists():
                self._find_rows(folder / name)
        for path in sorted((folder / UNSORTED).glob("*.jsonl")):
            self._find_lines(path)
            self._next = int(path.stem) + 1

    @property
    def path(self) -> Path:
        """Where the sorted rows are, or will be."""
        return self.folder / CELLS

    @property
    def done(self) -> set[str]:
        """Keys of the cells that are kept."""
        return set(self._sources)

    def keep(self, line: Line) -> None:
        """Keep the row of a cell that is finished; it is safe after the next `flush`."""
        self._pending.append(line)
        late = time.monotonic() - self._flushed >= FLUSH_S
        if late or len(self._pending) >= FLUSH_CELLS:
            self.flush()

    def flush(self) -> None:
        """Put what is pending on the disk.

        Raises
        ------
        OptionError
            If it cannot be written; it stays pending.
        """
        with _told(self.folder):
            self._flush()

    def _flush(self) -> None:
        self._flushed = time.monotonic()
        if not self._pending:
            return
        folder = self.folder / UNSORTED
        folder.mkdir(exist_ok=True)
        path = folder / f"{self._next:08d}.jsonl"
        scratch = folder / f".{path.name}.tmp"
        scratch.write_text("".join(line.text + "\n" for line in self._pending), "utf-8")
        put(scratch, path)
        self._next += 1
        self._find_lines(path)
        self._pending = []

    def sort(self, keys: Sequence[str], metadata: Mapping[str, str]) -> int:
        """Write the rows of these keys, as far as they are kept, to `path`, in this order.

        Returns
        -------
        int
            How many rows are kept that are not among the keys.

        Raises
        ------
        OptionError
            If they cannot be written; nothing that is on the disk is lost.
        """
        with _told(self.folder):
            return self._sort(keys, metadata)

    def _sort(self, keys: Sequence[str], metadata: Mapping[str, str]) -> int:
        self._flush()
        wanted = set(keys)
        outside = self.done - wanted
        path = self.folder / OUTSIDE
        there = set(self._keys(path)) if path.exists() else set()
        if outside - there:
            # What comes back into the grid stays in there too: it is not yet anywhere else.
            write_rows(path, sorted(outside | there), self.rows, metadata)
            self._find_rows(path)
        kept = [key for key in keys if key in self._sources]
        if kept:
            write_rows(self.path, kept, self.rows, metadata)
        else:
            self.path.unlink(missing_ok=True)
        for path in (self.folder / UNSORTED).glob("*.jsonl"):
            path.unlink()
        with suppress(OSError):
            (self.folder / UNSORTED).rmdir()
        self._sources = {}
        for name in (OUTSIDE, CELLS):
            if (self.folder / name).exists():
                self._find_rows(self.folder / name)
        return len(outside)

    def rows(self, keys: Sequence[str]) -> list[Row]:
        """Return the rows of some keys, in their order."""
        by_file: dict[Path, dict[str, int]] = {}
        for key in keys:
            path, place = self._sources[key]
            by_file.setdefault(path, {})[key] = place
        found: dict[str, Row] = {}
        for path, places in by_file.items():
            if path.suffix == ".parquet":
                found |= read_rows(path, places)
                continue
            with path.open("rb") as file:
                for key, place in places.items():
                    file.seek(place)
                    found[key] = json.loads(file.readline())
        return [found[key] for key in keys]

    def keep_failures(self, failures: Sequence[Mapping[str, Any]]) -> None:
        """Write what failed, a JSON object a line, in place of what failed before."""
        path = self.folder / FAILED
        if not failures:
            path.unlink(missing_ok=True)
            return
        scratch = path.with_name(f".{path.name}.tmp")
        with _told(self.folder):
            scratch.write_text("".join(json.dumps(f) + "\n" for f in failures), "utf-8")
            put(scratch, path)

    def clear(self) -> None:
        """Remove all that is kept."""
        for path in (*(self.folder / n for n in (CELLS, OUTSIDE, FAILED)),
                     *(self.folder / UNSORTED).glob("*.jsonl")):  # fmt: skip
            path.unlink(missing_ok=True)
        self._sources = {}

    def _find_rows(self, path: Path) -> None:
        self._sources |= {key: (path, row) for row, key in enumerate(self._keys(path))}

    def _keys(self, path: Path) -> list[str]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            keys: list[str] = pq.read_table(path, columns=["key"])["key"].to_pylist()
        except (pa.ArrowException, KeyError, OSError) as error:
            raise OptionError(
                f"{path}: not the results of a sweep ({str(error).splitlines()[0]}); name another "
                "folder"
            ) from None
        return keys

    def _find_lines(self, path: Path) -> None:
        place = 0
        for line in path.read_bytes().splitlines(keepends=True):
            self._sources[json.loads(line)["key"]] = (path, place)
            place += len(line)


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Say what is to be done when a disk is full, or a folder is gone."""
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error).splitlines()[0]
        raise OptionError(
            f"{folder} cannot be written ({why}); what is there is whole: make room, then go on "
            "with --resume"
        ) from None


@contextmanager
def opened(folder: Path) -> Iterator[Store]:
    """Open the store in a folder for this process alone.

    Raises
    ------
    OptionError
        If another process has it, or what is there is not a sweep's.
    OSError
        If the folder cannot be made or written.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(20, "is a file, expected a folder", str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    # Never removed: whoever waits for a lock on a removed file would share the folder.
    file = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _lock(file, folder)
        store = Store(folder)
        try:
            yield store
        finally:
            store.flush()
    finally:
        os.close(file)


def _lock(file: int, folder: Path) -> None:
    """Keep other sweeps off the folder; the system lets go when the process ends, however."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(file, 32).decode(errors="replace").strip()
        raise OptionError(
            f"{folder} is in use by another sweep (process {owner or 'unknown'}): wait for its "
            "end, or name another --out"
        ) from None
    except OSError:  # a file system without locks
        return
    os.ftruncate(file, 0)
    os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
