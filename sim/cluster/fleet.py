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


@dataclass(frozen=True)
class Kind:
    """One part of a fleet's text: ``NAME*COUNT@PRICE``, the last two where they were given."""

    name: str
    count: int | None
    price_per_h: float | None

    @property
    def text(self) -> str:
        """What to write to get it."""
        count = "" if self.count is None else f"*{self.count}"
        return self.name + count + ("" if self.price_per_h is None else f"@{self.price_per_h:g}")


def parse_fleet(text: str) -> tuple[Kind, ...]:
    """Return the kinds of replicas that ``A*2@1.20, B*4`` lists.

    Parameters
    ----------
    text : str
        Profiles by name or path, with commas; each may say how many replicas and what one costs
        an hour.

    Raises
    ------
    OptionError
        In one line, for anything else.
    """
    return tuple(_kind(part.strip(), text) for part in text.split(","))


def _kind(part: str, text: str) -> Kind:
    named, at, price = (word.strip() for word in part.partition("@"))
    name, star, count = (word.strip() for word in named.partition("*"))
    if not name or (star and not (count.isdigit() and int(count))):
        raise OptionError(f"profile {text!r}: expected NAME, NAME*COUNT or NAME*COUNT@PRICE")
    try:
        per_h = float(price) if at else None
    except ValueError:
        raise OptionError(f"profile {text!r}: {price!r}: expected a price an hour") from None
    return Kind(name, int(count) if star else None, per_h)


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
