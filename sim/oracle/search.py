"""The best schedule found by one who knows everything: a lower bound on the best possible.

Every candidate is a plan (`policies.planned`): whom to serve, in which order, on how many seats.
Whom to serve is chosen as by J. M. Moore and T. J. Hodgson (Management Science 15, 1968), who
drop the job with most work whenever a deadline breaks, and improved by local search.  Nothing
counts that the simulator has not verified.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from policies.catalog import make_policy
from policies.planned import Planned
from sim.options import RunOptions, whole_number
from sim.oracle.moves import OTHERWISE, Moves
from sim.oracle.needs import needs_of
from sim.simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from calibrate.profile import Profile
    from policies.protocol import Policy
    from sim.oracle.needs import Needs
    from sim.result import Result
    from traces.request import Trace

CHOOSING_SHARE = 0.25
"""Part of the budget that goes into how much work to take on."""
MOSTLY_MET = 0.9
"""With this part of a plan met, more is taken on."""
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
        self._budget = budget
        self._seed = seed
        self._moves = Moves(trace, profile, options, needs)
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
        met = frozenset(columns.id[columns.met].tolist()) & self._moves.work_s.keys()
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
            chosen = self._moves.chosen(factor)
            plan = self._moves.plan(chosen)
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
        """
        met, policy, result = self.best
        current = policy if isinstance(policy, Planned) else self._moves.plan(met)
        current = self._only(current, met, result)
        met_count, work_s = len(met), self._moves.total_s(met)
        everybody, repeats = len(self._moves.work_s), 0
        while self.done < self._budget and met_count < everybody and repeats < REPEATS:
            plan = self._moves.near(current, self.done / self._budget, rng)
            if plan in self._tried:
                repeats += 1
                continue
            repeats = 0
            met = self.run(plan)
            met_s = self._moves.total_s(met)
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
