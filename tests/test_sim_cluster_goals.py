"""What a scaler is told of a request when it ends is what the result says of it afterwards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_queueing_theory import profile_of

from sim import simulate
from sim.cluster.clients import Clients
from sim.cluster.failures import Failures, RandomOutages
from sim.cluster.fleet import Replica
from sim.cluster.goals import goals_of
from sim.ledger import FAILED, FINISHED, Ledger
from traces.request import Trace

LIMITS = (
    None,
    {"ttft": 300},
    {"tpot": 0.26},
    {"e2el": 800},
    {"ttft": 200, "tpot": 0.3, "e2el": 2000},
)


def random_trace(rng, n=150):
    return Trace(
        np.cumsum(rng.exponential(0.08, n)),
        rng.integers(1, 50, n),
        rng.choice([1, 2, 500, 1500], n),
        sla_s=np.where(rng.random(n) < 0.2, np.nan, rng.uniform(0.1, 2, n)),
        session=[f"s{i % 9}" for i in range(n)],
    )


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("seed", range(4))
def test_they_agree(limits, seed):
    rng = np.random.default_rng(seed)
    trace = random_trace(rng)
    profile = profile_of(0.05)
    clients = [
        None,
        Clients(timeout_s=1.0, retries=2, backoff_s=0.1, cancel_after="exponential(3)"),
        Clients(users=12, think="exponential(0.1)"),
        Clients(cancel_on_next=True, retries=1),
    ][seed]
    r = simulate(
        trace,
        [Replica(profile, 2), Replica(replace(profile, client_overhead_s=0.2), 1)],
        "static(2)",
        seed=seed,
        clients=clients,
        failures=Failures([RandomOutages(5, 1)], "retry"),
        goodput_ms=limits,
        router="least-requests",
    )
    columns = r.columns
    assert len(columns.id) == len(trace)
    assert columns.met.any()
    assert not columns.met.all()
    met = goals_of(r.ledger, trace, r.arrival_ps, r.sla_ps, r.overheads_ps, limits)
    said = [met(int(i)) for i in columns.id]
    objective = zip(columns.has_objective.tolist(), columns.met.tolist(), strict=True)
    assert said == [ok if has else None for has, ok in objective]


def one(sla_ps=-1, output=3, limits=None, *, status=FINISHED, overhead=10):
    """Return what is said of one request: sent at 100, tokens from 140 to 200, and overhead."""
    trace = Trace(np.zeros(1), np.ones(1, dtype=int), np.full(1, output))
    ledger = Ledger(1)
    ledger.status[0] = status
    ledger.first_token_ps[0], ledger.finished_ps[0] = 140, 200
    ledger.replica[0] = 1
    met = goals_of(
        ledger, trace, np.array([100]), np.array([sla_ps]), np.array([0, overhead]), limits
    )
    return met(0), ledger, met


@pytest.mark.parametrize(("sla_ps", "met"), [(-1, None), (109, False), (110, True)])
def test_by_hand_against_an_sla(sla_ps, met):
    # 200 - 100 + 10.
    assert one(sla_ps)[0] is met


PS = 1e-9
"""Milliseconds."""


@pytest.mark.parametrize(
    ("limits", "met"),
    [
        ({"e2el": 109 * PS}, False),
        ({"e2el": 110 * PS}, True),
        ({"ttft": 49 * PS}, False),  # 140 - 100 + 10
        ({"ttft": 50 * PS}, True),
        ({"tpot": 29 * PS}, False),  # (200 - 140) / 2
        ({"tpot": 30 * PS}, True),
        ({"tpot": 30 * PS, "ttft": 49 * PS}, False),
    ],
)
def test_by_hand_against_limits(limits, met):
    assert one(limits=limits)[0] is met


def test_one_token_satisfies_any_limit_on_the_others():
    assert one(output=1, limits={"tpot": PS})[0] is True


def test_what_did_not_finish_did_not_meet_anything():
    assert one(10**6, status=FAILED)[0] is False
    assert one(status=FAILED)[0] is None
    assert one(limits={"ttft": 1e9}, status=FAILED)[0] is False


def test_an_arrival_that_waited_counts_from_when_it_was_sent():
    _, ledger, met = one(100)
    assert met(0) is False
    ledger.moved_ps[0] = 110
    assert met(0) is True
