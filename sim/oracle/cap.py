"""How many requests any schedule can meet at the most: an upper bound, with its proof.

The engine is that of `sim.engine`: steps of a replica do not overlap, a step decodes a batch of
requests, computes prompts, or does both, and takes what `sim.costs` says.  The scheduler may be
anyone: it knows every arrival and every length, orders, holds back, refuses and preempts as it
likes, and may choose the token budget of every step.

Proof
-----
*Where the work of a met request lies.*  Every step that serves request i lies within the window
W_i from its arrival to its deadline, the latter less the client overhead.  Its prompt is done by
``latest_i``: its deadline less a shortest step for each token after the first.  Of these tokens at
most ``outside / shortest step`` come outside any window W, where `outside` is the part of W_i
outside W; so at least m_i come within.  (What a step does counts in proportion where W cuts it.)

*Charging a step.*  Let a step decode B met requests, N be how many could be decoding then (from
arrival plus their own prompt's least time on, until the deadline), and x be its duration less what
is charged as follows.  Each prompt token in it is charged the least a token can add to a step: on
average over the step (prefill-first), or on the margin (chunked, where prompts may be nearly free:
a flat table of prefill costs then leaves their bound weak).  Each met request is charged its
attention to its own context beyond a base, the context of the trace's shortest prompt and one
token.  Then x is at least step(B), the cheapest step of B or more requests, all with the base
context.  Each of the B is charged x / B.  The charges of a step sum to at most its duration, so
that all charges in a window sum to at most ``replicas * length``.

*What tokens cost.*  Take a price p_i for each request and let ``discount_i(N)`` be the maximum
over b <= N of ``p_i / step(b) - 1 / b``, or 0 if that is negative.  Then x / B is at least
``p_i - discount_i(N) x``, as x >= step(B).  Sum over the steps of i within W: its tokens are
charged at least ``p_i m_i`` less the integral of discount_i over the time of its steps.  That time
lies within both W and W_i, and the prompts computed there, its own and those of the same replica,
take their charge away from it.  A prompt j of which W and W_i hold all from arrival to latest_j is
among them if j is met, and gives back at least its charge times the least discount_i(N) of that
time: this is the stall j causes i.  (For one price this is a tangent to the least share of a step
as a convex function of the mean step time that i's deadline affords.)

*The largest set.*  With z_i = 1 for the met, each window demands
``sum z_i alone_i + sum z_i z_j stall_ij <= replicas * length``, where only pairs on one replica
count.  Let S be the symmetric part of the stalls and d >= 0 such that S + d I has no negative
eigenvalue.  As z_i z_i = z_i the quadratic form is ``z'(S + d I)z - d sum z``, convex on each
replica; by Jensen the replicas together have at least 1 / replicas of that of all, and a convex
function is nowhere below its tangents.  Each tangent is a linear condition on z that every
schedule fulfils, whatever the prices and the point it touches.  The bound is the largest z in
{0, 1}^n that fulfils a number of them, or where the search for it is cut off, a bound on that.

*What is left out* only makes the bound larger: that a request in the batch cannot pause, that
prompts wait for a step's end, the KV cache (refusals aside), the order of admission.  A preempted
request gets one token from its recompute instead of a decode; where the cache is small enough for
preemption, shortest steps and prices respect that.  With prefix caching prompts are taken to be
free.  Jitter, goodput limits, clients, failures and scaling are refused: steps, objectives,
arrivals or replicas would be others.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import TYPE_CHECKING

import numpy as np

from sim.options import RunOptions, whole_number
from sim.oracle.needs import SLACK, needs_of
from sim.oracle.windows import windows_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from calibrate.profile import Profile
    from sim.oracle.needs import Needs
    from traces.request import Trace

ROUNDS = 8
CONDITIONS_A_ROUND = 8
NODES = 100
"""Where the search for a largest set is cut off: not by time, so that every machine agrees."""
SOLVED_TO = 1e-4
"""The solver's tolerances, of a request, many times over."""
LEAST_GAIN = 0.02
"""Another round pays only if the one before lowered the bound by this many requests."""
MOST_PAIRED = 400
"""Of more requests the stalls are left out: eigenvalues of larger matrices take too long."""


@dataclass(frozen=True)
class Cap:
    """An upper bound on what any schedule can meet.

    Attributes
    ----------
    met : int
        No schedule meets more requests.
    with_sla : int
        Requests that count for goodput.
    goodput_pct : float or None
        The bound in percent of these; None without any.
    exact : bool
        Whether `met` is the largest set that fulfils every condition looked at; else the search
        was cut off, and it is a bound on that.  No statement about schedules.
    why : str
        What limits the bound, in words.
    """

    met: int
    with_sla: int
    goodput_pct: float | None
    exact: bool
    why: str


