"""The best schedule found by one who knows everything: a lower bound on the best possible.

Every candidate is a plan (`policies.planned`): whom to serve, in which order, on how many seats.
Whom to serve is chosen as by J. M. Moore and T. J. Hodgson (Management Science 15, 1968), who
drop the job with most work whenever a deadline breaks, and improved by local search.  Nothing
counts that the simulator has not verified.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from policies.catalog import make_policy
from policies.planned import Planned
from sim.options import RunOptions, to_ps, whole_number
from sim.oracle.needs import needs_of
from sim.simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from calibrate.profile import Profile
    from policies.protocol import Policy
    from sim.oracle.needs import Needs
    from sim.result import Result
    from traces.request import Trace

Order: TypeAlias = Literal["deadline", "slack", "work"]
ORDERS = get_args(Order)

TYPICAL_BATCH = 32
"""Shares of a step are those of a batch of this size where work is compared."""
CHOOSING_SHARE = 0.25
"""Part of the budget that goes into how much work to take on."""
MOSTLY_MET = 0.9
"""With this part of a plan met, more is taken on."""
LEAST_WORK_S = 1e-9
"""With a prefix cache a request of one token may seem to be no work at all."""
CHANGES = 0.06
"""Part of the requests that a step of the local search adds beyond one, on average at its start."""
OTHERWISE = 0.4
"""How often a step changes the order, a place in it, or the seats; half as often strictness,
and a fourth as often very many requests."""
REPEATS = 100
"""After so many plans in a row that were run before there is hardly a new one."""


@dataclass(frozen=True)
class Found:
    """The best schedule found.

    Attributes
    ----------
    goodput_pct : float or None
        Its goodput [%]; None when no request has an SLA.
    met : int
        Requests it meets: so many at least can be met.
    plan : Planned or Policy
        What was run: a plan, or one of the policies to start from if no plan met more.
    simulations : int
        How many were run.
    result : Result
        The run itself.
    """

    goodput_pct: float | None
    met: int
    plan: Policy
    simulations: int
    result: Result


def best_found(
    trace: Trace,
    profile: Profile,
    *,
    options: RunOptions | None = None,
    budget: int = 60,
    seed: int = 0,
    starts: Sequence[Policy | str] = ("saber+",),
) -> Found:
    """Return the best schedule of a trace on one replica that the search comes upon.

    It meets at least as many requests as each of `starts`, run with the same seed.

    Parameters
    ----------
    trace : Trace
        What arrives.
    profile : Profile
        What a step costs.
    options : RunOptions, optional
        How to run.
    budget : int
        How many simulations to run at the most; one for each of `starts` is among them.
    seed : int
        Of the search, and of the policies to start from: the same seed finds the same.
    starts : sequence of Policy or str
        Policies to start from, as `policies.catalog.make_policy` takes them; the search goes on
        from whom the best of them met, and when it released them.

    Raises
    ------
    OptionError
        For a budget below 1 or of fewer simulations than `starts`, or options that `sim.oracle.cap`
        refuses.
    """
    options = options or RunOptions()
    policies = [make_policy(start) for start in starts]
    budget = whole_number("budget", budget, max(1, len(policies)))
    search = _Search(trace, profile, options, needs_of(trace, profile, options), budget, seed)
    for policy in policies:
        search.run(policy)
    search.choose()
    search.improve(np.random.default_rng(seed))
    met, plan, result = search.best
    return Found(result.summary()["goodput_pct"], len(met), plan, search.done, result)


class _Search:
    """Runs plans within a budget and keeps the best."""

    def __init__(
        self,
        trace: Trace,
        profile: Profile,
        options: RunOptions,
        needs: Needs,
        budget: int,
        seed: int,
    ) -> None:
        self._trace = trace
        self._profile = profile
        self._options = options
        self._needs = needs
        self._budget = budget
        self._seed = seed
        self._most_seats = min(len(trace), options.max_num_seqs or len(trace))
        if (options.discipline or profile.discipline) == "chunked":
            self._most_seats = min(self._most_seats, options.max_num_batched_tokens)
        batch = min(TYPICAL_BATCH, self._most_seats)
        step_s = float(needs.step_s[batch - 1])
        work_s = needs.prefill_s + needs.context_s(needs.tokens) + needs.tokens * step_s / batch
        work_s = np.maximum(work_s, LEAST_WORK_S)
        self._work_s: dict[int, float] = dict(zip(needs.id.tolist(), work_s.tolist(), strict=True))
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
        self.done = 0
        self._tried: set[Planned] = set()
        self._best: tuple[frozenset[int], Policy, Result] | None = None

    @property
    def best(self) -> tuple[frozenset[int], Policy, Result]:
        """Whom the run met that met most, the first of equals, with its policy and result."""
        if self._best is None:
            raise RuntimeError("nothing was run")
        return self._best

    def run(self, policy: Policy) -> frozenset[int]:
        """Simulate a policy and return whom it met."""
        self.done += 1
        options = self._options
        if isinstance(policy, Planned):
            self._tried.add(policy)
            options = replace(options, max_num_seqs=None)
        result = simulate(
            self._trace, self._profile, policy=policy, seed=self._seed, **vars(options)
        )
        columns = result.columns
        # Requests of a warm-up may be met too, and count for nothing.
        met = frozenset(columns.id[columns.met].tolist()) & self._work_s.keys()
        self._last = result
        if self._best is None or len(met) > len(self._best[0]):
            self._best = met, policy, result
        return met

    def choose(self) -> None:
        """Find how much work can be taken on, by halving the span of a factor on all of it."""
        low, high = 0.25, 4.0
        last = max(self.done + 1, round(self._budget * CHOOSING_SHARE))
        while self.done < min(last, self._budget):
            factor = (low * high) ** 0.5
            chosen = self._chosen(factor)
            plan = self._plan(chosen, self._most_seats)
            if plan in self._tried:
                return
            met = self.run(plan)
            if len(met & chosen) >= MOSTLY_MET * len(chosen):
                high = factor
            else:
                low = factor

    def improve(self, rng: np.random.Generator) -> None:
        """Change the best plan here and there, and keep what meets more, or as many by less work.

        Now and then as many by more work are kept as well, to get away from where it is stuck.

        A few requests are added and a few dropped, light ones more often added and heavy ones
        dropped, and fewer later on; sometimes seats or order change as well.
        """
        met, policy, result = self.best
        current = policy if isinstance(policy, Planned) else self._plan(met, self._most_seats)
        current = self._only(current, met, result)
        met_count, work_s = len(met), self._total_s(met)
        repeats = 0
        while self.done < self._budget and met_count < len(self._work_s) and repeats < REPEATS:
            plan = self._changed(current, rng)
            if plan in self._tried:
                repeats += 1
                continue
            repeats = 0
            met = self.run(plan)
            met_s = self._total_s(met)
            lighter = met_s <= work_s or rng.random() < OTHERWISE
            if len(met) > met_count or (len(met) == met_count and lighter):
                current = self._only(plan, met, self._last)
                met_count, work_s = len(met), met_s

    def _only(self, plan: Planned, met: frozenset[int], result: Result) -> Planned:
        """Return the plan to release those that a run met, and nobody else, as in that run."""
        admitted_ps = result.ledger.admitted_ps
        place = {request: at for at, request in enumerate(plan.order)}
        order = sorted(met, key=lambda i: (admitted_ps[i], place.get(i, len(place)), i))
        return replace(plan, order=tuple(order), not_before_ps=tuple(admitted_ps[i] for i in order))

    def _changed(self, plan: Planned, rng: np.random.Generator) -> Planned:
        """Return a plan near another."""
        planned = set(plan.order)
        out = [request for request in self._work_s if request not in planned]
        share = CHANGES * (1 - self.done / self._budget)
        count = int(rng.poisson(share * len(self._work_s)))
        if rng.random() < OTHERWISE / 4:
            count = int(rng.integers(1 + len(self._work_s) // 2))
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
            order = list(self._plan(added.union(order), 1, by).order)
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

    def _chosen(self, factor: float) -> frozenset[int]:
        """Return whom to serve if all work is multiplied by a factor and done one by one."""
        needs = self._needs
        kept: list[tuple[float, int]] = []
        done_s = 0.0
        for row in np.lexsort((needs.id, needs.end_s)).tolist():
            request = int(needs.id[row])
            work_s = factor * self._work_s[request]
            heappush(kept, (-work_s, -request))
            done_s = max(done_s, float(needs.start_s[row])) + work_s
            if done_s > needs.end_s[row]:
                done_s += heappop(kept)[0]
        return frozenset(-request for _, request in kept)

    def _plan(self, requests: Iterable[int], seats: int, order: Order = "deadline") -> Planned:
        key = self._key[order]
        return Planned(tuple(sorted(requests, key=lambda request: (key[request], request))), seats)

    def _drawn(
        self, requests: Sequence[int], count: int, power: int, rng: np.random.Generator
    ) -> frozenset[int]:
        """Draw different requests by their work to a power."""
        count = min(count, len(requests))
        if not count:
            return frozenset()
        weight = np.array([self._work_s[request] for request in requests]) ** power
        drawn = rng.choice(len(requests), size=count, replace=False, p=weight / weight.sum())
        return frozenset(requests[at] for at in drawn.tolist())

    def _total_s(self, requests: Iterable[int]) -> float:
        return sum((self._work_s[request] for request in sorted(requests)), 0.0)
