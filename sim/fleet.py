"""What a cluster is made of: kinds of replicas, how many of each, and what they cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from calibrate.profile import Profile
from sim.options import OptionError, whole_number

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Replica:
    """Equal replicas.

    Attributes
    ----------
    profile : Profile
        What each runs on; several GPUs under one tensor-parallel engine are one profile.
    count : int
        How many.
    price_per_h : float or None
        What one costs an hour, in any currency; None is not known.
    """

    profile: Profile
    count: int = 1
    price_per_h: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "count", whole_number("count", self.count, 1))
        price = self.price_per_h
        if price is not None and not (
            isinstance(price, int | float) and not isinstance(price, bool) and 0 <= price < math.inf
        ):
            raise OptionError(f"price_per_h={price!r}: expected a number of at least 0")


def fleet_of(profile: Profile | Sequence[Replica], replicas: int) -> tuple[Replica, ...]:
    """Return the kinds of replicas that `simulate` was given.

    Raises
    ------
    OptionError
        For anything but a profile, or replicas with counts of their own.
    """
    if isinstance(profile, Profile):
        return (Replica(profile, replicas),)
    kinds = tuple(profile) if isinstance(profile, list | tuple) else ()
    if not kinds or not all(
        isinstance(kind, Replica) and isinstance(kind.profile, Profile) for kind in kinds
    ):
        raise OptionError(
            f"profile is a {type(profile).__name__}: expected a Profile, see "
            "calibrate.load_profile(name or path), or a list of sim.Replica"
        )
    if replicas != 1:
        raise OptionError(
            f"replicas={replicas} beside a list of replicas: expected their own counts, "
            "Replica(profile, count)"
        )
    return kinds


def describe(kinds: Sequence[Replica]) -> str:
    """Return the fleet in a few words, the profile's name where there is one kind."""
    if len(kinds) == 1:
        return kinds[0].profile.name
    return ", ".join(f"{kind.profile.name}*{kind.count}" for kind in kinds)
