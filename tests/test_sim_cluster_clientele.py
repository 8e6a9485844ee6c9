"""Clients that hang up, try again, change their minds and wait; the arithmetic stands beside.

Alone, (arrival 0, prompt 3, output 3) prefills 0-8 and decodes 8-23 (11 + 4) and 23-39 (11 + 5).
"""

from __future__ import annotations

import pytest
from cases import Scripted, limits
from worlds import PS, World, both

from policies.protocol import NEVER_PS, Choice
from sim.cluster.clientele import Habits
from sim.cluster.failures import Failures, Maintenance, Outage, RandomOutages
from sim.ledger import CANCELLED, FAILED, FINISHED, REFUSED, TIMED_OUT, UNFINISHED, UNSET

ALONE = ((0, 3, 3),)


def served(requests=ALONE, *, failures=None, caps=(), replicas=1, habits=None, **rest):
    """Run with habits, given as such or by their fields; the rest belongs to the case."""
    names = [name for name in rest if name in Habits.__dataclass_fields__]
    habits = habits or Habits(**{name: rest.pop(name) for name in names})
    world = World(habits=habits, failures=failures, caps=caps)
    seqs = rest.pop("seqs", 8)
    return both(requests, world, replicas=(limits(seqs=seqs),) * replicas, **rest)


def never(count, **instants):
    """Return patience: given by request as r0=, r1=, else for ever."""
    return [instants.get(f"r{i}", NEVER_PS) for i in range(count)]


@pytest.mark.parametrize(
    ("timeout", "status", "first_token", "wasted"),
    [
        (40, FINISHED, 8, 0),
        # Clients go before the last token of their instant, and then have had two of three.
        (39, TIMED_OUT, 8, 2),
        (24, TIMED_OUT, 8, 2),
        (23, TIMED_OUT, 8, 1),
        (9, TIMED_OUT, 8, 1),
        (8, TIMED_OUT, UNSET, 0),
        (1, TIMED_OUT, UNSET, 0),
    ],
)
def test_a_client_hangs_up(timeout, status, first_token, wasted):
    r = served(timeout_ps=timeout)
    assert (r.status, r.first_token, r.wasted) == ([status], [first_token], wasted)
    assert r.finished == [39 if status == FINISHED else UNSET]
    assert (r.attempts, r.reason) == ([1], {})
    # The step in flight ends as it would.
    end = next(end for end in (8, 23, 39) if end >= timeout or end == 39)
    assert r.busy == [[0, end]]


def test_who_waits_leaves_at_once_and_who_sits_with_the_step():
    # One seat.  0 holds it, 1 waits in the engine, both go 10 after they came; 2 comes at 5.
    # 0 goes at 10, its step ends at 23: then 2 prefills, 23-31, in the seat that 1 left at 11 no
    # claim to.
    requests = ((0, 3, 3), (1, 3, 3), (5, 3, 1))
    r = served(requests, patience_ps=never(3, r0=10, r1=10), seqs=1)
    assert r.status == [CANCELLED, CANCELLED, FINISHED]
    assert r.finished[2] == 31
    assert r.busy == [[0, 31]]


def test_who_is_held_by_a_policy_leaves_at_once():
    log: list[tuple] = []
    script = {0: [Choice()], 20: [Choice()]}
    r = served(
        timeout_ps=20,
        decider=lambda rng: Scripted({k: list(v) for k, v in script.items()}, log),
    )
    assert (r.status, r.admitted, r.busy) == ([TIMED_OUT], [UNSET], [[]])
    assert log[1] == (20, None, (), 0, (), (), 0)  # told of it: the last is `cancelled`


def test_every_attempt_has_its_own_time_and_the_pauses_are_exact():
    # Hangs up at 5, sends again at 5 + 100, hangs up at 110, again at 310, hangs up at 315.
    r = served(
        timeout_ps=5,
        retries=2,
        backoff_ps=lambda request, retry: 100 * retry,
        until_ps=1000,
    )
    assert (r.status, r.attempts, r.wasted) == ([TIMED_OUT], [3], 0)
    # The prefill of each attempt goes on to its end.
    assert r.busy == [[0, 8, 105, 113, 310, 318]]


