"""Clusters in which much happens: leaps equal steps, and every request ends exactly once."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cases import run
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from worlds import World, worlds

from sim.cluster.run import run_cluster
from sim.ledger import CANCELLED, FAILED, FINISHED, REFUSED, TIMED_OUT, UNFINISHED, UNSET
from sim.stepwise import run_stepwise

if TYPE_CHECKING:
    from cases import Case, Outcome

ROOT = Path(__file__).parents[1]
ANY = settings(suppress_health_check=list(HealthCheck))


def check_equal(case: Case) -> None:
    leap, step = run(case, run_cluster), run(case, run_stepwise)
    assert leap == step
    check_invariants(case, leap)


def check_invariants(case: Case, r: Outcome) -> None:
    """Check what must hold whatever fails, scales or is given up when."""
    habits, until_ps = case.world.habits, case.until_ps
    failures = case.world.failures
    for i, request in enumerate(case.requests):
        arrival = r.moved.get(i, request[0])
        instants = (r.admitted[i], r.first_token[i], r.finished[i])
        tries = r.attempts[i]
        if until_ps is not None:
            assert max(instants) <= until_ps
        elif not (habits and (habits.users or habits.parents)):
            assert tries  # open loop: all are sent
        if not tries:
            assert r.status[i] == UNFINISHED
            assert instants == (UNSET, UNSET, UNSET)
            continue
        if failures is None or failures.on_failure != "failover":
            assert tries <= 1 + (habits.retries if habits else 0)
        if r.status[i] == FINISHED:
            assert arrival <= r.admitted[i] <= r.first_token[i] <= r.finished[i]
            assert r.replica[i] >= 0
        else:
            assert r.finished[i] == UNSET
        if r.status[i] == UNFINISHED:
            # Only the end of the clock leaves a request undone.
            assert until_ps is not None
        elif r.status[i] == TIMED_OUT:
            assert habits.timeout_ps < 2**62
        elif r.status[i] == CANCELLED:
            assert habits.patience_ps or habits.cancels
        elif r.status[i] in (REFUSED, FAILED):
            assert i in r.reason
        if r.status[i] not in (REFUSED, FAILED):
            assert i not in r.reason
        if r.status[i] in (UNFINISHED, FINISHED):
            assert i not in r.gone
        else:
            assert max(arrival, *instants) <= r.gone[i]

    gaps = sum(sum(tokens.values()) for tokens in r.gaps)
    done = [i for i in range(len(case.requests)) if r.status[i] == FINISHED]
    assert gaps >= sum(case.requests[i][2] - 1 for i in done)
    for busy, up, paid in zip(r.busy, r.up, r.paid, strict=True):
        for periods in (busy, up, paid):
            assert len(periods) % 2 == 0
            assert periods == sorted(periods)
        for start, end in zip(busy[::2], busy[1::2], strict=True):
            # It works only while it serves; what was given up at the end of a drain may last a
            # step longer.
            assert any(a <= start <= b for a, b in zip(up[::2], up[1::2], strict=True))
            assert start <= end
        for start, end in zip(up[::2], up[1::2], strict=True):
            assert any(a <= start and end <= b for a, b in zip(paid[::2], paid[1::2], strict=True))
        assert all(end <= start for (_, end), (start, _) in pairwise(_pairs(paid)))


def _pairs(periods: list[int]) -> list[tuple[int, int]]:
    return list(zip(periods[::2], periods[1::2], strict=True))


@settings(ANY, max_examples=300)
@given(worlds())
def test_leaps_equal_steps_whatever_happens(case: Case):
    note(repr(case))
    check_equal(case)


@pytest.mark.nightly
@settings(ANY, max_examples=10_000)
@given(worlds())
def test_leaps_equal_steps_whatever_happens_at_length(case: Case):
    note(repr(case))
    check_equal(case)


@settings(ANY, max_examples=100)
@given(worlds(), st.integers(1, 9))
def test_a_router_that_looks_sees_the_same_at_leaps_and_at_steps(case: Case, wild: int):
    check_equal(replace(case, world=World(wild=wild)))


@settings(ANY, max_examples=60)
@given(worlds())
def test_a_replica_that_is_watched_does_what_it_does_unwatched(case: Case):
    """Nobody looking, and somebody looking who does the same: one result."""
    plain = run(replace(case, world=None), run_cluster)
    watched = run(replace(case, world=_LooksInTurn()), run_cluster)
    assert watched == plain


class _LooksInTurn:
    def scenario(self, plain):
        return replace(plain, looks=True)


EVERYTHING = """
from hashlib import sha256
from calibrate.library import load_profile
from policies.scalers import make_scaler
from sim import simulate
from sim.cluster.autoscale import Autoscale
from sim.cluster.clients import Clients
from sim.cluster.failures import parse_failures
from traces.workloads import workload
r = simulate(
    workload("W1", rps=30, n=300, seed=1),
    load_profile("paper-qwen2.5-coder-3b"),
    "saber",
    replicas=2,
    seed=5,
    router="power-of-two",
    jitter_cv=0.1,
    startup_s=1,
    clients=Clients(timeout_s=9, retries=2, cancel_after="exponential(20)"),
    failures=parse_failures("random(9, repair_s=2), at(3, replica=1, for_s=1)"),
    autoscale=Autoscale(make_scaler("queue(2)"), 4, interval_s=1, down_cooldown_s=3),
)
print(sha256((r.requests.to_csv() + str(r.summary())).encode()).hexdigest())
"""


def test_the_same_seed_is_the_same_run_in_every_process():
    digests = {
        subprocess.run(
            [sys.executable, "-c", EVERYTHING],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1
    assert len(digests.pop()) == 65
