"""A file that grows line by line, and survives being killed at any moment."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

from calibrate.schema import ProfileError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

VERSION = 1


class Journal:
    """JSON objects, appended to a file one a line; the first line says what is measured.

    A line that a kill tore is dropped when the file is read.

    Parameters
    ----------
    path : Path
    task : mapping
        What is measured. The lines of another task are refused.
    resume : bool
        Whether to go on with what the file holds; without a file there is nothing to go on with,
        and a new one is begun.
    take : callable
        Given each line that the file holds already; KeyError, TypeError, ValueError or
        OverflowError for one that it cannot use.

    Raises
    ------
    ProfileError
        If there is a file and `resume` is False, or it holds another task, or no measurements, or
        another run is writing it; later when a line cannot be written.
    """

    def __init__(
        self,
        path: Path,
        task: Mapping[str, Any],
        *,
        resume: bool,
        take: Callable[[dict[str, Any]], None],
    ) -> None:
        self.path = path
        self._file = path.open("a", encoding="utf-8")
        try:
            _lock(self._file, path)
            if path.stat().st_size:
                if not resume:
                    raise ProfileError(
                        f"{path} holds measurements of a run that did not end: go on with "
                        "--resume, or remove the file"
                    )
                self._read(dict(task), take)
            if not path.stat().st_size:
                self.append({"version": VERSION, "task": dict(task)})
        except BaseException:
            self.close(remove=False)
            raise

    def append(self, *entries: Mapping[str, Any]) -> None:
        """Write lines; they are on the disk when this returns."""
        try:
            self._file.writelines(json.dumps(entry) + "\n" for entry in entries)
            self._file.flush()
            os.fsync(self._file.fileno())  # a power cut, too, costs what follows at most
        except OSError as error:
            raise ProfileError(
                f"{self.path}: cannot keep a measurement: {error.strerror}; make room and go on "
                "with --resume"
            ) from None

    def close(self, *, remove: bool) -> None:
        """Close the file; remove it where it is of no use any more."""
        # What could not be written cannot be flushed either, and has been said.
        with suppress(OSError):
            self._file.close()
        if remove:
            self.path.unlink(missing_ok=True)

    def _read(self, task: dict[str, Any], take: Callable[[dict[str, Any]], None]) -> None:
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise ProfileError(f"{self.path}: cannot read it: {error.strerror}") from None
        whole = content[: content.rfind(b"\n") + 1]
        entries = [self._entry(number, line) for number, line in enumerate(whole.splitlines(), 1)]
        if len(whole) < len(content):
            os.truncate(self.path, len(whole))
        if not entries:
            return
        head, *rest = entries
        if head.get("version") != VERSION or not isinstance(head.get("task"), dict):
            raise ProfileError(f"{self.path}:1: not a file of partial measurements; remove it")
        self._refuse_another(head["task"], json.loads(json.dumps(task)))
        for number, entry in enumerate(rest, start=2):
            try:
                take(entry)
            except (KeyError, TypeError, ValueError, OverflowError):
                raise self._not_one(number) from None

    def _entry(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict):
            raise self._not_one(number)
        return entry

    def _not_one(self, number: int) -> ProfileError:
        return ProfileError(f"{self.path}:{number}: not a measurement; remove the line or the file")

    def _refuse_another(self, kept: dict[str, Any], task: dict[str, Any]) -> None:
        ours, theirs = _flat(task), _flat(kept)
        for name in {**ours, **theirs}:
            if theirs.get(name) != ours.get(name):
                raise ProfileError(
                    f"{self.path} was measured with {name} {_shown(theirs.get(name))}, this run "
                    f"has {_shown(ours.get(name))}: repeat the first run's options, or remove "
                    "the file"
                )


def _lock(file: TextIO, path: Path) -> None:
    """Keep other runs off the file until it is closed; where a system can."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ProfileError(
            f"{path} is in use by another run: wait for its end, or name another --out"
        ) from None
    except OSError:  # a file system without locks
        return


def _flat(task: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of nested objects by their path, in their order."""
    flat: dict[str, Any] = {}
    for name, value in task.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{key}": inner for key, inner in _flat(value).items()}
        else:
            flat[name] = value
    return flat


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
