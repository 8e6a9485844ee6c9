"""What a cluster is made of: kinds of replicas, how many of each, and what they cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.options import OptionError, whole_number

if TYPE_CHECKING:
    from calibrate.profile import Profile


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
