"""Plans for those who look for the best schedule: a first guess, and what lies near a plan."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from policies.planned import Planned
from sim.options import to_ps

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from calibrate.profile import Profile
    from sim.options import RunOptions
    from sim.oracle.needs import Needs
    from traces.request import Trace

Order: TypeAlias = Literal["deadline", "slack", "work"]
ORDERS = get_args(Order)

TYPICAL_BATCH = 32
"""Shares of a step are those of a batch of this size where work is compared."""
LEAST_WORK_S = 1e-9
"""With a prefix cache a request of one token may seem to be no work at all."""
CHANGES = 0.06
"""Part of the requests that a step of the local search adds beyond one, on average at its start."""
OTHERWISE = 0.4
"""How often a step changes the order, a place in it, or the seats; half as often strictness,
and a fourth as often very many requests."""


class Moves:
    """Makes plans from what each request needs."""

    def __init__(self, trace: Trace, profile: Profile, options: RunOptions, needs: Needs) -> None:
        self._needs = needs
        self._most_seats = min(len(trace), options.max_num_seqs or len(trace))
        if (options.discipline or profile.discipline) == "chunked":
            self._most_seats = min(self._most_seats, options.max_num_batched_tokens)
        batch = min(TYPICAL_BATCH, self._most_seats)
        step_s = float(needs.step_s[batch - 1])
        work_s = needs.prefill_s + needs.context_s(needs.tokens) + needs.tokens * step_s / batch
        work_s = np.maximum(work_s, LEAST_WORK_S)
        self.work_s: dict[int, float] = dict(zip(needs.id.tolist(), work_s.tolist(), strict=True))
        slack_s = needs.end_s - needs.tokens * step_s
        keys = {"deadline": needs.end_s, "slack": slack_s, "work": work_s}
        self._key = {
            order: dict(zip(needs.id.tolist(), key.tolist(), strict=True))
            for order, key in keys.items()
        }
        spare_s = needs.end_s - needs.start_s - needs.alone_prefill_s
        spare_s -= needs.tokens * needs.least_step_s
        room_s = zip(needs.start_s.tolist(), spare_s.tolist(), strict=True)
        self._room_s = dict(zip(needs.id.tolist(), room_s, strict=True))
        self._first_ps = to_ps(float(trace.arrival_s[0]))

    def chosen(self, factor: float) -> frozenset[int]:
        """Return whom to serve if all work is multiplied by a factor and done one by one."""
        needs = self._needs
        kept: list[tuple[float, int]] = []
        done_s = 0.0
        for row in np.lexsort((needs.id, needs.end_s)).tolist():
            request = int(needs.id[row])
            work_s = factor * self.work_s[request]
            heappush(kept, (-work_s, -request))
            done_s = max(done_s, float(needs.start_s[row])) + work_s
            if done_s > needs.end_s[row]:
                done_s += heappop(kept)[0]
        return frozenset(-request for _, request in kept)

    def plan(self, requests: Iterable[int], order: Order = "deadline") -> Planned:
        """Return the plan to serve these in an order, on all seats."""
        key = self._key[order]
        ordered = sorted(requests, key=lambda request: (key[request], request))
        return Planned(tuple(ordered), self._most_seats)

    def near(self, plan: Planned, over: float, rng: np.random.Generator) -> Planned:
        """Return a plan near another; nearer when more of the search is `over`, from 0 to 1.

        A few requests are added and a few dropped, light ones more often added and heavy ones
        dropped; sometimes seats or order change as well.
        """
        planned = set(plan.order)
        out = [request for request in self.work_s if request not in planned]
        share = CHANGES * (1 - over)
        count = int(rng.poisson(share * len(self.work_s)))
        if rng.random() < OTHERWISE / 4:
            count = int(rng.integers(1 + len(self.work_s) // 2))
        added = self._drawn(out, 1 + count, -1, rng)
        dropped = self._drawn(plan.order, int(rng.integers(2 + count)), 1, rng)
        times_ps = dict(zip(plan.order, plan.not_before_ps, strict=True))
        if rng.random() < OTHERWISE:
            times_ps = dict.fromkeys(times_ps, 0)
        for request in added:
            times_ps[request] = 0
        if times_ps and rng.random() < OTHERWISE:
            request = list(times_ps)[rng.integers(len(times_ps))]
            times_ps[request] = self._some_time_ps(request, rng)
        order = [request for request in plan.order if request not in dropped]
        if rng.random() < OTHERWISE:
            by = ORDERS[rng.integers(len(ORDERS))]
            order = list(self.plan(added.union(order), by).order)
        else:
            key = self._key["deadline"]
            for request in sorted(added):
                later = (at for at, other in enumerate(order) if key[other] > key[request])
                order.insert(next(later, len(order)), request)
        if order and rng.random() < OTHERWISE:
            moved = order.pop(rng.integers(len(order)))
            order.insert(rng.integers(len(order) + 1), moved)
        seats = plan.max_num_seqs
        if rng.random() < OTHERWISE:
            seats = max(1, round(self._most_seats * float(np.exp(-rng.uniform(0.0, 2.5)))))
        strict = plan.strict ^ bool(rng.random() < OTHERWISE / 2)
        return Planned(tuple(order), seats, strict, tuple(times_ps[i] for i in order))

    def _some_time_ps(self, request: int, rng: np.random.Generator) -> int:
        """Return an instant until which a request may well be held back."""
        start_s, spare_s = self._room_s[request]
        return self._first_ps + to_ps(start_s + rng.random() * spare_s)

    def _drawn(
        self, requests: Sequence[int], count: int, power: int, rng: np.random.Generator
    ) -> frozenset[int]:
        """Draw different requests by their work to a power."""
        count = min(count, len(requests))
        if not count:
            return frozenset()
        weight = np.array([self.work_s[request] for request in requests]) ** power
        drawn = rng.choice(len(requests), size=count, replace=False, p=weight / weight.sum())
        return frozenset(requests[at] for at in drawn.tolist())

    def total_s(self, requests: Iterable[int]) -> float:
        """Return the work of some requests [s]."""
        return sum((self.work_s[request] for request in sorted(requests)), 0.0)
