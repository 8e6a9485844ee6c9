"""Files that are there whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.sweep.table import put

if TYPE_CHECKING:
    from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a text file, or replace it, in one step.

    Raises
    ------
    OSError
        If it cannot be written; what was there stays.
    """
    scratch = path.with_name(f".{path.name}.tmp")
    try:
        scratch.write_text(text, "utf-8", newline="\n")
        put(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)
