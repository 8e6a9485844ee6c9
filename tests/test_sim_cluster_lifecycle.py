"""Replicas that fail, drain, start and return, worked out by hand; the arithmetic stands beside.

Alone, (arrival 0, prompt 3, output 3) prefills 0-8 and decodes 8-23 (11 + 4) and 23-39 (11 + 5).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from cases import Scripted, limits, pass_through
from worlds import PS, World, both

from policies.protocol import Choice
from sim.cluster import lifecycle
from sim.cluster.clientele import Habits
from sim.cluster.failures import Failures, Maintenance, Outage, RandomOutages
from sim.ledger import FAILED, FINISHED, UNFINISHED, UNSET
from sim.options import OptionError

END = 200
"""The end of the clock, so that what is open is closed at a round number."""


def failing(
    *outages,
    on_failure="lost",
    replicas=1,
    requests=((0, 3, 3),),
    decider=pass_through,
    **world,
):
    """Run with outages (instant, replica, duration)."""
    failures = Failures([at(*outage) for outage in outages], on_failure)
    return both(
        requests,
        World(failures=failures, **world),
        replicas=(limits(),) * replicas,
        until_ps=END,
        decider=decider,
    )


def at(instant, replica=0, lasts=END, kind=Outage):
    return kind(instant * PS, replica, lasts * PS)


def test_lost_requests_fail_for_good():
    # At 10 the first token has come (8), at 8 it would come only after the failure.
    r = failing((10, 0, 5))
    assert r.status == [FAILED]
    assert r.reason == {0: "replica 0 failed"}
    assert (r.admitted, r.first_token, r.finished) == ([0], [8], [UNSET])
    assert (r.attempts, r.wasted) == ([1], 1)
    assert (r.busy, r.up, r.paid) == ([[0, 10]], [[0, 10, 15, END]], [[0, END]])
    assert failing((8, 0, 5)).wasted == 0
    assert failing((24, 0, 5)).wasted == 2


@pytest.mark.parametrize("on_failure", ["lost", "retry"])
def test_without_clients_that_retry_a_failure_is_the_end(on_failure):
    assert failing((10, 0, 5), on_failure=on_failure).status == [FAILED]


def test_lost_requests_are_not_tried_again_whatever_the_clients_would():
    r = failing((10, 0, 5), on_failure="lost", habits=Habits(retries=3))
    assert (r.status, r.attempts) == ([FAILED], [1])


def test_a_retry_begins_at_zero_after_the_pause():
    # Lost at 10; 7 later, at 17, replica 1: 17-25, 25-40, 40-56.
    habits = Habits(retries=1, backoff_ps=lambda request, retry: 7)
    r = failing((10,), on_failure="retry", replicas=2, habits=habits)
    assert (r.status, r.replica, r.attempts) == ([FINISHED], [1], [2])
    assert (r.admitted, r.first_token, r.finished) == ([17], [25], [56])
    assert (r.reason, r.wasted, r.moved) == ({}, 1, {})


def test_failover_sends_on_at_once():
    # 10-18, 18-33, 33-49 on replica 1.
    r = failing((10,), on_failure="failover", replicas=2)
    assert (r.status, r.replica, r.attempts) == ([FINISHED], [1], [2])
    assert (r.admitted, r.first_token, r.finished) == ([10], [18], [49])
    assert r.wasted == 1


def test_those_sent_on_go_by_id_and_share_a_prefill():
    # At 4 request 0 is prefilling and 1 waits in the engine: on replica 1, 5 + 3 + 2 from 4.
    r = failing((4,), on_failure="failover", replicas=2, requests=((0, 3, 1), (1, 9, 1), (2, 2, 1)))
    # 1 came to replica 1 at 1: 1-15.  Then 0 and 2, sent there at 4: 15-25.
    assert r.finished == [25, 15, 25]
    assert (r.replica, r.attempts, r.wasted) == ([1, 1, 1], [2, 1, 2], 0)


def test_all_that_is_at_a_replica_is_lost():
    # 0 decodes, 1 prefills from 8 on, 2 waits for a seat in the engine, 3 for its release.
    hold = {3: [Choice()]}
    r = failing(
        (12,),
        requests=((0, 3, 9), (1, 3, 9), (2, 3, 9), (3, 3, 9)),
        decider=lambda rng: Scripted({k: list(v) for k, v in hold.items()}),
    )
    assert r.status == [FAILED] * 4
    assert r.admitted == [0, 1, 2, UNSET]
    assert r.wasted == 1


def test_a_prompt_under_way_has_wasted_nothing():
    assert failing((7,)).wasted == 0


@pytest.mark.parametrize(("arrival", "status"), [(18, FAILED), (19, FINISHED)])
def test_after_repair_comes_the_start_up(arrival, status):
    # Down at 10, repaired at 15, takes requests from 19 on.  What arrives then is in time.
    r = failing((10, 0, 5), requests=((arrival, 3, 1),), startup_ps=4)
    assert r.status == [status]
    assert r.up == [[0, 10, 19, END]]
    assert r.attempts == [1]
    if status == FAILED:
        assert (r.reason, r.replica) == ({0: "no replica took requests"}, [-1])
        assert r.admitted == [UNSET]


def test_a_failure_comes_before_an_arrival_of_its_instant():
    r = failing((10, 0, 5), requests=((10, 3, 1),))
    assert r.reason == {0: "no replica took requests"}


def test_a_failure_comes_before_the_last_token_of_its_instant():
    assert failing((39, 0, 1)).status == [FAILED]
    assert failing((40, 0, 1)).status == [FINISHED]


def test_all_fail_at_once():
    r = failing((10, 0, 5), (10, 1, 5), replicas=2, requests=((0, 3, 3), (0, 3, 3)))
    assert r.reason == {0: "replica 0 failed", 1: "replica 1 failed"}
    # Sent on at 10 to replica 1, which fails at 10 too; then there is none.  Request 1 is sent on
    # from there to none as well.
    r = failing(
        (10, 0, 5),
        (10, 1, 5),
        replicas=2,
        requests=((0, 3, 3), (0, 3, 3)),
        on_failure="failover",
    )
    assert r.reason == dict.fromkeys((0, 1), "no replica took requests")
    assert r.attempts == [3, 2]


@pytest.mark.parametrize("outages", [((10, 0, 5), (12, 0, 30)), ((10, 0, 32), (12, 0, 5))])
def test_where_outages_overlap_the_last_repair_counts(outages):
    # Until 12 + 30 = 42 = 10 + 32.
    assert failing(*outages, requests=((50, 3, 1),)).up == [[0, 10, 42, END]]


def test_two_outages_one_after_the_other():
    r = failing((10, 0, 5), (15, 0, 5), requests=((50, 3, 1),))
    # Changes of one instant come in the order of the script: 15 finds it down, until 20.
    assert r.up == [[0, 10, 20, END]]


def test_an_outage_during_a_start_begins_another():
    # Repaired at 15, to take requests at 25; fails at 20 until 22; 22 + 10.
    r = failing((10, 0, 5), (20, 0, 2), requests=((50, 3, 1),), startup_ps=10)
    assert r.up == [[0, 10, 32, END]]
    assert r.paid == [[0, END]]


def test_a_drained_replica_finishes_what_it_has_and_takes_nothing_new():
    # 0 is done at 39.  1 goes elsewhere.  Back at 10 + 50.
    r = failing((10, 0, 50, Maintenance), replicas=2, requests=((0, 3, 3), (10, 3, 1), (11, 3, 1)))
    assert (r.replica, r.finished) == ([0, 1, 1], [39, 18, 26])
    assert r.up == [[0, 39, 60, END], [0, END]]
    assert r.paid == [[0, END]] * 2


def test_maintenance_counts_from_its_announcement():
    # 0 is done at 39, after 10 + 20: the replica starts again at once, 4 long.
    r = failing((10, 0, 20, Maintenance), startup_ps=4, requests=((0, 3, 3), (43, 3, 1)))
    assert r.up == [[0, 39, 43, END]]
    assert r.status == [FINISHED, FINISHED]


def test_an_idle_replica_is_drained_at_once():
    r = failing((10, 0, 20, Maintenance), requests=((0, 3, 1), (29, 3, 1), (30, 3, 1)))
    assert r.up == [[0, 10, 30, END]]
    assert r.status == [FINISHED, FAILED, FINISHED]


def test_a_drained_replica_waits_for_what_its_policy_holds():
    # 0 is released by a timer at 50: 50-58.
    script = {0: [Choice(wake_ps=50)], 50: [Choice((0,))]}
    r = failing(
        (10, 0, 20, Maintenance),
        requests=((0, 3, 1),),
        decider=lambda rng: Scripted({k: list(v) for k, v in script.items()}),
    )
    assert r.finished == [58]
    assert r.up == [[0, 58, 58, END]]


def test_a_replica_that_drains_can_fail():
    # The maintenance lasts until 60, longer than the repair.
    r = failing((10, 0, 50, Maintenance), (20, 0, 5))
    assert r.status == [FAILED]
    assert r.up == [[0, 20, 60, END]]


def test_maintenance_announced_twice_lasts_as_long_as_the_longer():
    # 0 is done at 39; back at 10 + 20 by the first, at 20 + 50 by the second.
    for drains in (((10, 0, 20), (20, 0, 50)), ((10, 0, 60), (20, 0, 5))):
        r = failing(*((*drain, Maintenance) for drain in drains))
        assert r.up == [[0, 39, 70, END]]


def test_maintenance_of_what_is_down_or_starts():
    # Down 10-15; drained at 12 until 42.
    assert failing((10, 0, 5), (12, 0, 30, Maintenance)).up == [[0, 10, 42, END]]
    # Starts at 15 for 10; drained at 20 until 50; then 10 more.
    r = failing((10, 0, 5), (20, 0, 30, Maintenance), startup_ps=10)
    assert r.up == [[0, 10, 60, END]]


def test_what_never_returns_is_paid_for():
    r = failing((10, 0, 9e6 / PS))
    assert (r.up, r.paid) == ([[0, 10]], [[0, END]])


def test_a_policy_starts_anew_after_a_failure():
    logs: list[list] = []

    def decider(rng):
        logs.append([])
        return Scripted({}, logs[-1])

    failing((10, 0, 5), requests=((0, 3, 3), (20, 3, 1)), decider=decider)
    # Two runs, by leaps and by steps, of two lives each.
    assert [[entry[:2] for entry in log] for log in logs] == [
        [(0, 0)],
        [(20, 1), (28, None)],
    ] * 2


def test_random_outages_have_the_means_they_are_given():
    # The second arrival keeps the run going; about 900 failures of each of two replicas.
    mtbf, repair = 4000, 1000
    failures = Failures([RandomOutages(mtbf * PS, repair * PS)])
    r = both(((0, 1, 1), (4_500_000, 1, 1)), World(failures=failures), replicas=(limits(),) * 2)
    for up in r.up:
        served = np.diff(up)[::2][:-1]  # the last period is open
        repaired = np.diff(up)[1::2]
        assert 700 < len(served) < 1100
        for spans, mean in ((served, mtbf), (repaired, repair)):
            error = mean / np.sqrt(len(spans))
            assert abs(spans.mean() - mean) < 4 * error
            assert abs(spans.std() - mean) < 6 * error  # exponential: as wide as long
    assert r.up[0] != r.up[1]  # each on its own
    assert all(end - start >= 1 for start, end in pairwise(r.up[0]))


def test_random_outages_end_with_the_requests():
    failures = Failures([RandomOutages(5 * PS, 1 * PS)])
    r = both(((0, 3, 3),), World(failures=failures))
    assert max(r.up[0][:-1]) < 100


def test_more_failures_than_a_run_can_have_is_one_clear_line(monkeypatch):
    monkeypatch.setattr(lifecycle, "MOST_FAILURES", 100)
    failures = Failures([RandomOutages(1 * PS, 0)])
    with pytest.raises(OptionError, match=r"^failures: replicas failed 100 times by .*mtbf_s$"):
        both(((10_000, 3, 3),), World(failures=failures))


def test_what_is_open_at_the_end_of_the_clock_is_closed_there():
    r = failing((10, 0, 5), requests=((END + 1, 3, 1),))
    assert r.up == [[0, 10, 15, END]]
    assert r.status == [UNFINISHED]
    assert r.attempts == [0]
