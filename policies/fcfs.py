"""First come, first served: what an engine does that nobody configured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from policies.parameters import check_whole
from policies.static import PassThrough
from policies.text import call_text

if TYPE_CHECKING:
    import numpy as np

    from calibrate.profile import Profile


@dataclass(frozen=True)
class Fcfs:
    """The engine's own scheduling with its own default: release on arrival, 256 seats.

    The engine seats requests in the order they arrive, as far as seats, the token budget of a step
    and KV blocks allow, and preempts who was admitted last (W. Kwon et al., "Efficient Memory
    Management for Large Language Model Serving with PagedAttention", SOSP 2023).  It decides as
    `Static` does; it has a name of its own because it is what everybody runs who tunes nothing:
    vLLM's ``--max-num-seqs`` is 256 unless it is given.

    It knows no deadlines and keeps nobody out: past saturation the batch grows until everyone is
    slow.

    Attributes
    ----------
    max_num_seqs : int
        Largest batch of the engine; vLLM's default is 256.
    """

    max_num_seqs: int = 256

    def __post_init__(self) -> None:
        check_whole("fcfs", "max_num_seqs", self.max_num_seqs, 1)

    @property
    def label(self) -> str:
        """Canonical text of this policy."""
        return call_text("fcfs", self)

    def start(self, rng: np.random.Generator, profile: Profile) -> PassThrough:
        """Return a decider that releases on arrival."""
        return PassThrough()
