"""The error of this package, and the wording its messages share."""

from __future__ import annotations

import math
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class TraceError(ValueError):
    """A trace, or what was asked of one, is wrong; the message is one line for the user."""


def unknown(kind: str, given: str, known: Iterable[str]) -> TraceError:
    """Return the error for a name nobody knows: with the nearest match and all known names."""
    names = list(known)
    folded = {name.lower(): name for name in names}
    close = get_close_matches(given.lower(), folded, n=1, cutoff=0.5)
    hint = f"; did you mean {folded[close[0]]!r}?" if close else ""
    return TraceError(f"unknown {kind} {given!r}; expected {' | '.join(names) or 'none'}{hint}")


def brief(value: object) -> str:
    """Return `value` as it was written, cut to a length that fits one line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def positive(name: str, value: float | None) -> float:
    """Return `value`; raise a `TraceError` that names it where it is not finite and above 0."""
    if value is None or not (math.isfinite(value) and value > 0):
        raise TraceError(f"{name} is {value}; expected a finite number above 0")
    return value
