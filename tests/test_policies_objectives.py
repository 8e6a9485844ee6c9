"""Objectives of single tokens, and what the policies that derive them keep to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cases import run
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from queue_cases import LINE, PAPER
from worlds import random_world

from policies.objectives import NONE, objectives, step_table
from policies.protocol import NEVER_PS, PS_PER_S, Pending
from policies.qoserve import QoServe
from policies.scorpio import Scorpio
from policies.slai import Slai
from sim.cluster.run import run_cluster
from sim.stepwise import run_stepwise

if TYPE_CHECKING:
    from random import Random

S = PS_PER_S


def request(sla_s: float, most: int = 11, at_s: int = 3) -> Pending:
    return Pending(0, at_s * S, at_s * S + round(sla_s * S), 20, most)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.7])
def test_the_first_token_and_the_others_add_up_to_the_deadline(share):
    first_ps, token_ps = objectives(request(6.0), share, S)
    assert first_ps == 3 * S + round(5 * S * share)
    assert first_ps + 10 * token_ps == 8 * S  # a second of the deadline at 9 is overhead


def test_without_a_deadline_nothing_is_due():
    assert objectives(Pending(0, 5, NEVER_PS, 1, 10), 0.5, 7) == NONE


def test_a_token_takes_time_whatever_the_deadline():
    assert objectives(request(0.5), 0.5, S) == (3 * S, 1)
    assert objectives(request(6.0, most=1), 1.0, 0).token_ps == NEVER_PS  # there is no other
    assert objectives(request(6.0), 1.0, 0).token_ps == 1


def test_steps_are_those_of_the_mean_context():
    profile = replace(PAPER, mean_context_tokens=400.0)
    table = step_table(profile, 3)
    assert table[0] == 0
    assert table[3] == profile.cost.decode_s(3, 1200.0)
    assert step_table(LINE, 2) == [0, 0.01, 0.01]


class Held:
    """Holds a decider to its seats, to its word, and to not leaving an engine idle."""

    def __init__(self, decider, most):
        self.decider = decider
        self.most = most
        self.waiting = set()

    def decide(self, view):
        self.waiting.difference_update(view.cancelled)
        if view.arrived is not None:
            self.waiting.add(view.arrived.id)
        choice = self.decider.decide(view)
        gone = [*choice.release, *choice.refuse]
        assert len(set(gone)) == len(gone)
        assert self.waiting.issuperset(gone)
        self.waiting.difference_update(gone)
        assert self.waiting.issuperset(set(choice.demote) - set(choice.release))
        if choice.release:
            assert view.in_engine + len(choice.release) <= self.most
        assert view.in_engine or choice.release or not self.waiting
        return choice


@settings(suppress_health_check=list(HealthCheck), max_examples=120)
@given(st.randoms(use_true_random=False))
def test_seats_are_kept_everyone_is_released_once_and_leaps_change_nothing(dice: Random):
    """Also with failures, scaling, retries, late news, preemption, and both disciplines."""
    seats, share = dice.randint(1, 6), dice.choice([0.0, 0.1, 0.5, 1.0])
    policy = dice.choice(
        [
            QoServe(seats, alpha=dice.choice([0, 1e-12, 0.008]), ttft_share=share),
            Slai(seats, dice.choice([0, 0.5, 5]), dice.choice([1, 40]), ttft_share=share),
            Scorpio(seats, ttft_share=share),
            Scorpio(seats, reject=True, ttft_share=share),
        ]
    )
    case = random_world(dice)
    # Steps as long as those of the world, about, so that timers fall into them.
    step_s = max(case.costs.fixed) / PS_PER_S
    profile = replace(
        LINE,
        cost=LINE.cost.affine(decode_s=step_s, prefill_s=step_s, prompt_token_s=step_s / 10),
        discipline=dice.choice(["chunked", "prefill-first"]),
    )
    case = replace(case, decider=lambda rng: Held(policy.start(rng, profile), seats))
    note(repr(policy))
    leap = run(case, run_cluster)
    assert leap == run(case, run_stepwise)