def test_a_retry_is_a_new_arrival_with_a_deadline_of_its_own():
    seen = []

    class Notes(Scripted):
        def decide(self, view):
            if view.arrived is not None:
                seen.append((view.arrived.id, view.arrived.arrival_ps, view.arrived.deadline_ps))
            return super().decide(view)

    # An SLA of 50 from each arrival.
    r = served(
        ((2, 3, 3, 50), (3, 3, 3)),
        timeout_ps=9,
        retries=1,
        backoff_ps=lambda request, retry: 91,
        decider=lambda rng: Notes(),
    )
    first = [(0, 2, 52), (1, 3, NEVER_PS), (0, 102, 152), (1, 103, NEVER_PS)]
    assert seen == first * 2  # by leaps and by steps
    assert r.moved == {}  # metrics count from the first submission


def test_nothing_of_an_attempt_is_left_to_the_next():
    # The first try has its first token at 8 and hangs up at 10; the second is never released.
    r = served(
        timeout_ps=10,
        retries=1,
        backoff_ps=lambda request, retry: 20,
        decider=lambda rng: Scripted({30: [Choice()]}),
    )
    assert (r.status, r.attempts, r.wasted) == ([TIMED_OUT], [2], 1)
    assert (r.admitted, r.first_token) == ([UNSET], [UNSET])


def test_who_hangs_up_last_ends_a_drain():
    # Gone at 20: the replica is empty then, and returns at 10 + 30; its last step ends at 23.
    failures = Failures([Maintenance(10 * PS, 0, 30 * PS)])
    r = served(timeout_ps=20, failures=failures, until_ps=50)
    assert (r.up, r.busy) == ([[0, 20, 40, 50]], [[0, 23]])


def test_what_a_client_does_in_answer_comes_a_picosecond_later():
    r = served(timeout_ps=5, retries=1, backoff_ps=lambda request, retry: 0)
    # Its first attempt sits until 8; the second waits from 6 on and prefills 8-16.
    assert r.admitted == [6]
    assert (r.status, r.attempts, r.busy) == ([TIMED_OUT], [2], [[0, 16]])


def test_a_retry_that_is_in_time_finishes():
    r = served(
        ((0, 3, 3), (1, 3, 1)),
        habits=Habits(timeout_ps=40, retries=1, backoff_ps=lambda request, retry: 10),
        seqs=1,
    )
    # One seat: 0 is done at 39, 1 prefills 39-47 and has gone at 41; it comes again at 51: 51-59.
    assert (r.status, r.finished, r.attempts) == ([FINISHED] * 2, [39, 59], [1, 2])
    assert r.wasted == 0


def test_a_user_cancels_whatever_the_retries():
    r = served(patience_ps=[10], retries=5)
    assert (r.status, r.attempts, r.wasted) == ([CANCELLED], [1], 1)


def test_a_user_cancels_between_two_tries():
    # Hangs up at 5, would come again at 105, but is no longer wanted from 50 on.
    habits = Habits(
        timeout_ps=5, retries=1, backoff_ps=lambda request, retry: 100, patience_ps=[50]
    )
    r = served(habits=habits, until_ps=500)
    assert (r.status, r.attempts, r.wasted) == ([CANCELLED], [1], 0)
    assert r.busy == [[0, 8]]


def test_patience_counts_from_the_first_submission():
    # Again at 5 + 10; cancelled at 20, not at 15 + 20: has prefilled 15-23 in vain.
    habits = Habits(timeout_ps=5, retries=9, backoff_ps=lambda request, retry: 10, patience_ps=[20])
    r = served(habits=habits)
    assert (r.status, r.attempts, r.busy) == ([CANCELLED], [2], [[0, 8, 15, 23]])


