"""What has been measured so far, in a file that survives being killed at any moment."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import astuple
from typing import TYPE_CHECKING, Any, TextIO

from calibrate.schema import ProfileError
from calibrate.steps import Measurement, Step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

VERSION = 1


class Partial:
    """Measurements, appended to a file line by line as they are made.

    The first line says what is measured; each other one holds a fact about the device or the
    samples of one step in one round. A line that a kill tore is dropped when the file is read.

    Parameters
    ----------
    path : Path
    task : mapping
        What is measured: model, device, dtype, grid. Results of another task are refused.
    resume : bool
        Whether to go on with what the file holds; without a file there is nothing to go on with,
        and a new one is begun.

    Raises
    ------
    ProfileError
        If there is a file and `resume` is False, or it holds another task, or no measurements, or
        another run is writing it; later when a measurement cannot be written.
    """

    def __init__(self, path: Path, task: Mapping[str, Any], *, resume: bool) -> None:
        self.path = path
        self.facts: dict[str, Any] = {}
        self._samples: dict[Step, dict[int, tuple[float, ...]]] = {}
        self._problems: dict[Step, str] = {}
        self._file = path.open("a", encoding="utf-8")
        try:
            _lock(self._file, path)
            if path.stat().st_size:
                if not resume:
                    raise ProfileError(
                        f"{path} holds measurements of a run that did not end: go on with "
                        "--resume, or remove the file"
                    )
                self._read(dict(task))
            if not path.stat().st_size:
                self._append({"version": VERSION, "task": dict(task)})
        except BaseException:
            self._close()
            raise

    def close(self, *, remove: bool) -> None:
        """Close the file; remove it where all in it has become a profile, or nothing is in it."""
        self._close()
        if remove or not (self._samples or self._problems):
            self.path.unlink(missing_ok=True)

    def keep_fact(self, name: str, value: Mapping[str, Any]) -> None:
        """Keep a fact about the device under a name; it is in `facts` from then on."""
        self.facts[name] = dict(value)
        self._append({"fact": name, "value": self.facts[name]})

    def keep_samples(self, step: Step, round_number: int, samples_s: Sequence[float]) -> None:
        """Keep the seconds of a step's repeats in one round."""
        self._samples.setdefault(step, {})[round_number] = tuple(samples_s)
        self._append({"step": astuple(step), "round": round_number, "samples_s": list(samples_s)})

    def keep_problem(self, step: Step, problem: str) -> None:
        """Keep why a step could not be run."""
        self._problems[step] = problem
        self._append({"step": astuple(step), "problem": problem})

    def has(self, step: Step, round_number: int) -> bool:
        """Whether nothing is left to do for a step in a round."""
        return step in self._problems or round_number in self._samples.get(step, {})

    def problem(self, step: Step) -> str:
        """Return why a step could not be run, or an empty text."""
        return self._problems.get(step, "")

    def too_large(self, step: Step) -> bool:
        """Whether the step is at least as large as one that could not be run."""
        return any(step.covers(failed) for failed in self._problems)

    def samples_by_round(self, step: Step) -> dict[int, tuple[float, ...]]:
        """Return the seconds of a step's repeats by round."""
        return dict(self._samples.get(step, {}))

    def measurements(self, steps: Sequence[Step]) -> list[Measurement]:
        """Return what is known of `steps`, in their order, without those not reached yet."""
        found = []
        for step in steps:
            rounds = self._samples.get(step, {})
            samples_s = tuple(s for number in sorted(rounds) for s in rounds[number])
            if samples_s:
                found.append(Measurement(step, samples_s))
            elif step in self._problems:
                found.append(Measurement(step, problem=self._problems[step]))
        return found

    def _append(self, entry: Mapping[str, Any]) -> None:
        try:
            self._file.write(json.dumps(entry) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())  # a power cut, too, costs one step at most
        except OSError as error:
            raise ProfileError(
                f"{self.path}: cannot keep a measurement: {error.strerror}; make room and go on "
                "with --resume"
            ) from None

    def _close(self) -> None:
        # What could not be written cannot be flushed either, and has been said.
        with suppress(OSError):
            self._file.close()

    def _read(self, task: dict[str, Any]) -> None:
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
                self._take(entry)
            except (KeyError, TypeError, ValueError, OverflowError):
                raise ProfileError(
                    f"{self.path}:{number}: not a measurement; remove the line or the file"
                ) from None

    def _entry(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict):
            raise ProfileError(
                f"{self.path}:{number}: not a measurement; remove the line or the file"
            )
        return entry

    def _take(self, entry: dict[str, Any]) -> None:
        if "fact" in entry:
            self.facts[entry["fact"]] = dict(entry["value"])
            return
        step = Step(*entry["step"])
        if "problem" in entry:
            self._problems[step] = str(entry["problem"])
        else:
            # Through Measurement, which refuses what is no time.
            samples_s = Measurement(step, tuple(map(float, entry["samples_s"]))).samples_s
            self._samples.setdefault(step, {})[int(entry["round"])] = samples_s

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
