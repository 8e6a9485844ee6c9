"""What cells share: traces and profiles, read once and known by their content."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sim.options import OptionError

if TYPE_CHECKING:
    from pathlib import Path

    from calibrate.profile import Profile
    from traces.request import Trace

DIGITS = 20
"""Hexadecimal digits of a digest: 80 bits, so that millions of cells do not meet by chance."""


def digest_of(value: Any) -> str:
    """Return a digest of a value in JSON's types, the same on every machine."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


class Inputs:
    """Reads what a grid names, each file once.

    Parameters
    ----------
    folder : Path
        Where files are looked for.

    Attributes
    ----------
    objects : dict of str to Trace or Profile
        What has been read, by digest of its content.
    """

    def __init__(self, folder: Path) -> None:
        self.objects: dict[str, Trace | Profile] = {}
        self._folder = folder
        self._digests: dict[tuple[Any, ...], str] = {}

    def profile(self, name: str) -> str:
        """Return the digest of a profile: a file beside the grid, or what `load_profile` finds.

        Raises
        ------
        ProfileError
            If there is none.
        """
        if (name,) not in self._digests:
            from calibrate.library import load_profile

            beside = self._folder / name
            profile = load_profile(beside if beside.is_file() else name)
            digest = digest_of(profile.to_dict())
            self.objects[digest] = profile
            self._digests[(name,)] = digest
        return self._digests[(name,)]

    def trace(self, name: str, *, skip_bad: bool, without_times: bool) -> str:
        """Return the digest of a trace file.

        Parameters
        ----------
        name : str
            The file.
        skip_bad : bool
            Drop rows that cannot be read.
        without_times : bool
            Whether arrivals are to be drawn; a file with times of its own is refused then.

        Raises
        ------
        OptionError, TraceError
            If it cannot be read like this.
        """
        read = (name, skip_bad, without_times)
        if read not in self._digests:
            from traces.formats import load

            path = self._folder / name
            if not path.is_file():
                raise OptionError(f"trace = {name!r}: there is no file {path}")
            # Any rate will do: every cell draws its own arrivals.
            trace = load(path, skip_bad=skip_bad, rps=1.0 if without_times else None)
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest = digest_of([content, *read[1:]])
            # What is known of its origin is no part of a cell and may hold paths of this machine.
            self.objects[digest] = trace.replace(meta={})
            self._digests[read] = digest
        return self._digests[read]

    @cached_property
    def version(self) -> str:
        """The package's version: another one may give other numbers."""
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("sabersim")
        except PackageNotFoundError:
            return "source"
