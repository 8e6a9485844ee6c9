"""What a decision costs: a decider timed in a simulation in which more and more requests wait."""

from __future__ import annotations

import gc
from time import perf_counter_ns
from typing import TYPE_CHECKING

from sim.simulation import simulate
from traces.workloads import workload

if TYPE_CHECKING:
    import numpy as np

    from calibrate.profile import Profile
    from policies.protocol import Choice, Decider, Policy, View

QUEUED = 200
ROUNDS = 3
NEAR = 0.25
"""Decisions count while as many wait as asked for, or this share more or fewer."""
RATE_RPS = 60.0
"""More than any engine serves of this workload: the queue only grows."""
SERVED = 256
"""Requests beyond those that wait: so many can be in the largest batch."""


def decision_us(policy: Policy, profile: Profile, queued: int = QUEUED) -> float | None:
    """Return the mean time of a decision with about `queued` requests waiting [microseconds].

    The study's heavy workload W1 comes at 60 requests a second, and every decision is timed while
    the requests without a seat in the engine are that many, within a quarter; arrivals and
    completions have the shares that they have in such an overload.  Of three rounds the fastest
    counts.  It is a time on this machine as it is now, not a number to be had again.

    None for a policy under which so many never wait, as it turns requests away.
    """
    n = round((1 + NEAR) * queued) + SERVED + round(RATE_RPS)
    trace = workload("W1", rps=RATE_RPS, n=n, seed=0)
    means = []
    was_on = gc.isenabled()
    gc.disable()
    try:
        for _ in range(ROUNDS):
            timed = _Timed(policy, queued)
            simulate(trace, profile, policy=timed, until_s=n / RATE_RPS)
            if timed.decided:
                means.append(timed.spent_ns / timed.decided / 1e3)
    finally:
        if was_on:
            gc.enable()
    return min(means, default=None)


class _Timed:
    """A policy whose decisions are timed while about so many wait."""

    def __init__(self, policy: Policy, queued: int) -> None:
        self._policy = policy
        self._least, self._most = (1 - NEAR) * queued, (1 + NEAR) * queued
        self._held = 0
        self.label = policy.label
        self.spent_ns = self.decided = 0
        seats = getattr(policy, "max_num_seqs", None)
        if seats is not None:
            self.max_num_seqs = seats

    def start(self, rng: np.random.Generator, profile: Profile) -> Decider:
        """Return the decider, with a clock around it."""
        return _Clock(self, self._policy.start(rng, profile))

    def note(self, view: View, choice: Choice, spent_ns: int) -> None:
        """Count a decision, if it was made while about so many waited."""
        if self._least <= self._held + len(view.waiting_ids) <= self._most:
            self.spent_ns += spent_ns
            self.decided += 1
        self._held += (view.arrived is not None) - len(choice.release) - len(choice.refuse)


class _Clock:
    def __init__(self, timed: _Timed, decider: Decider) -> None:
        self._timed = timed
        self._decide = decider.decide

    def decide(self, view: View) -> Choice:
        """Return what the decider chose, and have the time noted that it took."""
        start_ns = perf_counter_ns()
        choice = self._decide(view)
        self._timed.note(view, choice, perf_counter_ns() - start_ns)
        return choice
