"""What one replica of a run is made of, handed to whichever loop advances it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from policies.protocol import Decider
    from sim.costs import StepCosts
    from sim.ledger import Ledger, ReplicaLedger
    from sim.options import EngineLimits


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
    prompt_tokens, output_tokens : sequence of int
        Lengths by request id.
    refusals : mapping of int to str
        Requests this replica can never serve, with the reason.
    ledger : Ledger
        The run's account by request.
    account : ReplicaLedger
        This replica's account.
    jitter : callable or None
        Draws the factor on the step time of the next segment; None is no jitter.
    """

    index: int
    costs: StepCosts
    limits: EngineLimits
    decider: Decider
    prompt_tokens: Sequence[int]
    output_tokens: Sequence[int]
    refusals: Mapping[int, str]
    ledger: Ledger
    account: ReplicaLedger
    jitter: Callable[[], float] | None = None
