"""Earliest deadline first, in front of an engine with a fixed batch size."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

from policies.parameters import check_whole
from policies.text import call_text
from policies.waiting import Ordered

if TYPE_CHECKING:
    import numpy as np

    from calibrate.profile import Profile


@dataclass(frozen=True)
class Edf:
    """Release the request with the earliest deadline whenever a seat is free.

    C. Liu and J. Layland, "Scheduling Algorithms for Multiprogramming in a Hard-Real-Time
    Environment", J. ACM 20 (1973): on one machine that may be preempted, and if all deadlines can
    be met, it meets them all.  Requests without a deadline come last, equals in order of arrival.

    What it cannot do: give up.  Past saturation those that are about to miss their deadlines, or
    have missed them, go first, and whoever they delay misses as well (the domino effect: C. Locke,
    "Best-Effort Decision Making for Real-Time Scheduling", 1986).  Nor does it look at how much
    work a request is, or take back a seat it gave.

    Attributes
    ----------
    max_num_seqs : int
        Largest batch, of the engine too.
    """

    max_num_seqs: int = 32

    def __post_init__(self) -> None:
        check_whole("edf", "max_num_seqs", self.max_num_seqs, 1)

    @property
    def label(self) -> str:
        """Canonical text of this policy."""
        return call_text("edf", self)

    def start(self, rng: np.random.Generator, profile: Profile) -> Ordered:
        """Return a decider with an empty queue."""
        return Ordered(attrgetter("deadline_ps"), self.max_num_seqs)
