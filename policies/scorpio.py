"""Scorpio: a guard for first tokens, and a guard for the pace of the others."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate
from operator import le
from typing import TYPE_CHECKING

from policies.objectives import objectives, step_table
from policies.parameters import check_number, check_whole
from policies.protocol import NOTHING, PS_PER_S, Choice, PolicyError
from policies.text import call_text

if TYPE_CHECKING:
    import numpy as np

    from calibrate.profile import Profile
    from policies.protocol import Pending, View


@dataclass(frozen=True)
class Scorpio:
    """Order by the first token's deadline, drop the unattainable, admit while the pace holds.

    Y. Tang et al., "Scorpio: Serving the Right Requests at the Right Time for Heterogeneous SLOs in
    LLM Inference", arXiv 2505.23022.

    - TTFT guard: the earliest deadline of a first token goes first.  A request that the prompts
      before it and its own, one after the other, do not let be in time is dropped: demoted to best
      effort, or with `reject`, as published, refused.
    - TPOT guard: a request's relative pace is the tightest time per output token of all in the
      engine, and its own, divided by its own time per output token; the virtual batch size is the
      sum.  The head of the queue is admitted if a step at that batch size, with the trace's mean
      context, takes no longer than the tightest asks.  A request whose pace not even an empty
      engine has is dropped on arrival.

    Requests have a deadline for the whole answer: `ttft_share` of the SLA is for the first token,
    the others share the rest over ``max_tokens``, which stands for the length that the published
    system predicts.  Best effort is released when nobody else waits; such a request counts as one
    in the virtual batch, because it decodes in every step.

    What it cannot do here: the credits by which a request skips the steps it has no need of.  The
    virtual batch size stands for what a batch thinned out by credits costs; this engine decodes
    everybody in every step, so where paces differ the steps are longer than the guard believes.
    As published, it gains most over first come, first served where objectives differ, but only as
    long as a full batch keeps the tightest pace; where that takes a smaller batch, it gains nothing
    from the difference.

    Attributes
    ----------
    max_num_seqs : int
        Largest batch, of the engine too.
    reject : bool
        Refuse what cannot be in time rather than demote it.
    ttft_share : float
        Part of the SLA that is for the first token.  Chosen here.
    """

    max_num_seqs: int = 32
    reject: bool = False
    ttft_share: float = 0.1

    def __post_init__(self) -> None:
        check_whole("scorpio", "max_num_seqs", self.max_num_seqs, 1)
        if not isinstance(self.reject, bool):
            raise PolicyError(f"scorpio: reject={self.reject!r}: expected True or False")
        check_number("scorpio", "ttft_share", self.ttft_share, at_least=0, at_most=1)

    @property
    def label(self) -> str:
        """Canonical text of this policy."""
        return call_text("scorpio", self)

    def start(self, rng: np.random.Generator, profile: Profile) -> ScorpioDecider:
        """Return a decider with empty queues."""
        return ScorpioDecider(self, profile)


class ScorpioDecider:
    """Keeps the queue, best effort, and the pace that each in the engine asks for."""

    __slots__ = (
        "_best_effort",
        "_first",
        "_overhead_ps",
        "_paces",
        "_policy",
        "_prefill_s",
        "_prefilled_ps",
        "_step_ps",
    )

    def __init__(self, policy: Scorpio, profile: Profile) -> None:
        self._policy = policy
        self._overhead_ps = round(profile.client_overhead_s * PS_PER_S)
        steps = step_table(profile, policy.max_num_seqs + 1)
        self._step_ps = [step_s * PS_PER_S for step_s in steps]
        self._prefill_s = profile.cost.prefill_s
        self._first = _Line()
        self._best_effort: dict[int, None] = {}
        # Of who is in the engine: the time per output token [ps], none for best effort.
        self._paces: dict[int, int | None] = {}
        self._prefilled_ps = 0  # when the prompts released so far should be through

    def decide(self, view: View) -> Choice:
        """Drop what can not be in time, release while the pace holds, then best effort."""
        paces, now_ps, policy = self._paces, view.now_ps, self._policy
        for request in view.finished:
            paces.pop(request, None)
        for request in view.cancelled:
            paces.pop(request, None)
            self._best_effort.pop(request, None)
            self._first.discard(request)
        dropped: list[int] = []
        if view.arrived is not None:
            self._take_in(view.arrived, dropped)
        if not paces:
            self._prefilled_ps = 0
        start_ps = max(now_ps, self._prefilled_ps)
        dropped += self._first.drop_late(start_ps)
        released: list[int] = []
        free = policy.max_num_seqs - view.in_engine
        if free > 0 and self._first:
            start_ps = self._admit(start_ps, free, released)
        if not policy.reject:
            self._best_effort.update(dict.fromkeys(dropped))
            if free > len(released) and self._best_effort and not self._first:
                self._admit_best_effort(free, released)
        self._prefilled_ps = start_ps
        if not (released or dropped):
            return NOTHING
        return Choice(released, (), dropped) if policy.reject else Choice(released, dropped)

    def _take_in(self, request: Pending, dropped: list[int]) -> None:
        """Let the request wait, unless not even an empty engine is fast enough for it."""
        first_ps, token_ps = objectives(request, self._policy.ttft_share, self._overhead_ps)
        if token_ps < self._step_ps[1]:
            dropped.append(request.id)
            return
        tokens = request.prompt_tokens
        prefill_ps = round(self._prefill_s(tokens, tokens * tokens / 2) * PS_PER_S)
        self._first.put(request.id, first_ps, prefill_ps, token_ps)

    def _admit(self, start_ps: int, free: int, released: list[int]) -> int:
        """Release from the head while the pace holds; return when its prompts are through."""
        first, paces = self._first, self._paces
        asked = [pace for pace in paces.values() if pace is not None]
        best_effort = len(paces) - len(asked)
        while first and len(released) < free:
            request, prefill_ps, token_ps = first.head
            asked.append(token_ps)
            if not self._holds(asked, best_effort):
                break
            first.discard(request)
            paces[request] = token_ps
            released.append(request)
            start_ps += prefill_ps
        return start_ps

    def _admit_best_effort(self, free: int, released: list[int]) -> None:
        """Release who came first while the pace of the others holds."""
        paces, waiting = self._paces, self._best_effort
        asked = [pace for pace in paces.values() if pace is not None]
        best_effort = len(paces) - len(asked)
        while waiting and len(released) < free and self._holds(asked, best_effort + 1):
            request = next(iter(waiting))
            del waiting[request]
            paces[request] = None
            released.append(request)
            best_effort += 1

    def _holds(self, asked: list[int], best_effort: int) -> bool:
        """Return whether a step of the virtual batch is as short as the tightest pace asks."""
        if not asked:
            return True
        tightest_ps = min(asked)
        virtual = best_effort + sum([tightest_ps / pace for pace in asked])
        whole = int(virtual)
        step_ps = self._step_ps[whole]
        if virtual > whole:
            step_ps += (virtual - whole) * (self._step_ps[whole + 1] - step_ps)
        return step_ps <= tightest_ps


class _Line:
    """Requests in the order of their first tokens' deadlines; lists, so that sums are quick."""

    __slots__ = ("_entries", "_keys", "_latest_ps", "_prefills_ps")

    def __init__(self) -> None:
        # Sorted, one list for what is compared and one for each thing that is summed or compared.
        self._keys: list[tuple[int, int]] = []  # deadline, request
        self._latest_ps: list[int] = []
        self._prefills_ps: list[int] = []
        self._entries: dict[int, tuple[int, int, int]] = {}  # deadline, prefill, pace [ps]

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def head(self) -> tuple[int, int, int]:
        """Who is first, with prefill time and pace [ps]."""
        request = self._keys[0][1]
        _, prefill_ps, token_ps = self._entries[request]
        return request, prefill_ps, token_ps

    def put(self, request: int, first_ps: int, prefill_ps: int, token_ps: int) -> None:
        """Let a request wait."""
        key = (first_ps, request)
        at = bisect_left(self._keys, key)
        self._keys.insert(at, key)
        self._latest_ps.insert(at, first_ps)
        self._prefills_ps.insert(at, prefill_ps)
        self._entries[request] = first_ps, prefill_ps, token_ps

    def discard(self, request: int) -> None:
        """Forget a request, if it waits here."""
        entry = self._entries.pop(request, None)
        if entry is not None:
            at = bisect_left(self._keys, (entry[0], request))
            del self._keys[at], self._latest_ps[at], self._prefills_ps[at]

    def drop_late(self, start_ps: int) -> list[int]:
        """Take out and return those whose prompt, after those before it, is through too late."""
        dropped: list[int] = []
        ends_ps = self._ends_ps(start_ps)
        while not all(map(le, ends_ps, self._latest_ps)):
            late = next(
                key[1] for end_ps, key in zip(ends_ps, self._keys, strict=True) if end_ps > key[0]
            )
            self.discard(late)
            dropped.append(late)
            ends_ps = self._ends_ps(start_ps)
        return dropped

    def _ends_ps(self, start_ps: int) -> list[int]:
        return list(accumulate(self._prefills_ps, initial=start_ps))[1:]
