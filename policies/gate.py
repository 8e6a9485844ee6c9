"""A batch size held from outside, in front of an engine whose own limit is larger.

What a policy with a fixed batch size amounts to where the engine's ``max_num_seqs`` cannot be
changed: a server that is already running.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from policies.protocol import Choice, View

if TYPE_CHECKING:
    import numpy as np

    from calibrate.profile import Profile
    from policies.protocol import Decider, Policy, Running


@dataclass(frozen=True)
class Gated:
    """Lets at most `seats` requests of what a policy releases into the engine at a time.

    The others wait at the gate, first come first served, and count for the policy as released and
    waiting in the engine.

    Attributes
    ----------
    policy : Policy
        Decides what is released to the gate.
    seats : int
        The most requests in the engine.
    """

    policy: Policy
    seats: int

    @property
    def label(self) -> str:
        """The policy's own label."""
        return self.policy.label

    def start(self, rng: np.random.Generator, profile: Profile) -> Gate:
        """Return the policy's decider with the gate behind it."""
        return Gate(self.policy.start(rng, profile), self.seats)


class Gate:
    """Holds what its decider released until the engine has a seat."""

    __slots__ = ("_decider", "_held", "_seats")

    def __init__(self, decider: Decider, seats: int) -> None:
        self._decider = decider
        self._seats = seats
        self._held: deque[int] = deque()

    def decide(self, view: View) -> Choice:
        """Return what the decider chose, its releases as far as there are seats."""
        held = self._held
        for request in view.cancelled:
            if request in held:
                held.remove(request)
        shown = View(_Behind(view, held))
        shown.now_ps, shown.arrived, shown.queue = view.now_ps, view.arrived, view.queue
        shown.finished, shown.cancelled = view.finished, view.cancelled
        shown.in_engine = view.in_engine + len(held)
        shown.max_num_batched_tokens = view.max_num_batched_tokens
        choice = self._decider.decide(shown)
        held.extend(choice.release)
        seats = max(self._seats - view.in_engine, 0)
        release = tuple(held.popleft() for _ in range(min(seats, len(held))))
        return choice._replace(release=release)


class _Behind:
    """The engine as the policy sees it: what the gate holds waits there."""

    def __init__(self, view: View, held: deque[int]) -> None:
        self._view = view
        self._held = held

    def running(self, now_ps: int) -> tuple[Running, ...]:
        return self._view.running

    def waiting_ids(self) -> tuple[int, ...]:
        return (*self._view.waiting_ids, *self._held)

    def output_tokens(self, request: int) -> int:
        return self._view.finished_tokens[self._view.finished.index(request)]
