"""A fixed batch size: every request goes straight to the engine, which serves first come first.

This is what an engine does without a policy in front of it; the batch limit is the engine's own
``max_num_seqs``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from policies.protocol import NOTHING, Choice, PolicyError
from policies.text import call_text

if TYPE_CHECKING:
    import numpy as np

    from calibrate.profile import Profile
    from policies.protocol import View


@dataclass(frozen=True)
class Static:
    """Release every request on arrival, at most ``max_num_seqs`` of them in one batch.

    Attributes
    ----------
    max_num_seqs : int
        Largest batch of the engine, vLLM's ``--max-num-seqs``.
    """

    max_num_seqs: int

    def __post_init__(self) -> None:
        if isinstance(self.max_num_seqs, bool) or not isinstance(self.max_num_seqs, int):
            raise PolicyError(
                f"static: max_num_seqs={self.max_num_seqs!r}: expected a whole number"
            )
        if self.max_num_seqs < 1:
            raise PolicyError(f"static: max_num_seqs={self.max_num_seqs}: expected at least 1")

    @property
    def label(self) -> str:
        """Canonical text of this policy."""
        return call_text("static", self)

    def start(self, rng: np.random.Generator, profile: Profile) -> PassThrough:
        """Return a decider that releases on arrival."""
        return PassThrough()


class PassThrough:
    """Releases each request when it arrives."""

    __slots__ = ()

    def decide(self, view: View) -> Choice:
        """Release the arrival, if there is one."""
        arrived = view.arrived
        return NOTHING if arrived is None else Choice((arrived.id,))
