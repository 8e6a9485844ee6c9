"""What one replica of a run is made of, handed to whichever loop advances it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from policies.protocol import Decider, Pending
    from sim.costs import StepCosts
    from sim.ledger import Book, Lookup, ReplicaLedger
    from sim.options import EngineLimits
    from sim.timeline import Samples
    from traces.columns import HashIds

    Ended: TypeAlias = Callable[[int, int, int], None]
    """Told request id, replica index and instant [ps] when a request finishes or is refused."""


@dataclass(frozen=True, eq=False)
class ReplicaSpec:
    """The parts of one replica for one run.

    Attributes
    ----------
    index : int
        Position in the cluster.
    costs : StepCosts
        What a step costs.
    limits : EngineLimits
        What the engine may hold.
    decider : Decider
        The policy at work in front of this replica.
    prompt_tokens, output_tokens : Lookup
        Lengths by request id.
    refusals : mapping of int to str
        Requests this replica can never serve, with the reason.
    ledger : Book
        The run's account by request.
    account : ReplicaLedger
        This replica's account.
    restart : callable
        Makes the decider that takes over when the replica returns from a failure.
    jitter : callable or None
        Draws the factor on the step time of the next segment; None is no jitter.
    prefix : HashIds or None
        Content blocks by request id, for a prefix cache; None is no cache.
    samples : Samples or None
        Where its state over time is noted; None is nowhere.
    feedback_ps : int
        From a completion in the engine until the decider knows of it [ps].
    """

    index: int
    costs: StepCosts
    limits: EngineLimits
    decider: Decider
    prompt_tokens: Lookup
    output_tokens: Lookup
    refusals: Mapping[int, str]
    ledger: Book
    account: ReplicaLedger
    restart: Callable[[], Decider]
    jitter: Callable[[], float] | None = None
    prefix: HashIds | None = None
    samples: Samples | None = None
    feedback_ps: int = 0


class Station(Protocol):
    """A replica at work, however its engine is advanced."""

    @property
    def due_ps(self) -> int:
        """The next instant [ps] at which something happens here by itself."""
        ...

    @property
    def empty(self) -> bool:
        """Whether no request is here."""
        ...

    def arrive(self, request: Pending, now_ps: int) -> None:
        """Take a request in."""
        ...

    def withdraw(self, request: int, now_ps: int) -> int:
        """Take out a request that is here; return the tokens generated for it."""
        ...

    def fail(self, now_ps: int) -> tuple[list[Pending], int]:
        """Lose everything; return what was here and the tokens generated for it."""
        ...

    def busy_ps(self, now_ps: int) -> int:
        """Return how long a step was under way, up to now [ps]."""
        ...

    def waiting_and_running(self) -> tuple[int, int]:
        """Return how many requests hold no seat in the engine, and how many do."""
        ...
