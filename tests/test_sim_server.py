"""A replica: what happens at one instant comes in order, and wrong choices are named."""

from __future__ import annotations

import pytest
from cases import Case, Scripted, limits, run

from policies.protocol import Choice, PolicyError
from sim.cluster.run import run_cluster
from sim.ledger import FINISHED, REFUSED, UNFINISHED, UNSET

# Costs of `cases`: prefill 5 + tokens, decode 10 + B + context.


def leap(*requests: tuple[int, ...], **how):
    return run(Case(requests, **how), run_cluster)


def scripted(script: dict[int, list[Choice]]) -> Scripted:
    return Scripted(script)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Choice((1,)), "released request 1, which does not wait at replica 0"),
        (Choice((0, 0)), "released request 0"),
        (Choice((0,), refuse=(0,)), "request 0, which does not wait"),
        (Choice(refuse=(1,)), "refused request 1"),
        (Choice(refuse=(0, 0)), "refused request 0"),
        (Choice(wake_ps=4), "asked at 5 ps to be woken at 4 ps: expected a later instant"),
    ],
)
def test_a_wrong_choice_is_one_clear_line(choice, message):
    with pytest.raises(PolicyError) as error:
        leap((5, 3, 1), (9, 3, 1), decider=lambda rng: scripted({5: [choice]}))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_released_request_can_not_be_refused():
    script = {0: [Choice((0,))], 4: [Choice(refuse=(0,))]}
    with pytest.raises(PolicyError, match="refused request 0"):
        leap((0, 3, 1), (4, 3, 1), decider=lambda rng: scripted(script))


def test_a_finished_request_can_not_be_released_again():
    script = {0: [Choice((0,))], 8: [Choice((0,))]}
    with pytest.raises(PolicyError, match="released request 0"):
        leap((0, 3, 1), decider=lambda rng: scripted(script))


def test_a_replica_can_not_release_what_waits_at_another():
    with pytest.raises(PolicyError, match="does not wait at replica 1"):
        leap(
            (0, 3, 1),
            (3, 3, 1),
            replicas=(limits(), limits()),
            decider=lambda rng: scripted({0: [Choice()], 3: [Choice((0,))]}),
        )


def test_the_log_of_an_instant_is_arrival_timer_boundary():
    # 0 decodes 8-23 and finishes at 23; at 23 arrives 1, which sets a timer for that instant.
    log: list[tuple] = []
    script = {
        0: [Choice((0,), wake_ps=23)],
        23: [Choice(wake_ps=23), Choice(), Choice((1,))],
    }
    r = leap((0, 3, 2), (23, 2, 1), decider=lambda rng: Scripted(script, log))
    assert [(entry[0], entry[1], entry[2]) for entry in log] == [
        (0, 0, ()),
        (23, 1, ()),
        (23, None, ()),
        (23, None, (0,)),
        (30, None, (1,)),
    ]
    # What waits in the engine and runs is counted until the boundary.
    assert [entry[3] for entry in log] == [0, 1, 1, 0, 0]
    assert r.finished == [23, 30]


def test_a_timer_is_replaced_by_every_choice():
    log: list[tuple] = []
    script = {0: [Choice(wake_ps=50)], 10: [Choice(wake_ps=70)], 70: [Choice((0, 1))]}
    r = leap((0, 3, 1), (10, 3, 1), decider=lambda rng: Scripted(script, log))
    assert [entry[0] for entry in log] == [0, 10, 70, 81]
    assert r.finished == [81, 81]


def test_requests_released_at_one_instant_share_a_prefill():
    assert leap((0, 3, 1), (0, 2, 1)).finished == [10, 10]


def test_what_was_kept_refused_and_served_is_told_apart():
    script = {0: [Choice(), Choice((1,), demote=(0,)), Choice(refuse=(2,))]}
    r = leap((0, 3, 1), (0, 2, 1), (0, 1, 1), decider=lambda rng: scripted(script))
    assert r.status == [UNFINISHED, FINISHED, REFUSED]
    assert r.admitted == [UNSET, 0, UNSET]
    assert r.demoted == [1, 0, 0]
    assert r.reason == {2: "refused by the policy"}


def test_the_end_of_the_clock_includes_its_own_instant():
    requests = ((0, 3, 3), (23, 2, 1), (24, 2, 1))
    r = leap(*requests, until_ps=23)
    assert r.replica == [0, 0, -1]
    assert r.admitted == [0, 23, UNSET]
    assert r.busy == [[0, 23]]
    assert leap(*requests, until_ps=22).replica == [0, -1, -1]


@pytest.mark.parametrize(("until", "status"), [(7, UNFINISHED), (8, FINISHED)])
def test_a_completion_at_the_end_of_the_clock_is_one(until, status):
    assert leap((0, 3, 1), until_ps=until).status == [status]
