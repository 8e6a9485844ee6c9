"""Least slack first: who can wait least, with some reluctance to change one's mind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from policies.parameters import check_number, check_whole
from policies.protocol import NEVER_PS, NOTHING, PS_PER_S, Choice
from policies.text import call_text
from policies.waiting import Waiting

if TYPE_CHECKING:
    import numpy as np

    from calibrate.profile import Profile
    from calibrate.steptime import StepCost
    from policies.protocol import Pending, View


@dataclass(frozen=True)
class Slack:
    """Release the request with the least slack whenever a seat is free.

    Slack is what is left until the deadline, less the predicted service: the prefill of the prompt
    and ``max_tokens`` decode steps, from the profile's step costs (A. Mok, "Fundamental Design
    Problems of Distributed Systems for the Hard-Real-Time Environment", 1983).  A step is predicted
    at the load at which a request is released while others wait, which is always a full batch, with
    the trace's mean context: so slacks differ by what does not change with time, and a heap keeps
    them in order.

    Who was picked to go next stays the next, unless another one's slack is less by more than
    `hysteresis_s`: where slacks are nearly equal, plain least slack changes its mind with every
    arrival.  Requests without a deadline come last.

    It knows work, which earliest deadline first does not, but cannot give up either: who has lost
    has the least slack and goes first.  It does not see the stalls that other prompts cause, and
    where answers are shorter than ``max_tokens`` it takes requests for more urgent than they are.

    Attributes
    ----------
    max_num_seqs : int
        Largest batch, of the engine too.
    hysteresis_s : float
        How much less slack it takes to go before who was picked [s].  Chosen here; 0 is plain
        least slack.
    """

    max_num_seqs: int = 32
    hysteresis_s: float = 0.1

    def __post_init__(self) -> None:
        check_whole("slack", "max_num_seqs", self.max_num_seqs, 1)
        check_number("slack", "hysteresis_s", self.hysteresis_s, at_least=0, at_most=1e6)

    @property
    def label(self) -> str:
        """Canonical text of this policy."""
        return call_text("slack", self)

    def start(self, rng: np.random.Generator, profile: Profile) -> LeastSlack:
        """Return a decider with an empty queue."""
        seats = self.max_num_seqs
        context_tokens = seats * (profile.mean_context_tokens or 0.0)
        step_s = profile.cost.decode_s(seats, context_tokens)
        return LeastSlack(profile.cost, step_s, seats, round(self.hysteresis_s * PS_PER_S))


class LeastSlack:
    """Keeps who goes next beside the queue of the others.

    Slack at an instant is the latest start less the instant, so latest starts give the order.
    """

    __slots__ = ("_cost", "_hysteresis_ps", "_next", "_seats", "_step_s", "_waiting")

    def __init__(self, cost: StepCost, step_s: float, seats: int, hysteresis_ps: int) -> None:
        self._cost = cost
        self._step_s = step_s
        self._seats = seats
        self._hysteresis_ps = hysteresis_ps
        self._waiting = Waiting()
        self._next: tuple[float, int] | None = None

    def decide(self, view: View) -> Choice:
        """Take in, forget, and fill the free seats."""
        for request in view.cancelled:
            self._waiting.discard(request)
            if self._next is not None and self._next[1] == request:
                self._pick()
        if view.arrived is not None:
            self._take_in(view.arrived)
        free = self._seats - view.in_engine
        released: list[int] = []
        while free > len(released) and self._next is not None:
            released.append(self._next[1])
            self._pick()
        return Choice(released) if released else NOTHING

    def _take_in(self, arrived: Pending) -> None:
        """Let the arrival wait, or go next if its slack is that much less."""
        start_ps = self._latest_start_ps(arrived)
        picked = self._next
        if picked is None:
            self._next = start_ps, arrived.id
        elif start_ps < picked[0] - self._hysteresis_ps:
            self._waiting.put(picked[1], picked[0])
            self._next = start_ps, arrived.id
        else:
            self._waiting.put(arrived.id, start_ps)

    def _pick(self) -> None:
        """Let go next who has the least slack."""
        self._next = self._waiting.pop() if self._waiting else None

    def _latest_start_ps(self, request: Pending) -> int:
        """Return when the request would have to be released to be just in time."""
        if request.deadline_ps == NEVER_PS:
            return NEVER_PS
        prompt = request.prompt_tokens
        service_s = self._cost.prefill_s(prompt, prompt * prompt / 2)
        service_s += request.max_tokens * self._step_s
        return request.deadline_ps - round(service_s * PS_PER_S)
