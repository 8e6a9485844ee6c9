"""What tests of policies with a queue of their own share: a bench for deciders, paired runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from calibrate import load_profile
from calibrate.profile import Profile
from calibrate.steptime import StepCost
from policies.protocol import NEVER_PS, PS_PER_S, Pending, Running, View
from sim import simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from policies.protocol import Choice, Policy
    from traces.request import Trace

PAPER = load_profile("paper-qwen2.5-coder-3b")

LINE = Profile(
    name="line",
    method="simulated",
    cost=StepCost.affine(decode_s=0.01, prefill_s=0.1),
    kv_tokens=1000,
    kv_source="ample",
    discipline="prefill-first",
)
"""Steps of 10 ms at any batch, prefills of 100 ms."""


class Bench:
    """Shows a decider one evaluation after another, and is the engine: who is released sits.

    A test says what the seated have generated: ``bench.generated[request] = 5``; an answer has at
    least one token, and as many as were generated when it finishes.
    """

    def __init__(self, policy: Policy, profile: Profile = LINE) -> None:
        self.decider = policy.start(np.random.default_rng(7), profile)
        self.view = View(self)
        self.generated: dict[int, int] = {}
        self.lengths: dict[int, int] = {}
        self.pending: dict[int, Pending] = {}
        self.choice: Choice | None = None

    def running(self, now_ps: int) -> tuple[Running, ...]:
        prompts = {request: self.pending[request].prompt_tokens for request in self.generated}
        return tuple(Running(i, prompts[i], tokens) for i, tokens in self.generated.items())

    def waiting_ids(self) -> tuple[int, ...]:
        return ()

    def output_tokens(self, request: int) -> int:
        return self.lengths[request]

    def arrive(
        self,
        request: int,
        at_s: float = 0.0,
        *,
        prompt: int = 1,
        most: int = 10,
        sla_s: float | None = None,
        tenant: str = "",
    ) -> list[int]:
        """Return who is released when a request arrives."""
        now_ps = round(at_s * PS_PER_S)
        deadline_ps = NEVER_PS if sla_s is None else now_ps + round(sla_s * PS_PER_S)
        arrived = Pending(request, now_ps, deadline_ps, prompt, most, tenant=tenant)
        self.pending[request] = self.view.arrived = arrived
        return self._decide(at_s)

    def finish(self, *requests: int, at_s: float = 0.0) -> list[int]:
        """Return who is released when these finish."""
        self.view.finished = requests
        for request in requests:
            self.lengths[request] = max(self.generated.pop(request), 1)
        return self._decide(at_s)

    def give_up(self, request: int, at_s: float = 0.0) -> list[int]:
        """Return who is released when a client gives up a request."""
        self.view.cancelled = (request,)
        self.generated.pop(request, None)
        return self._decide(at_s)

    def wake(self, at_s: float) -> list[int]:
        """Return who is released at a timer."""
        return self._decide(at_s)

    def drain(self) -> list[int]:
        """Return the order in which the rest is released, one request in the engine at a time."""
        order: list[int] = []
        while self.generated:
            order += self.finish(next(iter(self.generated)))
        return order

    def _decide(self, at_s: float) -> list[int]:
        view = self.view
        view.now_ps = round(at_s * PS_PER_S)
        view.in_engine = len(self.generated)
        self.choice = self.decider.decide(view)
        view.arrived, view.finished, view.cancelled = None, (), ()
        for request in self.choice.release:
            assert request not in self.generated
            self.generated[request] = 0
        return list(self.choice.release)


def arrive_all(bench: Bench, lengths: Iterable[int]) -> None:
    """Let requests 0, 1, 2 ... of these max_tokens arrive at once."""
    for request, most in enumerate(lengths):
        bench.arrive(request, most=most)


def goodputs(
    policy: Policy | str,
    trace_of: Callable[[int], Trace],
    seeds: Iterable[int] = range(10),
    profile: Profile = PAPER,
) -> NDArray[np.float64]:
    """Return the goodput [%] of a run for each seed; the same seed has the same arrivals."""
    return np.array(
        [
            simulate(trace_of(seed), profile, policy, seed=seed).summary()["goodput_pct"]
            for seed in seeds
        ]
    )


def standard_errors(values: NDArray[np.float64]) -> float:
    """Return the mean in standard errors of the mean."""
    return float(values.mean() / (values.std(ddof=1) / np.sqrt(len(values))))
