"""Where a baseline is from: a file, or another version of the code."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sim.check.baseline import read_baseline
from sim.options import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sim.check.asked import Asked
    from sim.check.baseline import Baseline
    from sim.check.gate import Bar, Reference

GIT = "git:"


@contextmanager
def opened_reference(asked: Asked, needed: bool, bar: Bar) -> Iterator[tuple[Reference, str, str]]:
    """Yield where the baseline is from, what it is called, and how it gets more seeds.

    Parameters
    ----------
    asked : Asked
    needed : bool
        Whether any guard compares with a baseline.
    bar : callable
        Shows that something is under way.

    Raises
    ------
    OptionError
        If there is none, or not what was asked for.
    """
    if asked.against is None or not needed:
        yield _stored(asked, needed)
        return
    if asked.baseline is not None:
        raise OptionError(
            f"--baseline {asked.baseline} has no effect with --against {asked.against}: leave it "
            "out"
        )
    if not asked.against.startswith(GIT) or asked.against == GIT:
        raise OptionError(f"--against {asked.against}: expected {GIT}REV, such as {GIT}main")
    from sim.check.against import other_version

    made: dict[int, Baseline] = {}
    flags = [word for name in asked.only for word in ("--only", name)]
    flags += [] if asked.jobs == -1 else ["--jobs", str(asked.jobs)]
    with (
        tempfile.TemporaryDirectory(prefix="saber-check-") as folder,
        other_version(asked.against.removeprefix(GIT), asked.suite) as other,
    ):

        def measured(seeds: int) -> Baseline:
            if seeds not in made:
                path = Path(folder) / "baseline.json"
                with bar(f"measuring {other.label}", None):
                    other.make_baseline(path, seeds, flags)
                made[seeds] = read_baseline(path)
            return made[seeds]

        yield measured, other.label, "it could not be given more"


def _stored(asked: Asked, needed: bool) -> tuple[Reference, str, str]:
    path = asked.baseline_path
    if not needed:
        return (lambda seeds: {}), "", ""
    if not path.is_file():
        raise OptionError(f"{path}: there is no baseline: make one with {asked.updating}")
    held = read_baseline(path)
    remedy = f"with the version it was made with, run {asked.updating} --seeds {{seeds}}"
    return (lambda seeds: held), "the baseline", remedy
