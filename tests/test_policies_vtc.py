"""Virtual token counters: who goes next, who comes back, and the bound on the difference."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest
from queue_cases import PAPER, Bench

from policies.catalog import make_policy
from policies.edf import Edf
from policies.protocol import PolicyError
from policies.vtc import Vtc
from sim import simulate
from traces.request import Trace

if TYPE_CHECKING:
    from policies.protocol import Choice, Policy, View

ONE = Vtc(max_num_seqs=1)


def test_the_tenant_served_least_goes_next_and_its_oldest_request_first():
    bench = Bench(ONE)
    for request in range(5):
        bench.arrive(request, tenant="a", prompt=100)
    for request in range(5, 9):
        bench.arrive(request, tenant="b", prompt=60)
    # b begins at the 100 of a; one token each counts 2: a 102, b 100 | b 162 | a 204 | b 224 ...
    assert bench.drain() == [5, 1, 6, 2, 7, 8, 3, 4]


def seated(prompts: dict[str, int], most: int = 1000) -> Bench:
    """Return a bench on which each tenant has one request in the engine and one that waits.

    Request i is the one of tenant i in the engine, 10 + i the one that waits.  All had the same
    service before their prompt here.
    """
    bench = Bench(Vtc(max_num_seqs=len(prompts)))
    for i in range(len(prompts)):
        bench.arrive(100 + i, tenant="before")
    for i, (tenant, prompt) in enumerate(prompts.items()):
        bench.arrive(i, tenant=tenant, prompt=prompt, most=most)
        bench.arrive(10 + i, tenant=tenant)
    for i in range(len(prompts)):
        assert bench.finish(100 + i) == [i]
    return bench


@pytest.mark.parametrize(("tokens", "next_"), [(49, 11), (50, 10), (51, 10)])
def test_output_tokens_count_twice_and_prompts_once(tokens, next_):
    bench = seated({"a": 100, "b": 1})
    bench.generated[1] = tokens
    # a has had 100 and nothing generated, b 1 + 2 * tokens.
    assert bench.give_up(0) == [next_]


@pytest.mark.parametrize(("tokens", "next_"), [(29, 10), (30, 10), (31, 11)])
def test_what_came_since_one_was_last_seen_counts_when_it_finishes(tokens, next_):
    bench = seated({"a": 1, "b": 41, "c": 500})
    bench.generated.update({0: 10, 1: 10})
    bench.give_up(12)
    bench.arrive(99, tenant="d")  # who comes back is lifted, so everything is counted: a 21, b 61
    bench.give_up(99)
    bench.generated[0] = tokens
    assert bench.finish(0) == [next_]


def test_who_stayed_away_has_saved_up_nothing():
    bench = Bench(ONE)
    for request in range(10):
        bench.arrive(request, tenant="a", prompt=100)
    order = bench.finish(0) + bench.finish(1) + bench.finish(2)
    assert order == [1, 2, 3]
    for request in range(20, 24):
        bench.arrive(request, tenant="b", prompt=100)
    order = []
    for _ in range(6):
        order += bench.finish(next(iter(bench.generated)))
    # From now on turns: b does not get four in a row for the four that a has had.
    tenants = [bench.pending[request].tenant for request in order]
    assert sorted(tenants[:2]) == sorted(tenants[2:4]) == ["a", "b"]


def test_who_comes_to_an_empty_queue_is_lifted_to_who_waited_last():
    bench = Bench(ONE)
    bench.arrive(0, tenant="a", prompt=500)
    bench.finish(0)
    bench.arrive(1, tenant="b", prompt=10)  # lifted to 500, then 510
    bench.arrive(2, tenant="b", prompt=10)
    bench.arrive(3, tenant="a", prompt=10)
    # Without the lift b would be at 10 and go first.
    assert bench.finish(1) == [3]


def test_who_gave_up_is_forgotten():
    bench = Bench(ONE)
    bench.arrive(0, tenant="a")
    for request, tenant in ((1, "a"), (2, "b"), (3, "a")):
        bench.arrive(request, tenant=tenant)
    bench.give_up(1)
    bench.give_up(2)
    assert bench.give_up(0) == [3]
    bench.arrive(2, tenant="b")
    assert bench.finish(3) == [2]


@dataclass
class Ledger:
    """A policy that notes what service each tenant has had at every evaluation."""

    policy: Policy
    trace: Trace
    service: list[tuple[float, float]] = field(default_factory=list)
    counted: list[tuple[float, float]] = field(default_factory=list)
    label = "ledger"

    @property
    def max_num_seqs(self) -> int:
        return self.policy.max_num_seqs

    def start(self, rng, profile):
        return Noting(self.policy.start(rng, profile), self)


class Noting:
    def __init__(self, decider, ledger: Ledger) -> None:
        self.decider = decider
        self.ledger = ledger
        self.waiting = [0, 0]
        self.prompts = [0, 0]
        self.done = [0, 0]

    def decide(self, view: View) -> Choice:
        trace = self.ledger.trace
        code, outputs = trace.tenant_code, trace.output_tokens
        for request in view.finished:
            self.done[code[request]] += int(outputs[request])
        if all(self.waiting):
            running = [0, 0]
            for each in view.running:
                running[code[each.id]] += each.generated_tokens
            self.ledger.service.append(
                tuple(self.prompts[i] + 2 * (self.done[i] + running[i]) for i in (0, 1))
            )
            counters = getattr(self.decider, "counters", {})
            self.ledger.counted.append(tuple(counters.get(name, 0) for name in trace.tenants))
        if view.arrived is not None:
            self.waiting[code[view.arrived.id]] += 1
        choice = self.decider.decide(view)
        for request in choice.release:
            self.waiting[code[request]] -= 1
            self.prompts[code[request]] += int(trace.prompt_tokens[request])
        return choice


def backlog(seed: int) -> Trace:
    """Return 400 requests at once: long ones of one tenant, short ones of another."""
    rng = np.random.default_rng(seed)
    n = 400
    long = np.arange(n) % 2 == 0
    output = np.where(long, rng.integers(50, 200, n), rng.integers(5, 50, n))
    return Trace(
        np.sort(rng.uniform(0, 0.01, n)),
        np.where(long, rng.integers(200, 400, n), rng.integers(20, 60, n)),
        output,
        max_tokens=2 * output,
        tenant=["long" if each else "short" for each in long],
    )


def widest_gap(policy: Policy, seed: int) -> tuple[float, float]:
    """Return the widest difference of service in any interval, and the bound on it."""
    trace = backlog(seed)
    ledger = Ledger(policy, trace)
    simulate(trace, PAPER, ledger, seed=seed)
    ahead = np.array([a - b for a, b in ledger.service])
    assert len(ahead) > 100
    # M of the paper is what a running batch can hold; with few seats that is less than the cache.
    tokens = policy.max_num_seqs * int((trace.prompt_tokens + trace.output_tokens).max())
    bound = 2 * max(int(trace.prompt_tokens.max()), 2 * min(tokens, PAPER.kv_tokens))
    return float(np.ptp(ahead)), bound


@pytest.mark.parametrize("seed", range(4))
def test_two_backlogged_tenants_differ_by_no_more_than_the_bound(seed):
    """Y. Sheng et al. (2024): at most 2 max(w_p L, w_q M) in any interval; others have no bound.

    The bound is taken with M = seats times the longest request, where that is below the KV cache.
    """
    gap, bound = widest_gap(Vtc(max_num_seqs=8), seed)
    assert gap <= bound
    # The bound is no empty word: first come, first served breaks it on the same requests.
    assert widest_gap(Edf(max_num_seqs=8), seed)[0] > bound


@pytest.mark.parametrize("discipline", ["prefill-first", "chunked"])
@pytest.mark.parametrize("kv_tokens", [10**6, 1500])
def test_the_counters_are_the_service(discipline, kv_tokens):
    """Also when requests are preempted: they are to the tokens what `max_tokens` never is."""
    trace = backlog(1)
    ledger = Ledger(Vtc(max_num_seqs=8), trace)
    result = simulate(trace, PAPER, ledger, discipline=discipline, kv_tokens=kv_tokens)
    assert (result.requests.preemptions.sum() > 50) == (kv_tokens == 1500)
    # While both wait nobody is lifted, so both grow alike; the last few tokens are not read yet.
    service, counted = (np.array(rows)[-1] - rows[50] for rows in (ledger.service, ledger.counted))
    assert (np.abs(counted - service) < 0.01 * service + 100).all()


def test_one_tenant_is_first_come_first_served():
    bench = Bench(ONE)
    for request in range(5):
        bench.arrive(request, prompt=9 - request)
    assert bench.drain() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vtc(0)", "vtc: max_num_seqs=0: expected a whole number of at least 1"),
        ("vtc(output_weight=0)", "vtc: output_weight=0: expected a number above 0"),
        ("vtc(prompt_weight=-1)", "vtc: prompt_weight=-1: expected a number of at least 0"),
    ],
)
def test_parameters_are_checked(text, message):
    with pytest.raises(PolicyError) as error:
        make_policy(text)
    assert message in str(error.value)
