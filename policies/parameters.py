"""What the parameters of routers and scalers may be, said in one line where they are not."""

from __future__ import annotations

from math import inf
from sys import float_info
from typing import TYPE_CHECKING

from policies.protocol import PolicyError

if TYPE_CHECKING:
    from collections.abc import Sequence


def check_whole(owner: str, name: str, value: object, at_least: int) -> None:
    """Raise a PolicyError unless a parameter is a whole number of at least `at_least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise PolicyError(
            f"{owner}: {name}={value!r}: expected a whole number of at least {at_least}"
        )


def check_number(
    owner: str,
    name: str,
    value: object,
    *,
    above: float = -inf,
    at_least: float = -inf,
    at_most: float = float_info.max,
) -> None:
    """Raise a PolicyError unless a parameter is a finite number within bounds."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not (above < value and at_least <= value <= at_most)
    ):
        low = f"above {above:g}" if above > -inf else f"of at least {at_least:g}"
        high = f" and at most {at_most:g}" if at_most < float_info.max else ""
        raise PolicyError(f"{owner}: {name}={value!r}: expected a number {low}{high}")


def check_word(owner: str, name: str, value: object, allowed: Sequence[str]) -> None:
    """Raise a PolicyError unless a parameter is one of these words."""
    if value not in allowed:
        raise PolicyError(f"{owner}: {name}={value!r}: expected {', '.join(allowed)}")
