"""SLAI: prompts go, shortest first, as long as no decode is past its last schedulable time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from policies.objectives import objectives, step_table
from policies.parameters import check_number, check_whole
from policies.protocol import NEVER_PS, NOTHING, PS_PER_S, Choice
from policies.text import call_text
from policies.waiting import Waiting

if TYPE_CHECKING:
    import numpy as np

    from calibrate.profile import Profile
    from policies.protocol import Running, View

GONE = (0, NEVER_PS)
"""Of who has given up and keeps the seat until the step in flight ends."""
WINDOW_TOKENS = 8
"""Step times are taken over so many tokens: evaluations do not come with the steps."""


@dataclass(frozen=True)
class Slai:
    """Hold prompts back while a decode is in danger, else release them, the shortest first.

    A. Bari, P. Hegde and G. de Veciana, "Optimal Scheduling Algorithms for LLM Inference: Theory
    and Practice", arXiv 2508.01002; code: github.com/agrimUT/SLAI.  The last schedulable time of a
    decode is that of its last token, plus its time between tokens, minus `offset` mean step times.
    The published scheduler fills a step of `token_budget` tokens in this order: decodes past their
    last schedulable time, prompts begun, new prompts with the shortest first, other decodes.

    This engine decodes the whole running set in every step.  So decodes **cannot be held back in a
    step**, which is what the published gain comes from.  What is left to do here:

    - New prompts are released the shortest first, and only as many as one step's budget can take:
      the others keep their place in the order.
    - While a decode is past its last schedulable time, none is released.  In the published
      scheduler such a decode only goes first; as here decodes go on anyway, and what can harm them
      is the next prompt, the prompt waits.  That is why `offset` is smaller here: at the published
      5 step times and deadlines like those of the study, there is always one in danger.
    - The budget of a step is `token_budget` and what the decodes not in danger take, so that
      prompts get as many tokens as the published scheduler has for them.

    The instant of a last token is when the decider sees that there is one more, at most an
    evaluation late; the mean step time is an exponential average over what it sees.  It does not
    see the memory in use, on which the published offset depends.  The time between tokens follows
    from the deadline of the whole answer: `ttft_share` of the SLA is for the first token, the
    others share the rest over ``max_tokens``.  Nobody is given up.

    Attributes
    ----------
    max_num_seqs : int
        Largest batch, of the engine too; 128 as published.
    offset : float
        Step times before it is due that a token is in danger; 5 as published, and 10 when memory
        is short.  The default is chosen here, see above.
    token_budget : int
        Tokens of a step; 512 as published.
    smoothing : float
        Weight of the newest step time in the average.  Chosen here.
    ttft_share : float
        Part of the SLA that is for the first token.  Chosen here.
    """

    max_num_seqs: int = 32
    offset: float = 0.5
    token_budget: int = 512
    smoothing: float = 0.2
    ttft_share: float = 0.1

    def __post_init__(self) -> None:
        check_whole("slai", "max_num_seqs", self.max_num_seqs, 1)
        check_number("slai", "offset", self.offset, at_least=0, at_most=1e6)
        check_whole("slai", "token_budget", self.token_budget, 1)
        check_number("slai", "smoothing", self.smoothing, above=0, at_most=1)
        check_number("slai", "ttft_share", self.ttft_share, at_least=0, at_most=1)

    @property
    def label(self) -> str:
        """Canonical text of this policy."""
        return call_text("slai", self)

    def start(self, rng: np.random.Generator, profile: Profile) -> SlaiDecider:
        """Return a decider with an empty queue."""
        return SlaiDecider(self, profile)


class SlaiDecider:
    """Keeps the queue, and what it last saw of each decode."""

    __slots__ = (
        "_mark",
        "_overhead_ps",
        "_policy",
        "_released",
        "_seen",
        "_step_ps",
        "_tokens",
        "_waiting",
    )

    def __init__(self, policy: Slai, profile: Profile) -> None:
        self._policy = policy
        self._overhead_ps = round(profile.client_overhead_s * PS_PER_S)
        self._step_ps = step_table(profile, policy.max_num_seqs)[-1] * PS_PER_S
        self._waiting = Waiting()
        # Prompt tokens, and the time between tokens [ps], of who is here.
        self._tokens: dict[int, tuple[int, int]] = {}
        self._released: dict[int, int] = {}  # prompts on their way, with their tokens
        self._seen: dict[int, tuple[int, int]] = {}  # tokens generated, and since when [ps]
        self._mark: tuple[int, int, int] | None = None  # request, its tokens, when [ps]

    def decide(self, view: View) -> Choice:
        """Release prompts unless a decode is in danger; set the budget of a step."""
        for request in view.finished:
            self._forget(request)
        for request in view.cancelled:
            self._forget(request)
        arrived, policy = view.arrived, self._policy
        if arrived is not None:
            token_ps = objectives(arrived, policy.ttft_share, self._overhead_ps).token_ps
            self._tokens[arrived.id] = arrived.prompt_tokens, token_ps
            self._waiting.put(arrived.id, arrived.prompt_tokens)
        free = policy.max_num_seqs - view.in_engine
        if not self._waiting or free <= 0:
            return NOTHING
        now_ps, running = view.now_ps, view.running
        decodes, in_danger = self._look(running, now_ps)
        release: list[int] = []
        if not in_danger:
            backlog = sum(self._released.values())
            while self._waiting and len(release) < free and backlog < policy.token_budget:
                request = self._waiting.pop()[1]
                self._released[request] = self._tokens[request][0]
                backlog += self._released[request]
                release.append(request)
        wake_ps = NEVER_PS
        if self._waiting and len(release) < free:
            wake_ps = now_ps + max(round(self._step_ps), 1)
        tokens = policy.token_budget + decodes - in_danger
        return Choice(release, (), (), wake_ps, min(tokens, view.max_num_batched_tokens))

    def _look(self, running: tuple[Running, ...], now_ps: int) -> tuple[int, int]:
        """Note who has another token; return how many decode, and how many are in danger."""
        seen, tokens, released = self._seen, self._tokens, self._released
        decodes = in_danger = 0
        self._measure(running, now_ps)
        ahead_ps = self._policy.offset * self._step_ps
        for request, _, generated in running:
            if not generated:
                continue
            decodes += 1
            last = seen.get(request)
            if last is None or last[0] != generated:
                seen[request] = last = (generated, now_ps)
                released.pop(request, None)
            if last[1] + tokens.get(request, GONE)[1] - ahead_ps <= now_ps:
                in_danger += 1
        return decodes, in_danger

    def _measure(self, running: tuple[Running, ...], now_ps: int) -> None:
        """Average the step time over what the longest in the engine generated."""
        if not running:
            self._mark = None
            return
        request, _, generated = running[0]
        mark = self._mark
        if mark is None or mark[0] != request or generated < mark[1]:
            self._mark = request, generated, now_ps
        elif generated >= mark[1] + WINDOW_TOKENS:
            step_ps = (now_ps - mark[2]) / (generated - mark[1])
            self._step_ps += self._policy.smoothing * (step_ps - self._step_ps)
            self._mark = request, generated, now_ps

    def _forget(self, request: int) -> None:
        self._waiting.discard(request)
        self._tokens.pop(request, None)
        self._released.pop(request, None)
        self._seen.pop(request, None)
