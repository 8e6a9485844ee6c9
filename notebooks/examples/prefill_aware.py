"""A policy of your own with parameters: SABER's question, asked with the prefill on the bill.

SABER admits a request when everybody's predicted decode speed suffices. Where prompts are long and
answers short, the time goes into prefill instead, one prompt after the other, and while an engine
that prefills first works through them, nobody decodes. Here the time a request has left is counted
from the instant at which the prompts released before it, and its own, will be through. Three
further rules follow from that, and the first two can be turned off to see what each is worth:

- Whoever was released earlier is stalled by a new prompt, so all of them are asked again, with the
  tokens they still have to generate.
- The earliest deadline is asked first, not one drawn at random.
- Who can no longer make it, even alone, waits until the engine is idle: any sooner, and its prompt
  would stall others.

Try it from this folder, on a trace of long prompts such as Azure's of code completions:

    saber run --trace code.csv --sla "unloaded*3" --replicas 4 --policy prefill_aware:prefill_aware
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from policies.protocol import NEVER_PS, PS_PER_S, Choice

if TYPE_CHECKING:
    import numpy as np

    from calibrate.profile import Profile
    from policies.protocol import Pending, View


@dataclass(frozen=True)
class PrefillAware:
    """The parameters.

    Attributes
    ----------
    protect : bool
        Ask for everyone released and unfinished too, not only for the newcomer.
    by_deadline : bool
        Ask the earliest deadline first; otherwise the earliest arrival.
    """

    protect: bool = True
    by_deadline: bool = True

    @property
    def label(self) -> str:
        """How results name the policy."""
        off = [f"{name}=False" for name in ("protect", "by_deadline") if not getattr(self, name)]
        return f"prefill_aware({', '.join(off)})" if off else "prefill_aware"

    def start(self, rng: np.random.Generator, profile: Profile) -> PrefillAwareDecider:
        """Return the decider of one replica."""
        return PrefillAwareDecider(self, profile)


class PrefillAwareDecider:
    """Keeps the queues of one replica and the instant at which its prompts will be through."""

    def __init__(self, policy: PrefillAware, profile: Profile) -> None:
        self._policy = policy
        self._cost = profile.cost
        self._context = profile.mean_context_tokens or 0.0
        self._overhead_ps = round(profile.client_overhead_s * PS_PER_S)
        self._queue: dict[int, Pending] = {}
        self._best_effort: dict[int, Pending] = {}
        self._released: dict[int, Pending] = {}
        self._prefilled_ps = 0

    def decide(self, view: View) -> Choice:
        """Give up on the hopeless, release whom everyone can bear, use idle time for the rest."""
        for request in view.finished:
            self._released.pop(request, None)
        for request in view.cancelled:
            for here in (self._queue, self._best_effort, self._released):
                here.pop(request, None)
        if view.arrived is not None:
            self._queue[view.arrived.id] = view.arrived
        demoted = [r for r in self._queue.values() if view.now_ps >= self._last_start_ps(r)]
        for request in demoted:
            self._best_effort[request.id] = self._queue.pop(request.id)
        released = self._admit(view)
        if self._best_effort and not self._queue and not view.in_engine + len(released):
            request = self._best_effort.pop(next(iter(self._best_effort)))
            self._prefilled_ps = view.now_ps + self._prefill_ps(request)
            released.append(request)
        wake_ps = min(map(self._last_start_ps, self._queue.values()), default=NEVER_PS)
        return Choice([r.id for r in released], [r.id for r in demoted], (), wake_ps)

    def _admit(self, view: View) -> list[Pending]:
        """Release, one after the other, each request that breaks nobody's deadline."""
        admitted: list[Pending] = []
        if not self._queue:
            return admitted
        generated = {each.id: each.generated_tokens for each in view.running}
        prefilled_ps = max(view.now_ps, self._prefilled_ps if view.in_engine else 0)
        in_order = sorted(self._queue.values(), key=self._rank)
        latest_ps = self._latest_ps(view.in_engine + 1, generated)
        for request in in_order:
            end_ps = prefilled_ps + self._prefill_ps(request)
            load = view.in_engine + len(admitted) + 1
            if end_ps <= min(latest_ps, self._decode_start_ps(request, load)):
                admitted.append(self._queue.pop(request.id))
                self._released[request.id] = request
                prefilled_ps = end_ps
                latest_ps = self._latest_ps(load + 1, generated)
        self._prefilled_ps = prefilled_ps
        return admitted

    def _latest_ps(self, load: int, generated: dict[int, int]) -> int:
        """Return until when prompts may stall those released, if `load` decode together."""
        if not self._policy.protect:
            return NEVER_PS
        starts = (
            self._decode_start_ps(request, load, generated.get(request.id, 0))
            for request in self._released.values()
        )
        return min(starts, default=NEVER_PS)

    def _decode_start_ps(self, request: Pending, load: int, generated: int = 0) -> int:
        """Return when the rest of the tokens must begin to flow, `load` decoding together."""
        if request.deadline_ps == NEVER_PS:
            return NEVER_PS
        # The prefill itself gives the first token.
        left = request.max_tokens - max(generated, 1)
        step_s = self._cost.decode_s(load, load * self._context)
        return request.deadline_ps - self._overhead_ps - round(left * step_s * PS_PER_S)

    def _last_start_ps(self, request: Pending) -> int:
        """Return the last instant at which the request, alone, could start and be in time."""
        start_ps = self._decode_start_ps(request, 1)
        return start_ps if start_ps == NEVER_PS else start_ps - self._prefill_ps(request)

    def _prefill_ps(self, request: Pending) -> int:
        tokens = request.prompt_tokens
        return round(self._cost.prefill_s(tokens, tokens * tokens / 2) * PS_PER_S)

    def _rank(self, request: Pending) -> int:
        return request.deadline_ps if self._policy.by_deadline else request.arrival_ps


prefill_aware = PrefillAware()
