"""The engine against closed forms; tolerances are four standard errors of independent runs."""

from __future__ import annotations

from math import factorial
from typing import TYPE_CHECKING

import numpy as np
import pytest

from calibrate.profile import Profile
from calibrate.steptime import StepCost
from policies.catalog import make_policy
from sim import simulate
from traces.request import Trace

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from policies.protocol import Choice, Decider, Policy, View

REPLICATIONS = 24
REQUESTS = 20_000
WARM_UP = 1_000
STEP_S = 0.00025


def profile_of(prefill_s: float) -> Profile:
    """Return an engine whose steps take the same time at any batch and context."""
    return Profile(
        name="closed-form",
        method="simulated",
        cost=StepCost.affine(decode_s=STEP_S, prefill_s=prefill_s),
        kv_tokens=10**9,
        kv_source="ample",
        discipline="prefill-first",
    )


def mean_waits(
    slots: int,
    rate: float,
    lengths: Callable[[np.random.Generator], NDArray[np.int64]],
    first: float,
) -> NDArray[np.float64]:
    """Return the mean wait for a slot [s] of each replication, after the warm-up."""
    waits = []
    for replication in range(REPLICATIONS):
        rng = np.random.default_rng([slots, replication])
        arrival_s = np.cumsum(rng.exponential(1 / rate, REQUESTS))
        output = lengths(rng)
        trace = Trace(arrival_s, np.ones(REQUESTS, dtype=np.int64), output)
        r = simulate(trace, profile_of(first), f"static({slots})").requests
        service_s = first + (output - 1) * STEP_S
        waits.append(float((r.finished_s - r.arrival_s - service_s)[WARM_UP:].mean()))
    return np.array(waits)


def assert_mean_is(samples: NDArray[np.float64], expected: float, bias: float = 0.0) -> None:
    error = samples.std(ddof=1) / np.sqrt(len(samples))
    # A test that any number passes proves nothing: the error has to be small beside the value.
    assert error < 0.025 * expected
    assert expected - 4 * error <= samples.mean() <= expected + bias + 4 * error


def test_one_slot_with_equal_lengths_is_m_d_1() -> None:
    # Service: 0.1 s of prefill and 1600 steps of 0.25 ms.  Wait: Pollaczek-Khinchine, no variance.
    service_s, load = 0.5, 0.7
    waits = mean_waits(1, load / service_s, lambda rng: np.full(REQUESTS, 1601), first=0.1)
    assert_mean_is(waits, load * service_s / (2 * (1 - load)))


def test_one_slot_with_geometric_lengths_is_m_m_1() -> None:
    # With the first token as long as the others, service is geometric in steps of 0.25 ms: its
    # mean is 0.5 s and it is, up to one step in 2000, exponential.
    mean_steps, load = 2000, 0.7
    service_s = mean_steps * STEP_S
    waits = mean_waits(
        1,
        load / service_s,
        lambda rng: rng.geometric(1 / mean_steps, REQUESTS),
        first=STEP_S,
    )
    second_moment = STEP_S**2 * (2 - 1 / mean_steps) * mean_steps**2
    exact = load / service_s * second_moment / (2 * (1 - load))
    m_m_1 = load * service_s / (1 - load)
    assert exact == pytest.approx(m_m_1, rel=2 / mean_steps)
    assert_mean_is(waits, exact)


@pytest.mark.parametrize("slots", [2, 5])
def test_slots_with_steps_that_no_batch_slows_are_m_m_c(slots: int) -> None:
    # No prefill cost, so that prompts stall nobody.  A request can only be seated when a step ends:
    # that adds at most one step to the wait.
    mean_steps, load = 2000, 0.7
    service_s = mean_steps * STEP_S
    offered = load * slots
    waits = mean_waits(
        slots,
        offered / service_s,
        lambda rng: rng.geometric(1 / mean_steps, REQUESTS),
        first=0.0,
    )
    tail = offered**slots / factorial(slots) / (1 - load)
    erlang_c = tail / (sum(offered**k / factorial(k) for k in range(slots)) + tail)
    # The first token costs nothing: service is one step shorter on average.
    expected = erlang_c * (service_s - STEP_S) / (slots * (1 - load))
    assert_mean_is(waits, expected, bias=2 * STEP_S / (1 - load))


class Watched:
    """A policy whose deciders add up the time requests spend in the engine."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.label = policy.label
        self.areas: list[int] = []
        seats = getattr(policy, "max_num_seqs", None)
        if seats is not None:
            self.max_num_seqs = seats

    def start(self, rng: np.random.Generator, profile: Profile) -> Decider:
        inner = self.policy.start(rng, profile)
        self.areas.append(0)
        return Watcher(inner, self.areas)


class Watcher:
    def __init__(self, inner: Decider, areas: list[int]) -> None:
        self.inner, self.areas = inner, areas
        self.index = len(areas) - 1
        self.since_ps, self.inside = 0, 0

    def decide(self, view: View) -> Choice:
        self.areas[self.index] += self.inside * (view.now_ps - self.since_ps)
        choice = self.inner.decide(view)
        self.since_ps, self.inside = view.now_ps, view.in_engine + len(choice.release)
        return choice


@pytest.mark.parametrize("policy", ["static(4)", "saber", "saber(lpq=all)", "saber(interval=0.05)"])
@pytest.mark.parametrize("discipline", ["prefill-first", "chunked"])
@pytest.mark.parametrize("replicas", [1, 3])
def test_littles_law_holds_to_the_picosecond(policy: str, discipline: str, replicas: int) -> None:
    # Requests in the engine, integrated over time, are the sum of the times spent there.
    rng = np.random.default_rng(5)
    n = 300
    trace = Trace(
        np.cumsum(rng.exponential(0.05, n)),
        rng.integers(1, 900, n),
        rng.integers(1, 400, n),
        sla_s=8.0,
    )
    profile = Profile(
        name="little",
        method="simulated",
        cost=StepCost.affine(
            decode_s=0.01,
            sequence_s=0.0002,
            prefill_s=0.001,
            prompt_token_s=0.00008,
            context_token_s=1e-8,
        ),
        kv_tokens=6_000,
        kv_source="tight",
        discipline="prefill-first",
    )
    watched = Watched(make_policy(policy))
    r = simulate(trace, profile, watched, replicas=replicas, discipline=discipline)
    stays_ps = sum(
        finished - admitted
        for finished, admitted in zip(r.ledger.finished_ps, r.ledger.admitted_ps, strict=True)
    )
    assert r.summary()["statuses"]["finished"] == n
    assert sum(watched.areas) == stays_ps
