"""A guard: what must not get worse, and by how much it may."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

Better = Literal["higher", "lower", "same"]
"""Which direction of a metric is good; ``same`` guards against any change."""

BASELINE = "baseline"
"""What a guard compares with, unless it names a policy or a number."""

MOST = 1e15
"""More than any number of a run; sums of squares of such have room in a float."""


@dataclass(frozen=True)
class Guard:
    """One promise about one metric of one policy in one scenario.

    With r what is compared with, by seed, and c the candidate's value: the mean of c may be worse
    than that of r by `tolerance`, or must be better by `at_least`.

    Attributes
    ----------
    scenario, policy : str
        What is guarded: the scenario's name, the policy's canonical text.
    metric : str
        Path of a number in `Result.summary`, such as ``goodput_pct``, ``ttft_s.p99``.
    better : {"higher", "lower", "same"}
        Which direction is good.
    against : str
        "baseline", the canonical text of a policy of the same scenario, or "number".
    number : float or None
        What is compared with where `against` is "number".
    tolerance : float
        By how much it may be worse, at least 0.
    at_least : float
        By how much it must be better, at least 0; beside a tolerance of 0.
    relative : bool
        Whether `tolerance` and `at_least` are shares of the mean of r (0.02 is 2 %) and not in the
        metric's unit.
    """

    scenario: str
    policy: str
    metric: str
    better: Better
    against: str = BASELINE
    number: float | None = None
    tolerance: float = 0.0
    at_least: float = 0.0
    relative: bool = False

    @property
    def name(self) -> str:
        """What it is called in every report, unique in a suite."""
        if self.against == BASELINE:
            return f"{self.metric} of {self.policy}"
        against = self.against if self.number is None else f"{self.number:.15g}"
        return f"{self.metric} of {self.policy} against {against}"

    def slacks(self, candidate: Numbers, reference: Numbers) -> tuple[Numbers, ...]:
        """Return what has to be at least 0 on the mean over seeds for the guard to hold.

        Parameters
        ----------
        candidate, reference : ndarray, shape (seeds,)
            Paired by seed.

        Returns
        -------
        tuple of ndarray
            One requirement, or two where `better` is "same"; each of shape (seeds,).

        Notes
        -----
        A relative tolerance stays linear in the values of a seed, so that the mean slack is at
        least 0 exactly if the ratio of the means is within the tolerance.  Where no seed differs,
        how its values scatter says nothing, and every seed has the mean's room.
        """
        gain = candidate - reference
        unit = np.abs(reference) if self.relative else np.ones_like(reference)
        if not gain.any():
            unit = np.full_like(unit, unit.mean())
        room = (self.tolerance - self.at_least) * unit
        if self.better == "higher":
            return (gain + room,)
        if self.better == "lower":
            return (room - gain,)
        return gain + room, room - gain
