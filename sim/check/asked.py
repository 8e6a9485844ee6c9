"""What a user asked of a check."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Asked:
    """What a user asked for; None is what the suite says, or the default.

    Attributes
    ----------
    suite : Path
        The file.
    baseline : Path or None
        Where the baseline is, beside the suite by default.
    against : str or None
        Another version, ``git:REV``.
    only : tuple of str
        Scenarios; all of them when empty.
    seeds, max_seeds : int or None
        In place of the suite's.
    jobs, backend, address
        As `sim.sweep.pools.opened_pool` takes them.
    """

    suite: Path
    baseline: Path | None = None
    against: str | None = None
    only: tuple[str, ...] = ()
    seeds: int | None = None
    max_seeds: int | None = None
    jobs: int = -1
    backend: str = "loky"
    address: str | None = None

    @property
    def baseline_path(self) -> Path:
        """Where the baseline is."""
        return self.baseline or self.suite.with_suffix(".baseline.json")

    def command(self, *flags: str) -> str:
        """Return the command line that asks for this; `flags` are added to it."""
        words = ["saber", "check", str(self.suite)]
        for flag, value in (
            ("--baseline", self.baseline),
            ("--against", self.against),
            ("--seeds", self.seeds),
            ("--max-seeds", self.max_seeds),
            *(("--only", name) for name in self.only),
        ):
            words += [] if value is None else [flag, str(value)]
        return shlex.join([*words, *flags])

    @property
    def updating(self) -> str:
        """The command line that brings the baseline up to date."""
        plain = replace(self, seeds=None, max_seeds=None, against=None)
        return plain.command("--update-baseline")