def cap(
    trace: Trace, profile: Profile, *, replicas: int = 1, options: RunOptions | None = None
) -> Cap:
    """Return how many requests of a trace any schedule can meet at the most.

    The proof is in the docstring of this module.

    Parameters
    ----------
    trace : Trace
        What arrives.
    profile : Profile
        What a step costs on every replica.
    replicas : int
        How many there are.
    options : RunOptions, optional
        How the run would be made.  `max_num_seqs` limits the batch only if given: a policy may
        bring its own.

    Raises
    ------
    OptionError
        For options under which the proof does not hold, see there.
    """
    replicas = whole_number("replicas", replicas, 1)
    needs = needs_of(trace, profile, options or RunOptions())
    count = len(needs.id)
    alone = f"{needs.objectives - count} of {needs.objectives} cannot be met even alone"
    if not count:
        return _cap(0, needs, True, alone)
    conditions = _Conditions(needs, replicas)
    met = np.ones(count)
    bound = float(count)
    for _ in range(ROUNDS):
        if not conditions.add_violated(met):
            break
        before = bound
        bound, met = conditions.relaxed()
        if before - bound < LEAST_GAIN:
            break
    if not conditions.rows:
        return _cap(count, needs, True, f"{alone}; no window is too full for the others")
    exact, going_down = False, True
    while going_down:
        least, met, solved = conditions.whole()
        going_down = floor(least) < floor(bound)
        bound = min(bound, least)
        if solved and not conditions.add_violated(met):
            exact, going_down = True, False
    why = f"{alone}; windows of time hold no more of the others ({len(conditions.rows)} conditions)"
    return _cap(floor(bound), needs, exact, why)


def _cap(met: int, needs: Needs, exact: bool, why: str) -> Cap:
    goodput_pct = 100 * met / needs.objectives if needs.objectives else None
    return Cap(met, needs.objectives, goodput_pct, exact, why)


class _Conditions:
    """Linear conditions that every set of met requests fulfils, and the largest such set."""

    def __init__(self, needs: Needs, replicas: int) -> None:
        self._count = len(needs.id)
        self._replicas = replicas
        self._windows = windows_of(needs)
        self.rows: list[NDArray[np.float64]] = []
        self._limits: list[float] = []

    def add_violated(self, met: NDArray[np.float64]) -> bool:
        """Add conditions that `met` does not fulfil; return whether there are any."""
        windows, room_s = self._windows, self._replicas * self._windows.length_s
        work = windows.work(met, self._replicas)
        excess = work.total_s / room_s - 1
        found = 0
        for window in np.argsort(-excess, kind="stable")[: 2 * CONDITIONS_A_ROUND].tolist():
            if excess[window] <= SLACK or found == CONDITIONS_A_ROUND:
                break
            row, limit = self._tangent(
                work.alone_s[window], self._stalls_s(window, work.price[window]), met
            )
            limit += room_s[window]
            # The tangent may be fulfilled where z_i z_i = z_i does not hold.
            if row @ met > limit * (1 + SLACK) + SLACK:
                self.rows.append(row)
                self._limits.append(limit)
                found += 1
        return found > 0

    def relaxed(self) -> tuple[float, NDArray[np.float64]]:
        """Return the most that can be met if requests can be met in part, and which."""
        from scipy.optimize import linprog

        found = linprog(
            -np.ones(self._count),
            A_ub=np.array(self.rows),
            b_ub=np.array(self._limits),
            bounds=(0, 1),
            method="highs",
        )
        if found.x is None or found.fun is None:
            raise RuntimeError(f"the linear program was not solved: {found.message}")
        return SOLVED_TO - float(found.fun), np.asarray(found.x)

    def whole(self) -> tuple[float, NDArray[np.float64], bool]:
        """Return a bound on the largest set, the largest known, and whether they agree."""
        from scipy.optimize import Bounds, LinearConstraint, milp

        found = milp(
            -np.ones(self._count),
            integrality=np.ones(self._count, dtype=np.int64),
            bounds=Bounds(0, 1),
            constraints=LinearConstraint(np.array(self.rows), -np.inf, np.array(self._limits)),
            options={"node_limit": NODES},
        )
        if found.x is None or found.mip_dual_bound is None:
            return float(self._count), np.ones(self._count), False
        return SOLVED_TO - float(found.mip_dual_bound), np.round(found.x), found.status == 0

    def _stalls_s(self, window: int, price: NDArray[np.int64]) -> NDArray[np.float64]:
        if self._count > MOST_PAIRED:
            return np.zeros((self._count, self._count))
        return self._windows.stalls_s(window, price)

    def _tangent(
        self,
        alone_s: NDArray[np.float64],
        stalls_s: NDArray[np.float64],
        met: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], float]:
        """Return the tangent at `met` of the work in a window as coefficients and a limit."""
        pairs = (stalls_s + stalls_s.T) / 2
        lift = max(0.0, -float(np.linalg.eigvalsh(pairs)[0])) * (1 + SLACK) if pairs.any() else 0.0
        slope = (pairs @ met + lift * met) / self._replicas
        return alone_s + 2 * slope - lift, float(met @ slope)
