"""SABER+ at work on one replica."""

from __future__ import annotations

from bisect import insort
from math import inf, nan
from typing import TYPE_CHECKING

from policies.hopeful import Entry, Hopeful
from policies.lately import Lately
from policies.lengths import Lengths
from policies.outlook import Costs, first_late, room_s
from policies.pace import Pace
from policies.protocol import NEVER_PS, NOTHING, PS_PER_S, Choice

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np

    from calibrate.profile import Profile
    from policies.outlook import Left
    from policies.protocol import Pending, View
    from policies.saber_plus import SaberPlus

MOST_RESERVED = 0.9
"""Never more than this share of the time is kept free: decoding takes at most ten times as long."""
MOST_ASKED = 8
"""So many of those who wait are asked in full at one evaluation."""
HOPED = 0.5
"""The part of its time that an answer is hoped to take alone of whose length nothing is known."""
FRESH_S = 0.05
"""An arrival is held against a batch that was looked at so long ago."""
SOMEBODY: Left = (0, 0.0)
"""One of those who run, whichever."""


class SaberPlusDecider:
    """Keeps those who wait, and knows who runs."""

    __slots__ = (
        "_best_effort",
        "_built",
        "_costs",
        "_lately",
        "_lengths",
        "_pace",
        "_promised",
        "_released",
        "_rng",
        "_room_s",
        "_rules",
        "_told",
        "_waiting",
    )

    def __init__(self, rules: SaberPlus, profile: Profile, rng: np.random.Generator) -> None:
        self._rules = rules
        self._rng = rng
        self._costs = Costs(profile)
        self._lately = Lately()
        self._lengths = Lengths(rules.learn)
        self._pace = Pace(self._costs.step_s)
        # Requests as they came; all else has the lengths that their answers are expected to have.
        self._told: dict[int, Pending] = {}
        self._waiting = Hopeful()
        self._best_effort: dict[int, Pending] = {}
        # Who is in the engine: tokens to generate, when it is due [s], what its prompt takes [s];
        # of those with a deadline, the time a token may take by what was known at release [s].
        self._released: dict[int, tuple[int, float, float]] = {}
        self._promised: dict[int, float] = {}
        # How long who runs can be held up; by the model it stays as it is until somebody comes or
        # goes. NaN where it has to be found out.
        self._room_s = nan
        # The batch as it was last looked at, when its prompts will be through, and when that was.
        self._built: tuple[list[Left], float, float] = ([], 0.0, -inf)

    def decide(self, view: View) -> Choice:
        """Give up on the hopeless, release whom everyone can bear, use idle time for the rest."""
        now_s, arrived, waiting = view.now_s, view.arrived, self._waiting
        self._pace.advance(now_s, len(self._released))
        left = view.finished or view.cancelled
        if left:
            self._forget(view)
        if arrived is not None:
            self._take_in(arrived, now_s)
        demoted: list[int] = []
        if waiting.next_expiry_ps() <= view.now_ps:
            demoted = self._give_up(view.now_ps)
        released: list[int] = []
        if waiting:
            if left:
                released = self._admit(view, now_s, waiting.entries)
            elif arrived is not None and (entry := waiting.get(arrived.id)) is not None:
                # Who was turned down before would be again: nobody has left since.
                released = self._admit(view, now_s, (entry,))
        if self._best_effort and not waiting and not self._promised:
            released += self._use_idle_time()
        wake_ps = waiting.next_expiry_ps()
        if not (released or demoted) and wake_ps == NEVER_PS:
            return NOTHING
        return Choice(released, demoted, (), wake_ps)

    # ------------------------------------------------------------------ who is where

    def _forget(self, view: View) -> None:
        if self._rules.learn:
            for request, tokens in zip(view.finished, view.finished_tokens, strict=True):
                self._lengths.note(self._told[request], tokens)
        for request in (*view.finished, *view.cancelled):
            self._told.pop(request, None)
            self._released.pop(request, None)
            self._promised.pop(request, None)
            self._best_effort.pop(request, None)
            self._waiting.discard(request)
        self._room_s = nan

    def _give_up(self, now_ps: int) -> list[int]:
        """Make best effort who could not be in time any more even alone."""
        hopeless = {request.id: request for request in self._waiting.expire(now_ps)}
        self._best_effort |= hopeless
        return list(hopeless)

    def _take_in(self, request: Pending, now_s: float) -> None:
        costs = self._costs
        if self._rules.learn:
            self._told[request.id] = request
            request = self._expected(request, now_s)
        work_s = costs.work_s(request)
        prompt_s = costs.prefill_s(request.prompt_tokens)
        self._lately.note(work_s, prompt_s, now_s)
        order = self._rules.order
        if order == "work":
            rank = work_s
        elif order == "random":
            rank = float(self._rng.random())
        else:
            rank = request.arrival_s if order == "arrival" else request.deadline_s
        expiry_ps = request.deadline_ps
        if expiry_ps != NEVER_PS:
            expiry_ps -= round(costs.alone_s(request) * PS_PER_S)
        entry = Entry(rank, -request.deadline_ps, request.id, request, prompt_s)
        self._waiting.put(entry, expiry_ps)

    def _expected(self, request: Pending, now_s: float) -> Pending:
        """Return the request with the length that its answer is expected to have."""
        tokens = self._lengths.expected(request)
        if tokens is None:
            tokens, costs, time_s = request.max_tokens, self._costs, request.deadline_s - now_s
            # Who asks for what cannot be had even alone has named a limit, not a length.
            if not self._lengths.exact or costs.alone_s(request) > time_s:
                tokens = min(tokens, costs.tokens_alone(request.prompt_tokens, HOPED * time_s))
        return request if tokens == request.max_tokens else request._replace(max_tokens=tokens)

    def _release(self, request: Pending, due_s: float) -> None:
        prompt_s = self._costs.prefill_s(request.prompt_tokens)
        self._released[request.id] = (request.max_tokens, due_s, prompt_s)
        self._pace.hold_up(prompt_s)

    def _use_idle_time(self) -> list[int]:
        """Release best effort where nobody with a deadline waits or runs."""
        released: list[int] = []
        while self._best_effort and len(self._released) < self._rules.idle_seats:
            request = self._best_effort.pop(next(iter(self._best_effort)))
            self._release(request, inf)
            released.append(request.id)
        self._room_s = nan
        return released

    # ------------------------------------------------------------------ admission

    def _admit(self, view: View, now_s: float, asked: Sequence[Entry]) -> list[int]:
        """Release, one after the other, each of the asked whom everyone can bear."""
        released: list[int] = []
        room_s, tries = self._room_s, MOST_ASKED
        looked = room_s != room_s
        if looked:
            room_s = self._look(view, now_s)
        too_large: list[tuple[int, int]] = []
        for entry in [each for each in asked if each.prompt_s <= room_s]:
            request, prompt_s = entry.request, entry.prompt_s
            if prompt_s > room_s or (too_large and _is_as_large(request, too_large)):
                continue
            if not looked and now_s > self._built[2] + FRESH_S:
                room_s, looked = self._look(view, now_s), True
            batch, free_s, _ = self._built
            due_s = request.deadline_s - self._costs.overhead_s
            own = (request.max_tokens - 1, due_s - max(now_s - free_s, 0.0))
            late = self._late(batch, own, free_s + prompt_s * self._pace.factor, request, now_s)
            if late is None:
                self._waiting.discard(request.id)
                if request.deadline_ps != NEVER_PS:
                    self._promised[request.id] = (due_s - now_s) / max(own[0], 1)
                self._release(request, due_s)
                released.append(request.id)
                insort(batch, (own[0], due_s))
                free_s += prompt_s * self._pace.factor
                self._built = (batch, free_s, self._built[2])
                room_s = self._room_s = self._room(batch, free_s, now_s)
            elif late is not own:
                too_large.append((request.prompt_tokens, request.max_tokens))
            tries -= 1
            if not tries:
                break
        return released

    def _look(self, view: View, now_s: float) -> float:
        """Look at what is left of who is in the engine; return how long all can be held up [s]."""
        generated = {id: tokens for id, _, tokens in view.running if tokens}
        if self._rules.correct:
            self._pace.observe(generated)
        lengths = None if self._lengths.exact else self._lengths
        stall_s = 0.0
        batch: list[Left] = []
        for id, (tokens, due_s, prompt_s) in self._released.items():
            if id not in generated:
                batch.append((tokens - 1, due_s))
                stall_s += prompt_s
            elif lengths is None:
                batch.append((tokens - generated[id], due_s))
            else:
                longer = lengths.longer(self._told[id], generated[id])
                batch.append(((longer or tokens) - generated[id], due_s))
        batch.sort()
        free_s = now_s + stall_s * self._pace.factor
        self._built = (batch, free_s, now_s)
        self._room_s = self._room(batch, free_s, now_s)
        return self._room_s

    def _room(self, batch: list[Left], free_s: float, now_s: float) -> float:
        """Give up who will be late in any case; return how long the others can be held up [s]."""
        if not self._rules.current:  # promises are asked, not what is left
            return inf
        if self._rules.model:
            return room_s(self._costs.step_s, batch, free_s, self._pace.factor)
        room_s(self._flat(len(batch)), batch, now_s, self._pace.factor)
        return inf  # prompts take no time

    def _flat(self, size: int) -> tuple[float, float]:
        """Return the step of a batch that stays as large as it is, whoever leaves."""
        return (self._costs.step_s[min(size, len(self._costs.step_s) - 1)],) * 2

    def _late(
        self, batch: list[Left], own: Left, free_s: float, request: Pending, now_s: float
    ) -> Left | None:
        """Return one who would be late if the request were released; None if nobody would."""
        rules, costs, pace = self._rules, self._costs, self._pace
        stretch = pace.factor
        if rules.reserve and batch:
            token_s = (own[1] - free_s) / max(own[0], 1) / stretch
            work_s = costs.work_s(request, token_s)
            share = rules.reserve * self._lately.cheaper_share(work_s, now_s)
            stretch /= 1 - min(share * pace.factor, MOST_RESERVED)
        asked = batch.copy()
        insort(asked, own)
        flat = self._flat(len(asked))
        if not rules.current:
            if flat[0] * stretch > min(self._promised.values(), default=inf):
                return SOMEBODY
            asked = [own]
        if not rules.model:
            return first_late(flat, asked, now_s, stretch)
        # A batch that is only the request's own here is as large all the time.
        return first_late(costs.step_s if rules.current else flat, asked, free_s, stretch)


def _is_as_large(request: Pending, too_large: Iterable[tuple[int, int]]) -> bool:
    """Whether somebody no larger was already too much for those who run."""
    for prompt_tokens, max_tokens in too_large:
        if request.prompt_tokens >= prompt_tokens and request.max_tokens >= max_tokens:
            return True
    return False
