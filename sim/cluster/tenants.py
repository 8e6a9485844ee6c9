"""Tenants: who shares a cluster, and how much of it each may hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor

from sim.options import OptionError, whole_number

EXACT = 1e-9
"""What rounding may take from a share: three of 0.1 share 30 requests as three tens."""


@dataclass(frozen=True)
class Tenants:
    """A cap on what each tenant may have in the cluster at once.

    Attributes
    ----------
    shares : mapping of str to float
        Weights by tenant label; a tenant of the trace that is not named has no cap.
    max_requests : int
        Requests all named tenants together may have in the cluster.  A tenant whose share of it
        is used up is refused at the door, like HTTP 429.
    """

    shares: Mapping[str, float]
    max_requests: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_requests", whole_number("max_requests", self.max_requests, 1))
        if not isinstance(self.shares, Mapping):
            raise OptionError(
                f"tenant shares {self.shares!r}: expected a mapping such as {{'a': 3, 'b': 1}}"
            )
        if not self.shares or any(
            isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1e9
            for share in self.shares.values()
        ):
            raise OptionError(f"tenant shares {dict(self.shares)!r}: expected weights above 0")

    def caps(self) -> dict[str, int]:
        """Return the most requests each named tenant may have in the cluster, at least one."""
        total = sum(self.shares.values())
        return {
            name: max(1, floor(self.max_requests * share / total + EXACT))
            for name, share in self.shares.items()
        }


def parse_shares(text: str) -> dict[str, float]:
    """Return ``{"a": 3.0, "b": 1.0}`` for ``a=3,b=1``.

    Raises
    ------
    OptionError
        For anything else, or a name given twice.
    """
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, weight = (word.strip() for word in part.partition("="))
        try:
            value = float(weight)
        except ValueError:
            raise OptionError(f"tenants {text!r}: expected NAME=WEIGHT at {part!r}") from None
        if not name or name in shares:
            raise OptionError(f"tenants {text!r}: expected each name once, at {part!r}")
        shares[name] = value
    return shares
