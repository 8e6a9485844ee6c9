"""What a check found: a finding for each guard, and what they come to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sim.check.guard import Guard

State = Literal["pass", "fail", "inconclusive", "skipped", "incomplete"]

PASSED, REGRESSION, BAD_INPUT, INCONCLUSIVE, INTERRUPTED = 0, 1, 2, 3, 130


@dataclass(frozen=True)
class Finding:
    """What was found of one guard.

    Attributes
    ----------
    guard : Guard
        Which.
    state : {"pass", "fail", "inconclusive", "skipped", "incomplete"}
        "skipped" with its scenario; "incomplete" if the check was interrupted before.
    seeds : int
        How many it was judged by, or how many are there.
    reference, candidate : float or None
        Means over the seeds that both have.
    low, high : float or None
        Interval of the mean change, candidate less reference; all verdicts of a suite hold
        together with its confidence.
    needed : int or None
        Where it is inconclusive: about how many seeds would settle it, if that can be said.
    reason : str
        What there is to say besides the numbers; empty where they say it all.
    broken : bool
        Whether a run failed, so that there are no numbers.
    """

    guard: Guard
    state: State
    seeds: int = 0
    reference: float | None = None
    candidate: float | None = None
    low: float | None = None
    high: float | None = None
    needed: int | None = None
    reason: str = ""
    broken: bool = False

    @property
    def change(self) -> float | None:
        """Mean change, candidate less reference."""
        if self.reference is None or self.candidate is None:
            return None
        return self.candidate - self.reference


@dataclass(frozen=True)
class Report:
    """What a check found.

    Attributes
    ----------
    suite : Path
        The file.
    findings : tuple of Finding
        In the order of the suite.
    skipped : mapping of str to str
        Scenarios that were left out, and why.
    reference : str
        What "baseline" stands for; empty where nothing is compared with it.
    confidence : float
        With which all verdicts hold together.
    versions : mapping of str to str
        Of what was checked.
    reference_versions : tuple of mapping
        Of what the baseline was made with; several where its scenarios differ.
    command : str
        That makes this check again.
    wall_s : float
        What it took [s].
    interrupted : bool
        Whether it was stopped before its end.
    """

    suite: Path
    findings: tuple[Finding, ...]
    skipped: Mapping[str, str]
    reference: str
    confidence: float
    versions: Mapping[str, str]
    reference_versions: tuple[Mapping[str, str], ...]
    command: str
    wall_s: float
    interrupted: bool = False

    def count(self, state: State) -> int:
        """Return how many guards are in a state."""
        return sum(finding.state == state for finding in self.findings)

    @property
    def outcome(self) -> State:
        """What it comes to: a regression weighs most; "skipped" if nothing was judged."""
        states: tuple[State, ...] = ("fail", "incomplete", "inconclusive", "pass")
        found = {finding.state for finding in self.findings}
        return next((state for state in states if state in found), "skipped")

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        if self.interrupted:
            return INTERRUPTED
        codes = {"pass": PASSED, "fail": REGRESSION, "skipped": BAD_INPUT}
        return codes.get(self.outcome, INCONCLUSIVE)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "outcome": self.outcome,
            "exit_code": self.exit_code,
            "interrupted": self.interrupted,
            "suite": str(self.suite),
            "reference": self.reference or None,
            "confidence": self.confidence,
            "guards": [
                {
                    **asdict(finding.guard),
                    "name": finding.guard.name,
                    "outcome": finding.state,
                    "seeds": finding.seeds,
                    "reference": finding.reference,
                    "candidate": finding.candidate,
                    "change": {"mean": finding.change, "low": finding.low, "high": finding.high},
                    "needed_seeds": finding.needed,
                    "reason": finding.reason or None,
                }
                for finding in self.findings
            ],
            "skipped": [{"scenario": name, "reason": why} for name, why in self.skipped.items()],
            "versions": self.versions,
            "reference_versions": list(self.reference_versions),
            "command": self.command,
            "wall_s": self.wall_s,
        }
