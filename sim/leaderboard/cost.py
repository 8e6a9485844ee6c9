"""What a decision costs: a decider in front of a made-up engine, with many requests waiting."""

from __future__ import annotations

import gc
from dataclasses import replace
from itertools import islice
from time import perf_counter_ns
from typing import TYPE_CHECKING

import numpy as np

from policies.protocol import NEVER_PS, PS_PER_S, Pending, Running, View
from traces.workloads import TASKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from calibrate.profile import Profile
    from policies.protocol import Choice, Policy

QUEUED = 200
DECISIONS = 1000
ROUNDS = 3
SEATS = 32
"""Of the engine, for policies that do not set its batch size."""
EVENT_PS = PS_PER_S // 50
"""From one arrival or completion to the next."""
SLA_TIMES = 20
"""SLAs are the study's times this: with so many waiting, most would be hopeless otherwise."""
MOST_ARRIVALS = 5
"""Arrivals for each that is to wait, before those who wait are taken to be enough."""
MEAN_CONTEXT_TOKENS = 600.0
TOKENS_PER_S = 40


def decision_us(
    policy: Policy, profile: Profile, queued: int = QUEUED, decisions: int = DECISIONS
) -> float:
    """Return the mean time of a decision with `queued` requests waiting [microseconds].

    Requests of the study's four tasks in turn arrive at a made-up engine, or finish there, the
    oldest first, every 20 ms: whichever keeps `queued` of them outside the running batch, in front
    of the engine or, for policies that hold nothing back, in its own queue; those of a policy that
    turns requests away may be fewer.  Timers that it sets are kept.  Only `decide` is timed; of
    three rounds the fastest counts.  It is a time on this machine as it is now, not a number to be
    had again.
    """
    told = replace(profile, mean_context_tokens=MEAN_CONTEXT_TOKENS)
    return min(_Bench(policy, told, queued).mean_us(decisions) for _ in range(ROUNDS))


class _Bench:
    """One decider, the requests it holds, and those in the engine."""

    def __init__(self, policy: Policy, profile: Profile, queued: int) -> None:
        self._decide = policy.start(np.random.default_rng(0), profile).decide
        self._queued = queued
        seats = getattr(policy, "max_num_seqs", None)
        self._seats = SEATS if seats is None else int(seats)
        self._held: dict[int, Pending] = {}
        self._inside: dict[int, Pending] = {}
        self._since_ps: dict[int, int] = {}
        self._view = View(self)
        self._wake_ps = NEVER_PS
        self._arrived = 0
        self._now_ps = 0
        self.spent_ns = 0
        self.decided = 0

    def mean_us(self, decisions: int) -> float:
        """Return the mean over so many decisions, once enough requests wait."""
        for _ in range(MOST_ARRIVALS * self._queued):
            if self._waiting >= self._queued:
                break
            self._next()
        self.spent_ns = self.decided = 0
        was_on = gc.isenabled()
        gc.disable()
        try:
            while self.decided < decisions:
                self._next()
        finally:
            if was_on:
                gc.enable()
        return self.spent_ns / self.decided / 1e3

    @property
    def _waiting(self) -> int:
        return len(self._held) + max(len(self._inside) - self._seats, 0)

    def _next(self) -> None:
        """Let the next thing happen: timers until then, a completion, or an arrival."""
        event_ps = self._now_ps + EVENT_PS
        while self._wake_ps < event_ps:
            self._now_ps = max(self._wake_ps, self._now_ps)
            self._wake_ps = NEVER_PS
            self._evaluate(None, ())
        self._now_ps = event_ps
        if self._waiting >= self._queued and self._inside:
            oldest = next(iter(self._inside))
            del self._inside[oldest], self._since_ps[oldest]
            self._evaluate(None, (oldest,))
        else:
            self._evaluate(self._drawn(), ())

    def _drawn(self) -> Pending:
        """Return the next request to arrive."""
        task = TASKS[self._arrived % len(TASKS)]
        request = Pending(
            id=self._arrived,
            arrival_ps=self._now_ps,
            deadline_ps=self._now_ps + round(task.sla_s * SLA_TIMES * PS_PER_S),
            prompt_tokens=task.prompt_tokens,
            max_tokens=task.output_tokens,
            task=task.name,
            tenant=f"tenant {self._arrived % 7}",
        )
        self._arrived += 1
        self._held[request.id] = request
        return request

    def _evaluate(self, arrived: Pending | None, finished: Sequence[int]) -> None:
        view = self._view
        view.now_ps, view.arrived, view.finished = self._now_ps, arrived, finished
        view.in_engine = len(self._inside)
        start_ns = perf_counter_ns()
        choice = self._decide(view)
        self.spent_ns += perf_counter_ns() - start_ns
        self.decided += 1
        self._carry_out(choice)

    def _carry_out(self, choice: Choice) -> None:
        for request in choice.refuse:
            del self._held[request]
        for request in choice.release:
            self._inside[request] = self._held.pop(request)
            self._since_ps[request] = self._now_ps
        self._wake_ps = choice.wake_ps

    def running(self, now_ps: int) -> tuple[Running, ...]:
        """Return who holds a seat: the oldest inside, with tokens at a steady rate."""
        return tuple(
            Running(
                request.id,
                request.prompt_tokens,
                min(
                    (now_ps - self._since_ps[request.id]) * TOKENS_PER_S // PS_PER_S,
                    request.max_tokens - 1,
                ),
            )
            for request in islice(self._inside.values(), self._seats)
        )

    def waiting_ids(self) -> tuple[int, ...]:
        """Return who is inside without a seat."""
        return tuple(islice(self._inside, self._seats, None))