def test_of_two_at_one_instant_the_user_wins_over_the_clock_by_coming_first():
    # Noted first: patience at the first submission, before its attempt's time-out.
    assert served(timeout_ps=10, patience_ps=[10]).status == [CANCELLED]


def test_a_refusal_by_the_policy_is_tried_again():
    script = {0: [Choice(refuse=(0,))]}

    def decider(rng):
        return Scripted({k: list(v) for k, v in script.items()})

    r = served(decider=decider, retries=1, backoff_ps=lambda request, retry: 7)
    assert (r.status, r.finished, r.attempts) == ([FINISHED], [7 + 39], [2])
    assert r.reason == {}
    r = served(decider=decider)
    assert (r.status, r.reason) == ([REFUSED], {0: "refused by the policy"})


def test_what_never_fits_is_not_tried_again():
    r = served(((0, 2000, 3),), retries=5)
    assert (r.status, r.attempts) == ([REFUSED], [1])


def test_no_replica_is_a_failure_to_try_again():
    # Down 0-20; tries at 0, 8, 16, 24.
    failures = Failures([Outage(0, 0, 20 * PS)])
    r = served(retries=3, backoff_ps=lambda request, retry: 8, failures=failures, until_ps=500)
    assert (r.status, r.attempts, r.finished) == ([FINISHED], [4], [24 + 39])
    r = served(retries=2, backoff_ps=lambda request, retry: 8, failures=failures)
    assert (r.status, r.attempts) == ([FAILED], [3])


def test_a_client_does_not_notice_a_failover():
    # The second try of the cluster begins at 10; the client hangs up 40 after 0 all the same.
    failures = Failures([Outage(10 * PS, 0)], "failover")
    r = served(timeout_ps=40, failures=failures, replicas=2)
    # 10-18, 18-33 and two tokens until 40, and one before 10.
    assert (r.status, r.attempts, r.wasted) == ([TIMED_OUT], [2], 3)


def test_the_next_of_a_session_drops_the_one_before():
    requests = ((0, 3, 3), (5, 3, 3), (10, 3, 3), (11, 3, 3))
    sessions = ("s", "t", "s", "")
    r = served(requests, sessions=sessions, cancels=lambda request: True)
    assert r.status == [CANCELLED, FINISHED, FINISHED, FINISHED]
    assert r.wasted == 1  # 0 has its first token at 8
    assert served(requests, sessions=sessions).status == [FINISHED] * 4
    # Only those concerned, and only while they last.
    assert (
        served(requests, sessions=sessions, cancels=lambda request: request.id != 0).status
        == [FINISHED] * 4
    )
    late = ((0, 3, 3), (39, 3, 3), (40, 3, 3))
    # At 39 the last token is due, and the arrival comes before it.
    assert served(late[:2], sessions=("s", "s"), cancels=lambda request: True).status == [
        CANCELLED,
        FINISHED,
    ]
    assert served((late[0], late[2]), sessions=("s", "s"), cancels=lambda request: True).status == [
        FINISHED,
        FINISHED,
    ]


def test_the_next_of_a_session_drops_the_one_before_between_two_tries():
    habits = Habits(
        timeout_ps=5,
        retries=1,
        backoff_ps=lambda request, retry: 100,
        cancels=lambda request: True,
    )
    r = served(((0, 3, 3), (50, 1, 1)), sessions=("s", "s"), habits=habits)
    # 1 hangs up at 55, before its token at 56; comes again at 155, and again goes.
    assert r.status == [CANCELLED, TIMED_OUT]
    assert r.attempts == [1, 2]


def test_users_take_turns():
    # Two users think 5 and 7, then 10 after each answer.  0: 5-13.  1 comes at 7, waits: 13-21.
    # User A again at 13 + 10 = 23, B at 31: 23-31, 31-39.
    requests = tuple((0, 3, 1) for _ in range(5))
    r = served(requests, users=2, think_ps=[5, 7, *([10] * 5)])
    assert r.moved == {0: 5, 1: 7, 2: 23, 3: 31, 4: 41}
    assert r.finished == [13, 21, 31, 39, 49]
    assert r.status == [FINISHED] * 5


