"""Virtual token counters: every tenant is owed the same amount of service."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from policies.parameters import check_number, check_whole
from policies.protocol import NOTHING, PS_PER_S, Choice
from policies.text import call_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from calibrate.profile import Profile
    from policies.protocol import Pending, View


@dataclass(frozen=True)
class Vtc:
    """Release the oldest request of the tenant that was served least whenever a seat is free.

    Y. Sheng et al., "Fairness in Serving Large Language Models", OSDI 2024 (arXiv 2401.00588),
    algorithm 2.  A tenant's counter grows by `prompt_weight` for each prompt token when a request
    is admitted and by `output_weight` for each token that is generated for it.  A tenant that comes
    back with nothing waiting is lifted to the least counter of the tenants that wait (or, if nobody
    waits, to that of the tenant that was the last to wait), so that nobody saves up service by
    staying away.  Requests without a tenant belong to one tenant.

    The service, so weighted, of two tenants that both have requests waiting all the time differs
    in any interval by at most 2 * max(prompt_weight * L, output_weight * M), with L the longest
    prompt and M the most tokens a running batch can hold (their bound for backlogged clients).

    Generated tokens are read off the engine whenever the counters are needed.  Those of a request
    that finished since it was last seen are not shown any more; requests advance in step, so it is
    counted as many as the others generated meanwhile, or what its time allows if it was alone.

    It is fair and nothing else: it knows no deadlines, and past saturation all tenants wait alike.

    Attributes
    ----------
    max_num_seqs : int
        Largest batch, of the engine too.
    prompt_weight, output_weight : float
        Of one token; 1 and 2 as published.
    """

    max_num_seqs: int = 32
    prompt_weight: float = 1.0
    output_weight: float = 2.0

    def __post_init__(self) -> None:
        check_whole("vtc", "max_num_seqs", self.max_num_seqs, 1)
        check_number("vtc", "prompt_weight", self.prompt_weight, at_least=0, at_most=1e6)
        check_number("vtc", "output_weight", self.output_weight, above=0, at_most=1e6)

    @property
    def label(self) -> str:
        """Canonical text of this policy: the parameters that differ from the defaults."""
        return call_text("vtc", self)

    def start(self, rng: np.random.Generator, profile: Profile) -> TokenCounters:
        """Return a decider with empty queues and all counters at 0."""
        alone_s = profile.cost.decode_s(1, profile.mean_context_tokens or 0.0)
        return TokenCounters(self, alone_s)


class TokenCounters:
    """Keeps a queue and a counter for each tenant.

    Parameters
    ----------
    policy : Vtc
    alone_s : float
        Seconds of a decode step of one request.

    Attributes
    ----------
    counters : dict of str to float
        Of each tenant, as of the last time they were needed.
    """

    __slots__ = (
        "_alone_s",
        "_counted_ps",
        "_last",
        "_policy",
        "_queues",
        "_running",
        "_tenants",
        "counters",
    )

    def __init__(self, policy: Vtc, alone_s: float) -> None:
        self._policy = policy
        self._alone_s = alone_s
        self.counters: dict[str, float] = {}
        # Of those tenants only that have requests waiting.
        self._queues: dict[str, OrderedDict[int, Pending]] = {}
        self._tenants: dict[int, str] = {}  # of the requests that wait
        # Of the requests in the engine: tenant, and how many tokens were counted and can be.
        self._running: dict[int, tuple[str, int, int]] = {}
        self._last = ""
        self._counted_ps = 0

    def decide(self, view: View) -> Choice:
        """Count what was generated, take in, forget, and fill the free seats."""
        for request in view.cancelled:
            self._running.pop(request, None)
            if request in self._tenants:
                self._take_out(self._tenants[request], request)
        arrived = view.arrived
        returning = arrived is not None and arrived.tenant not in self._queues
        free = self._policy.max_num_seqs - view.in_engine
        if view.finished or returning or (free > 0 and self._queues):
            self._count(view)
        if arrived is not None:
            if returning:
                self._lift(arrived.tenant)
                self._queues[arrived.tenant] = OrderedDict()
            self._queues[arrived.tenant][arrived.id] = arrived
            self._tenants[arrived.id] = arrived.tenant
        released: list[int] = []
        while free > len(released) and self._queues:
            released.append(self._admit(min(self._queues, key=self.counters.__getitem__)))
        return Choice(released) if released else NOTHING

    def _lift(self, tenant: str) -> None:
        """Raise the counter of a tenant that comes back to the least of those that wait."""
        counters = self.counters
        if self._queues:
            floor = min(map(counters.__getitem__, self._queues))
        else:
            floor = counters.get(self._last, 0.0)
        counters[tenant] = max(counters.get(tenant, 0.0), floor)

    def _admit(self, tenant: str) -> int:
        """Release the oldest request of a tenant and count its prompt."""
        request = next(iter(self._queues[tenant].values()))
        self._take_out(tenant, request.id)
        self.counters[tenant] += self._policy.prompt_weight * request.prompt_tokens
        self._running[request.id] = tenant, 0, request.max_tokens
        return request.id

    def _take_out(self, tenant: str, request: int) -> None:
        """Take a request out of its queue."""
        queue = self._queues[tenant]
        del queue[request], self._tenants[request]
        if not queue:
            del self._queues[tenant]
            self._last = tenant

    def _count(self, view: View) -> None:
        """Count what was generated since the last time."""
        running, counters, weight = self._running, self.counters, self._policy.output_weight
        steps = -1
        for request, _, generated in view.running:
            known = running.get(request)
            if known is None or generated <= known[1]:
                continue
            tenant, counted, most = known
            if counted:  # the first of all comes with the prefill, in no step that others made
                steps = max(steps, generated - counted)
            counters[tenant] += weight * (generated - counted)
            running[request] = tenant, generated, most
        if view.finished:
            if steps < 0:
                elapsed_ps = view.now_ps - self._counted_ps
                steps = max(1, round(elapsed_ps / PS_PER_S / self._alone_s))
            self._count_finished(view.finished, steps)
        self._counted_ps = view.now_ps

    def _count_finished(self, finished: Sequence[int], steps: int) -> None:
        """Count the last tokens of what is shown no more: one a step."""
        for request in finished:
            tenant, counted, most = self._running.pop(request)
            self.counters[tenant] += self._policy.output_weight * min(steps, most - counted)
