"""What has been measured so far, in a file that survives being killed at any moment."""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from calibrate.journal import Journal
from calibrate.steps import Measurement, Step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


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
        self._journal = Journal(path, task, resume=resume, take=self._take)

    def close(self, *, remove: bool) -> None:
        """Close the file; remove it where all in it has become a profile, or nothing is in it."""
        self._journal.close(remove=remove or not (self._samples or self._problems))

    def keep_fact(self, name: str, value: Mapping[str, Any]) -> None:
        """Keep a fact about the device under a name; it is in `facts` from then on."""
        self.facts[name] = dict(value)
        self._journal.append({"fact": name, "value": self.facts[name]})

    def keep_samples(self, step: Step, round_number: int, samples_s: Sequence[float]) -> None:
        """Keep the seconds of a step's repeats in one round."""
        self._samples.setdefault(step, {})[round_number] = tuple(samples_s)
        self._journal.append(
            {"step": astuple(step), "round": round_number, "samples_s": list(samples_s)}
        )

    def keep_problem(self, step: Step, problem: str) -> None:
        """Keep why a step could not be run."""
        self._problems[step] = problem
        self._journal.append({"step": astuple(step), "problem": problem})

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
