"""A plan carried out: order, seats, and what becomes of the rest."""

from __future__ import annotations

import numpy as np
import pytest
from oracle_cases import profile_of

from calibrate.steptime import StepCost
from policies.catalog import POLICIES
from policies.planned import Planned
from policies.protocol import NOTHING, Choice, Pending, PolicyError, View
from sim import simulate
from traces.request import Trace

# Every prompt takes 1 s and every further token 1 s, whatever else there is.
PROFILE = profile_of(StepCost.affine(decode_s=1.0, prefill_s=1.0))

LATER = Choice(wake_ps=0)
"""Decide once everything of this instant has arrived."""


def trace_of(*arrivals: float) -> Trace:
    count = len(arrivals)
    return Trace.trusted(np.array(arrivals), np.full(count, 4), np.full(count, 3))


def admitted(trace: Trace, plan: Planned) -> list[float]:
    return simulate(trace, PROFILE, policy=plan).requests.admitted_s.tolist()


def test_one_seat_serves_in_the_order_of_the_plan_and_the_rest_afterwards():
    # Each request takes 3 s alone: 2, 0, then those that were not planned by arrival.
    assert admitted(trace_of(0, 0, 0, 0), Planned((2, 0), 1)) == [3.0, 6.0, 0.0, 9.0]


def test_the_rest_waits_even_for_an_idle_engine_until_all_planned_are_over():
    assert admitted(trace_of(0, 0, 9), Planned((1, 2), 2)) == [12.0, 0.0, 9.0]


def test_who_has_not_arrived_is_passed_over_unless_the_plan_is_strict():
    trace = trace_of(0, 5)
    assert admitted(trace, Planned((1, 0), 2)) == [0.0, 5.0]
    assert admitted(trace, Planned((1, 0), 2, strict=True)) == [5.0, 5.0]


def test_no_more_requests_are_in_the_engine_than_seats():
    result = simulate(trace_of(*[0.0] * 7), PROFILE, policy=Planned((0, 1, 2, 3, 4), 3))
    assert result.accounts[0].peak_batch == 3
    assert result.options.max_num_seqs == 3
    assert (result.requests.status == "finished").all()


def test_a_client_that_gives_up_holds_up_nobody():
    decider = Planned((0, 1), 1, strict=True).start(np.random.default_rng(0), PROFILE)
    view = View(engine=None)

    def decide(**seen):
        view.arrived, view.finished, view.cancelled, view.in_engine = None, (), (), 0
        for name, value in seen.items():
            setattr(view, name, value)
        return decider.decide(view)

    assert decide(arrived=Pending(1, 0, 9, 4, 3)) == LATER
    assert decide(arrived=Pending(2, 0, 9, 4, 3)) == LATER
    assert decide() == NOTHING
    assert list(decide(cancelled=(0,)).release) == [1]
    assert list(decide(finished=(1,)).release) == [2]
    assert decide(arrived=Pending(3, 0, 9, 4, 3), in_engine=1) == LATER
    assert decide(cancelled=(3,), in_engine=1) == NOTHING
    assert decide() == NOTHING


def test_a_planned_request_given_up_while_it_waits_is_not_released():
    decider = Planned((0, 1), 1, strict=True).start(np.random.default_rng(0), PROFILE)
    view = View(engine=None)
    view.in_engine = 1
    for request in (0, 1):
        view.arrived = Pending(request, 0, 9, 4, 3)
        assert decider.decide(view) == LATER
    view.arrived, view.cancelled = None, (0,)
    assert decider.decide(view) == NOTHING
    view.cancelled, view.in_engine = (), 0
    assert list(decider.decide(view).release) == [1]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"order": (1, 1), "max_num_seqs": 2}, "names a request twice"),
        ({"order": (-1,), "max_num_seqs": 2}, "request in order=-1"),
        ({"order": (), "max_num_seqs": 0}, "max_num_seqs=0"),
    ],
)
def test_plans_that_mean_nothing_are_refused(wrong, said):
    with pytest.raises(PolicyError, match=said):
        Planned(**wrong)


def test_a_plan_is_no_policy_to_compare_with():
    assert Planned not in POLICIES.values()
    assert Planned((3, 1), 8).label == "planned(2 requests, max_num_seqs=8)"
    assert Planned((), 8, strict=True).label == "planned(0 requests, max_num_seqs=8, strict=True)"


def test_a_request_is_held_back_until_its_instant_and_only_it():
    trace = trace_of(0, 0, 0)
    plan = Planned((0, 1, 2), 3, not_before_ps=(7 * 10**12, 0, 0))
    assert admitted(trace, plan) == [7.0, 0.0, 0.0]
    strict = Planned((0, 1, 2), 3, strict=True, not_before_ps=(7 * 10**12, 0, 0))
    assert admitted(trace, strict) == [7.0, 7.0, 7.0]
    with pytest.raises(PolicyError, match="not_before_ps has 2 instants: expected none or 1"):
        Planned((4,), 3, not_before_ps=(1, 2))
