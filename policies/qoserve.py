"""QoServe: deadlines and work in one priority, early relegation, chunks as large as slack allows.

K. Goel et al., "Niyama: Breaking the Silos of LLM Inference Serving", arXiv 2503.22562; published
as QoServe at ASPLOS 2026.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from policies.objectives import NONE, objectives, step_table
from policies.parameters import check_number, check_whole
from policies.protocol import NEVER_PS, PS_PER_S, Choice
from policies.text import call_text
from policies.waiting import Waiting

if TYPE_CHECKING:
    import numpy as np

    from calibrate.profile import Profile
    from policies.objectives import Objectives
    from policies.protocol import Pending, View

CHUNKS = (128, 256, 512, 1024, 2048)
"""Tokens that a step may hold, decodes included."""


@dataclass(frozen=True)
class QoServe:
    """Deadline plus weighted prefill first; the hopeless last; dynamic chunks.

    - Hybrid priority: whoever has the least arrival + SLA + `alpha` * prompt tokens goes first, so
      that it is earliest deadline first at a small `alpha` and shortest prompt first at a large.
    - Eager relegation: who would be late even if it started now is served only when nobody else
      waits.  It is asked when its turn comes; its prompt takes what the profile says, and its
      `max_tokens` decode steps take as long as they do at the batch it would join.
    - Dynamic chunking: a step may hold the largest of 128, 256, 512, 1024 and 2048 tokens whose
      predicted time, times `margin`, is no longer than the least slack of those who decode, the
      time until their next token is due; 128 if none is.  While a prompt is on its way, the choice
      is made anew when the step it was made for should be over.

    Requests have a deadline for the whole answer: `ttft_share` of the SLA is for the first token,
    the others share the rest over ``max_tokens``, and the relegated have no objectives any more.

    What it cannot do here: a prompt that the engine began is not set aside for a more urgent one;
    classes of importance, by which the published system relegates first, are in no trace; and
    answers are taken to be as long as ``max_tokens`` where it predicts their length.  In an engine
    that prefills first there are no chunks: the budget then bounds the prompts that share one
    prefill, and as the next prefill follows at once, it protects decodes very little.  Where the
    budget cannot be set at all, it is left alone.

    Attributes
    ----------
    max_num_seqs : int
        Largest batch, of the engine too.
    alpha : float
        Weight of the prompt [s a token]; 0.008 as published.
    margin : float
        Predicted step times are multiplied by this; 1.2 as published.
    ttft_share : float
        Part of the SLA that is for the first token.  Chosen here.
    """

    max_num_seqs: int = 32
    alpha: float = 0.008
    margin: float = 1.2
    ttft_share: float = 0.1

    def __post_init__(self) -> None:
        check_whole("qoserve", "max_num_seqs", self.max_num_seqs, 1)
        check_number("qoserve", "alpha", self.alpha, at_least=0, at_most=1e3)
        check_number("qoserve", "margin", self.margin, at_least=1, at_most=1e3)
        check_number("qoserve", "ttft_share", self.ttft_share, at_least=0, at_most=1)

    @property
    def label(self) -> str:
        """Canonical text of this policy."""
        return call_text("qoserve", self)

    def start(self, rng: np.random.Generator, profile: Profile) -> QoServeDecider:
        """Return a decider with empty queues."""
        return QoServeDecider(self, profile)


class QoServeDecider:
    """Keeps who waits, who is relegated, and what is due of those in the engine."""

    __slots__ = (
        "_alpha_ps",
        "_chunks",
        "_due",
        "_overhead_ps",
        "_pending",
        "_policy",
        "_prefill_s",
        "_prompts",
        "_relegated",
        "_step_s",
        "_waiting",
    )

    def __init__(self, policy: QoServe, profile: Profile) -> None:
        self._policy = policy
        self._alpha_ps = policy.alpha * PS_PER_S
        self._overhead_ps = round(profile.client_overhead_s * PS_PER_S)
        self._step_s = step_table(profile, policy.max_num_seqs)
        self._prefill_s = profile.cost.prefill_s
        self._chunks = _Chunks(profile, policy)
        self._waiting = Waiting()
        self._relegated = Waiting()
        self._pending: dict[int, Pending] = {}
        self._due: dict[int, Objectives] = {}  # of who is in the engine
        self._prompts = False  # whether any may be on its way

    def decide(self, view: View) -> Choice:
        """Release the most urgent that can be in time, then the relegated; choose the chunk."""
        for request in view.finished:
            self._forget(request)
        for request in view.cancelled:
            self._forget(request)
        arrived = view.arrived
        if arrived is not None:
            self._pending[arrived.id] = arrived
            key = arrived.deadline_ps + self._alpha_ps * arrived.prompt_tokens
            self._waiting.put(arrived.id, key)
        released: list[int] = []
        demoted: list[int] = []
        if view.in_engine < self._policy.max_num_seqs and self._pending:
            self._fill(view, released, demoted)
        self._prompts = self._prompts or bool(released)
        if not (self._prompts and view.max_num_batched_tokens):
            return Choice(released, demoted)
        tokens, wake_ps = self._choose_chunk(view, len(released))
        return Choice(released, demoted, (), wake_ps, tokens)

    def _fill(self, view: View, released: list[int], demoted: list[int]) -> None:
        """Give the free seats away."""
        waiting, relegated = self._waiting, self._relegated
        free = self._policy.max_num_seqs - view.in_engine
        while free and waiting:
            key, id = waiting.pop()
            request = self._pending[id]
            load = view.in_engine + len(released) + 1
            if self._is_hopeless(request, view.now_ps, load):
                relegated.put(id, key)
                demoted.append(id)
                continue
            self._due[id] = objectives(request, self._policy.ttft_share, self._overhead_ps)
            self._release(id, released)
            free -= 1
        while free and relegated:
            id = relegated.pop()[1]
            self._due[id] = NONE
            self._release(id, released)
            free -= 1

    def _release(self, id: int, released: list[int]) -> None:
        del self._pending[id]
        released.append(id)

    def _is_hopeless(self, request: Pending, now_ps: int, load: int) -> bool:
        """Return whether the request would be late if it began now, in a batch of `load`."""
        if request.deadline_ps == NEVER_PS:
            return False
        tokens = request.prompt_tokens
        service_s = self._prefill_s(tokens, tokens * tokens / 2)
        service_s += (request.max_tokens - 1) * self._step_s[load]
        return now_ps + service_s * PS_PER_S > request.deadline_ps - self._overhead_ps

    def _choose_chunk(self, view: View, released: int) -> tuple[int, int]:
        """Return the tokens of the next steps, 0 where that matters to nobody, and when to ask."""
        chunks = self._chunks
        prompts = len(view.waiting_ids) + released
        if not chunks.mixed and prompts < 2:
            # A prompt goes whole, however long it is.
            self._prompts = prompts > 0
            return 0, NEVER_PS
        running = view.running
        # Prompts stored in part come last.
        self._prompts = bool(prompts or (running and not running[-1].generated_tokens))
        if not self._prompts:
            return 0, NEVER_PS
        due = self._due
        next_ps = [
            first_ps + generated * token_ps
            for request, _, generated in running
            if generated
            for first_ps, token_ps in (due.get(request, NONE),)
        ]
        slack_s = (min(next_ps, default=NEVER_PS) - view.now_ps) / PS_PER_S
        tokens, step_s = chunks.choose(len(next_ps), slack_s)
        wake_ps = view.now_ps + max(round(step_s * PS_PER_S), 1) if chunks.mixed else NEVER_PS
        return min(tokens, view.max_num_batched_tokens), wake_ps

    def _forget(self, request: int) -> None:
        self._waiting.discard(request)
        self._relegated.discard(request)
        self._pending.pop(request, None)
        self._due.pop(request, None)


class _Chunks:
    """What steps of the sizes to choose from take, looked up."""

    __slots__ = ("_beside_s", "_margin", "_sizes", "mixed")

    def __init__(self, profile: Profile, policy: QoServe) -> None:
        cost, most = profile.cost, policy.max_num_seqs
        self.mixed = profile.discipline == "chunked"
        self._margin = policy.margin
        # What decodes add to prompts: in a mixed step both go through the model together, and in
        # an engine that prefills first they wait.
        steps_s = step_table(profile, most) if self.mixed else []
        self._beside_s = [
            step_s - cost.prefill_s(b) if b else 0.0 for b, step_s in enumerate(steps_s)
        ]
        self._sizes = [(size, cost.prefill_s(size, size * size / 2)) for size in reversed(CHUNKS)]

    def choose(self, decodes: int, slack_s: float) -> tuple[int, float]:
        """Return the size of the next step [tokens], and its time [s]."""
        beside_s = self._beside_s[decodes] if self.mixed else 0.0
        for size, prefill_s in self._sizes:
            if (prefill_s + beside_s) * self._margin <= slack_s:
                return size, prefill_s + beside_s
        size, prefill_s = self._sizes[-1]
        return size, prefill_s + beside_s