def test_a_user_without_a_thought_comes_a_picosecond_later():
    r = served(((0, 3, 1), (0, 3, 1)), users=1, think_ps=[0, 0, 0])
    assert r.moved == {0: 0, 1: 9}


def test_a_user_waits_for_the_end_of_all_tries():
    # 0 hangs up at 5, 15; the second try is the last: user free at 15, next at 15 + 3.
    r = served(
        ((0, 3, 3), (0, 1, 1)),
        users=1,
        think_ps=[0, 3, 3],
        timeout_ps=5,
        retries=1,
        backoff_ps=lambda request, retry: 5,
    )
    assert r.moved == {0: 0, 1: 18}
    # The step of 0's second try lasts 10-18, so 1 prefills 18-24; it hangs up at 23.
    assert r.status == [TIMED_OUT, TIMED_OUT]


def test_more_users_than_requests():
    r = served(((0, 3, 1),), users=3, think_ps=[9, 4, 6, 0])
    assert (r.moved, r.status) == ({0: 4}, [FINISHED])


def test_what_no_user_came_to_is_not_sent():
    r = served(((0, 3, 1), (0, 3, 1)), users=1, think_ps=[0, 100, 0], until_ps=50)
    assert (r.status, r.attempts) == ([FINISHED, UNFINISHED], [1, 0])


def test_a_turn_waits_for_the_one_it_follows():
    # 1 follows 0, which is done at 8: 8 + 20 = 28, later than the trace's 5.  2 follows 0 too, and
    # comes when the trace says.  3 follows 1, done at 36: at the trace's 50, as 36 + 10 is before.
    r = served(
        ((0, 3, 1), (5, 3, 1), (40, 3, 1), (50, 3, 1)),
        parents=[-1, 0, 0, 1],
        think_ps=[0, 20, 20, 10],
    )
    assert r.moved == {1: 28}
    assert r.finished == [8, 36, 48, 58]


def test_a_turn_whose_thought_is_not_over_when_the_trace_says():
    # 0 is done at 8, 8 + 20; the trace says 12.
    r = served(((0, 3, 1), (12, 3, 1)), parents=[-1, 0], think_ps=[0, 20])
    assert (r.moved, r.attempts, r.finished) == ({1: 28}, [1, 1], [8, 36])


def test_a_turn_comes_after_one_that_failed_too():
    # 0 hangs up at 8, with its last token on the way.
    r = served(((0, 3, 1), (5, 3, 1)), parents=[-1, 0], think_ps=[0, 1], timeout_ps=8)
    assert r.status[0] == TIMED_OUT
    assert r.moved == {1: 9}


def test_turns_of_turns_wait_too():
    r = served(((0, 3, 1), (0, 3, 1), (0, 3, 1)), parents=[-1, 0, 1], think_ps=[0, 0, 0])
    assert r.moved == {1: 9, 2: 9 + 8 + 1}


def test_time_outs_that_are_void_keep_no_run_going():
    # Done at 39; the failures end there, not at 10**9.
    failures = Failures([RandomOutages(100_000 * PS, 1 * PS)])
    r = served(timeout_ps=10**9, patience_ps=[10**9], failures=failures)
    assert r.status == [FINISHED]
    assert len(r.up[0]) == 2


def test_a_client_that_waits_for_a_policy_keeps_the_run_going():
    # Never released; it would be cancelled at 10**6, and until then the replica can fail.
    failures = Failures([RandomOutages(10_000 * PS, 1 * PS)], "failover")
    r = served(
        patience_ps=[10**6], failures=failures, decider=lambda rng: Scripted({0: [Choice()]})
    )
    assert (r.status, r.attempts) == ([FAILED], [2])
