"""Virtual token counters: every tenant is owed the same amount of service."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from policies.parameters import check_number, check_whole
from policies.protocol import NOTHING, Choice
from policies.text import call_text

if TYPE_CHECKING:
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

    Generated tokens are read off the engine whenever the counters are needed, and those of a
    request that finished off its answer.

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
        return TokenCounters(self)


class TokenCounters:
    """Keeps a queue and a counter for each tenant.

    Parameters
    ----------
    policy : Vtc

    Attributes
    ----------
    counters : dict of str to float
        Of each tenant, as of the last time they were needed.
    """

    __slots__ = (
        "_last",
        "_policy",
        "_queues",
        "_running",
        "_tenants",
        "counters",
    )

    def __init__(self, policy: Vtc) -> None:
        self._policy = policy
        self.counters: dict[str, float] = {}
        # Of those tenants only that have requests waiting.
        self._queues: dict[str, OrderedDict[int, Pending]] = {}
        self._tenants: dict[int, str] = {}  # of the requests that wait
        # Of the requests in the engine: tenant, and how many tokens were counted.
        self._running: dict[int, tuple[str, int]] = {}
        self._last = ""

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
        self._running[request.id] = tenant, 0
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
        for request, _, generated in view.running:
            known = running.get(request)
            if known is not None and generated > known[1]:
                counters[known[0]] += weight * (generated - known[1])
                running[request] = known[0], generated
        for request, tokens in zip(view.finished, view.finished_tokens, strict=True):
            tenant, counted = running.pop(request)
            counters[tenant] += weight * (tokens - counted)
