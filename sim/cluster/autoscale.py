"""Autoscaling: who says how many replicas, within which bounds, and how fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.options import OptionError, seconds, whole_number

if TYPE_CHECKING:
    from policies.scaling import Scaler


@dataclass(frozen=True)
class Autoscale:
    """How the number of replicas follows the load.

    Attributes
    ----------
    scaler : Scaler
        Says how many replicas a load asks for; looked up once every `interval_s`.
    max_replicas, min_replicas : int
        Bounds on those that take requests or start.
    interval_s : float
        Seconds between looks.
    up_cooldown_s, down_cooldown_s : float
        After a change, no change in this direction for so long.
    """

    scaler: Scaler
    max_replicas: int
    min_replicas: int = 1
    interval_s: float = 15.0
    up_cooldown_s: float = 0.0
    down_cooldown_s: float = 300.0

    def __post_init__(self) -> None:
        if not callable(getattr(self.scaler, "desired", None)):
            raise OptionError(
                f"scaler={self.scaler!r}: expected a scaler, see policies.scalers.make_scaler(text)"
            )
        for name, least in (("min_replicas", 0), ("max_replicas", 1)):
            object.__setattr__(self, name, whole_number(name, getattr(self, name), least))
        if self.max_replicas < self.min_replicas:
            raise OptionError(
                f"max_replicas={self.max_replicas} is below min_replicas={self.min_replicas}"
            )
        seconds("interval_s", self.interval_s, above=0)
        seconds("up_cooldown_s", self.up_cooldown_s)
        seconds("down_cooldown_s", self.down_cooldown_s)
