"""What every policy with a queue of its own keeps to, whatever comes, fails or gives up."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from cases import run
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from queue_cases import PAPER
from worlds import random_world

from policies.aimd import Aimd
from policies.concur import Concur
from policies.dynamic_batch import DynamicBatch
from policies.edf import Edf
from policies.fcfs import Fcfs
from policies.sjf import Sjf
from policies.slack import Slack
from policies.vtc import Vtc
from sim import simulate
from sim.cluster.clients import Clients
from sim.cluster.run import run_cluster
from sim.stepwise import run_stepwise
from traces import workload
from traces.tenancy import with_tenants

if TYPE_CHECKING:
    from random import Random

    from policies.protocol import Choice, Decider, Policy, View

ANY = settings(suppress_health_check=list(HealthCheck))

POLICIES = (
    Fcfs(),
    Edf(),
    Slack(),
    Sjf(),
    Sjf(predictor="rank"),
    Aimd(),
    Concur(),
    DynamicBatch(),
    Vtc(),
)


class Supervised:
    """Keeps its own account of who waits, and holds another decider to it."""

    def __init__(self, decider: Decider, most: int) -> None:
        self.decider = decider
        self.most = most
        self.waiting: set[int] = set()

    def decide(self, view: View) -> Choice:
        self.waiting.difference_update(view.cancelled)
        if view.arrived is not None:
            self.waiting.add(view.arrived.id)
        choice = self.decider.decide(view)
        assert not choice.refuse
        assert max(Counter(choice.release).values(), default=1) == 1
        assert self.waiting.issuperset(choice.release)
        self.waiting.difference_update(choice.release)
        if choice.release:
            assert view.in_engine + len(choice.release) <= self.most
        # Nobody is kept waiting in front of an idle engine.
        assert view.in_engine or choice.release or not self.waiting
        return choice


def random_policy(dice: Random) -> Policy:
    """Return one of the policies with random parameters, and few seats."""
    seats = dice.randint(1, 6)
    start, period = dice.randint(1, seats), dice.choice([0.001, 0.01, 1.0])
    beta = dice.choice([0.3, 0.9])
    return dice.choice(
        [
            Edf(seats),
            Slack(seats, dice.choice([0.0, 1e-9, 1.0])),
            Sjf(promote_after=dice.choice([None, 1, 3]), max_num_seqs=seats),
            Sjf("rank", 0.5, promote_after=2, promote_for=dice.randint(1, 3), max_num_seqs=seats),
            Aimd(start, 1, beta, dice.choice([0, period]), "service", seats),
            Aimd(start, 1, beta, dice.choice([0, period]), "e2e", seats),
            Concur(start, 1, beta, 0.2, 0.4, period, seats),
            DynamicBatch(
                dice.choice([None, 0.01]), width=0, widen=1, interval_s=period, max_num_seqs=seats
            ),
            Vtc(seats),
        ]
    )


def check(dice: Random) -> None:
    policy = random_policy(dice)
    # From a cache that a few requests fill to an ample one.
    profile = replace(PAPER, kv_tokens=dice.choice([40, 400, 10**6]))

    def decider(rng: np.random.Generator) -> Decider:
        return Supervised(policy.start(rng, profile), policy.max_num_seqs)

    case = replace(random_world(dice), decider=decider)
    note(repr(policy))
    leap = run(case, run_cluster)
    assert leap == run(case, run_stepwise)
    assert leap == run(case, run_cluster)


@settings(ANY, max_examples=120)
@given(st.randoms(use_true_random=False))
def test_seats_are_kept_everyone_is_released_once_and_leaps_change_nothing(dice: Random):
    """Also with failures, scaling, retries, late news and preemption."""
    check(dice)


@pytest.mark.nightly
@settings(ANY, max_examples=5000)
@given(st.randoms(use_true_random=False))
def test_they_keep_to_it_at_length(dice: Random):
    check(dice)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.label)
def test_two_runs_with_one_seed_are_equal_and_leaps_change_nothing(policy):
    trace = with_tenants(
        workload("W3", rps=12, n=80, seed=5), {"a": 3, "b": 1}, np.random.default_rng(5)
    )
    impatient = Clients(timeout_s=20.0, retries=1)
    runs = [
        simulate(trace, PAPER, policy, seed=3, clients=impatient, **options).requests
        for options in ({}, {}, {"leap": False})
    ]
    assert runs[0].equals(runs[1])
    assert runs[0].equals(runs[2])
    assert set(runs[0].status) <= {"finished", "timed_out"}
    assert (runs[0].status == "finished").sum() > 10
