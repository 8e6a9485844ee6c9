"""When who runs will be done: step costs looked up, and a batch that drains."""

from __future__ import annotations

from bisect import bisect_right
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from calibrate.profile import Profile
    from policies.protocol import Pending

UNKNOWN_CONTEXT = 512.0
"""Mean context of a sequence where the trace's is not known [tokens]."""
TABLED = 512
"""Batch sizes whose step is looked up; a larger batch takes the last one's."""
BUSY_BATCH = 16
"""The batch in which tokens are priced, and beside which a chunk of a prompt is."""


Left = tuple[int, float]
"""What is left of a request in the engine: tokens it has yet to decode, when it is due [s];
infinite without a deadline."""


class Costs:
    """What a policy takes steps and prompts to cost, in seconds, from a profile.

    Parameters
    ----------
    profile : Profile
        Its steps are those of sequences with the trace's mean context.
    """

    __slots__ = ("_beside", "_cost", "_prompts", "overhead_s", "step_s")

    def __init__(self, profile: Profile) -> None:
        self._cost = profile.cost
        context = profile.mean_context_tokens or UNKNOWN_CONTEXT
        steps = [self._cost.decode_s(batch, batch * context) for batch in range(1, TABLED + 1)]
        self.step_s = (0.0, *steps)
        self._beside = BUSY_BATCH if profile.discipline == "chunked" else 0
        self.overhead_s = profile.client_overhead_s
        self._prompts: dict[int, tuple[float, float]] = {}

    def prefill_s(self, tokens: int) -> float:
        """Return how long a prompt holds everybody up [s]: its step, or what its chunks add."""
        return self._prompt_s(tokens)[0]

    def work_s(self, request: Pending, token_s: float = inf) -> float:
        """Return what a request costs the engine [s]: its prompt, and its part of its steps.

        Its steps are those of a busy engine, or where a token may only take `token_s`, those of the
        largest batch that is as fast: who must have the engine almost to himself costs the more.
        """
        batch = max(bisect_right(self.step_s, token_s, 1, BUSY_BATCH + 1) - 1, 1)
        part_s = self.step_s[batch] / batch
        return self._prompt_s(request.prompt_tokens)[0] + request.max_tokens * part_s

    def alone_s(self, request: Pending) -> float:
        """Return how long a request takes in an empty engine [s]."""
        first_s = self._prompt_s(request.prompt_tokens)[1]
        return first_s + (request.max_tokens - 1) * self.step_s[1] + self.overhead_s

    def tokens_alone(self, prompt_tokens: int, within_s: float) -> int:
        """Return how many tokens a request gets in an empty engine within a time; at least 1."""
        rest_s = within_s - self.overhead_s - self._prompt_s(prompt_tokens)[1]
        return max(1 + int(rest_s / self.step_s[1]), 1)

    def _prompt_s(self, tokens: int) -> tuple[float, float]:
        """Return how long a prompt holds others up, and what it takes alone [s]."""
        known = self._prompts.get(tokens)
        if known is None:
            cost, batch = self._cost, self._beside
            alone_s = beside_s = cost.prefill_s(tokens, tokens**2 / 2)
            if batch:
                with_it_s = cost.mixed_s(batch, 0, tokens, tokens**2 / 2)
                beside_s = with_it_s - cost.decode_s(batch, 0)
            known = self._prompts[tokens] = (beside_s, alone_s)
        return known


def first_late(
    step_s: Sequence[float], batch: Sequence[Left], free_s: float, stretch: float
) -> Left | None:
    """Return one of a batch that drains who is late, or None if nobody is.

    Who has the least to do leaves first, and steps get shorter.

    Parameters
    ----------
    step_s : sequence of float
        Seconds of a step by its batch size; a larger batch takes the last one's.
    batch : sequence of Left
        Ascending.
    free_s : float
        The instant from which they decode, prompts being through [s].
    stretch : float
        Decoding takes so many times its time.
    """
    size, top = len(batch), len(step_s) - 1
    end_s, done = free_s, 0
    for left in batch:
        tokens, due_s = left
        if tokens > done:
            end_s += (tokens - done) * step_s[size if size < top else top] * stretch
            done = tokens
        if end_s > due_s:
            return left
        size -= 1
    return None


def room_s(step_s: Sequence[float], batch: list[Left], free_s: float, stretch: float) -> float:
    """Return how long all of a batch that drains can be held up and be in time [s].

    Who is late even so is given up: `batch` has it with no deadline from now on.

    Parameters
    ----------
    step_s, batch, free_s, stretch
        As for `first_late`.
    """
    size, top = len(batch), len(step_s) - 1
    end_s, done, room = free_s, 0, inf
    for i, (tokens, due_s) in enumerate(batch):
        if tokens > done:
            end_s += (tokens - done) * step_s[size if size < top else top] * stretch
            done = tokens
        if end_s > due_s:
            batch[i] = (tokens, inf)
        elif due_s - end_s < room:
            room = due_s - end_s
        size -= 1
    return room
