"""Who takes part when all policies are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ALL = "all"
STATIC_SIZES = range(10, 101, 10)
"""Batch sizes that stand for a static policy: those of the SABER study."""


def lineup(text: str) -> list[str]:
    """Return the policies in a comma-separated list; ``all`` is every known one.

    Each with its defaults; "static" has none and takes part at `STATIC_SIZES`.

    Raises
    ------
    PolicyError
        For a list with a gap.
    """
    from policies.catalog import split_policies  # the command line must answer before it is loaded

    return [
        policy for name in split_policies(text) for policy in (_all() if name == ALL else [name])
    ]


def _all() -> Iterator[str]:
    from policies.catalog import POLICIES

    for name in POLICIES:
        if name == "static":
            yield from (f"static({size})" for size in STATIC_SIZES)
        else:
            yield name
