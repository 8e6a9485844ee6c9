"""The front door: tenants at their caps, routers' answers, and what a cluster shows of itself."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from cases import Case, Scripted, limits, run
from worlds import PS, World, both

from policies.protocol import Choice, PolicyError
from sim.cluster import front
from sim.cluster.clientele import Habits
from sim.cluster.failures import Failures, Maintenance, Outage, RandomOutages
from sim.cluster.run import run_cluster
from sim.ledger import FAILED, FINISHED, REFUSED
from sim.stepwise import run_stepwise


def test_a_tenant_at_its_cap_is_refused_at_the_door():
    # "a" may have one: 0 until 8.  1 comes at 7; 2 is another tenant's, 3 nobody's; 4 comes at 9.
    r = both(
        ((0, 3, 1), (7, 3, 1), (7, 3, 1), (7, 3, 1), (9, 3, 1)),
        World(caps=(("a", 1), ("b", 1))),
        tenants=("a", "a", "b", "", "a"),
    )
    assert r.status == [FINISHED, REFUSED, FINISHED, FINISHED, FINISHED]
    assert r.reason == {1: "tenant a had used up its share"}
    assert (r.attempts, r.replica[1]) == ([1] * 5, -1)


def test_an_arrival_at_the_instant_of_an_answer_comes_before_it():
    world = World(caps=(("a", 1),))
    assert both(((0, 3, 1), (8, 3, 1)), world, tenants=("a", "a")).status == [FINISHED, REFUSED]


def test_a_cap_counts_those_in_the_cluster():
    # "a" may have two.
    requests = tuple((i, 3, 1) for i in range(4))
    r = both(requests, World(caps=(("a", 2),)), tenants=("a",) * 4, replicas=(limits(),) * 2)
    assert r.status == [FINISHED, FINISHED, REFUSED, REFUSED]


def test_a_refused_tenant_comes_again_and_between_tries_holds_no_share():
    # 0 until 8.  1 is refused at 1, 5 and served at 9: 9-17.
    habits = Habits(retries=2, backoff_ps=lambda request, retry: 4)
    r = both(((0, 3, 1), (1, 3, 1)), World(caps=(("a", 1),), habits=habits), tenants=("a", "a"))
    assert (r.status, r.attempts, r.finished) == ([FINISHED] * 2, [1, 3], [8, 17])
    # 0 hangs up at 5 and comes again at 105; 1 is taken at 6.
    habits = Habits(timeout_ps=5, retries=1, backoff_ps=lambda request, retry: 100)
    r = both(((0, 3, 1), (6, 3, 1)), World(caps=(("a", 1),), habits=habits), tenants=("a", "a"))
    assert r.replica == [0, 0]
    assert r.attempts == [2, 2]


@pytest.mark.parametrize("on_failure", ["lost", "retry", "failover"])
def test_shares_come_back_whatever_ends_a_request(on_failure):
    # All of a's is lost at 4, with two replicas down and up again at 6; then one more comes, and
    # yet another must find the share taken by it alone.
    failures = Failures([Outage(4 * PS, i, 2 * PS) for i in range(2)], on_failure)
    r = both(
        ((0, 3, 3), (1, 3, 3), (7, 3, 3), (8, 3, 3), (9, 3, 3)),
        World(caps=(("a", 2),), failures=failures),
        tenants=("a",) * 5,
        replicas=(limits(),) * 2,
    )
    assert r.status == [FAILED, FAILED, FINISHED, FINISHED, REFUSED]


def test_failover_keeps_the_share():
    failures = Failures([Outage(4 * PS, 0)], "failover")
    r = both(
        ((0, 3, 3), (5, 3, 3)),
        World(caps=(("a", 1),), failures=failures),
        tenants=("a",) * 2,
        replicas=(limits(),) * 2,
    )
    assert r.status == [FINISHED, REFUSED]


@dataclass(frozen=True)
class Always:
    """Answers the same whatever it is asked."""

    answer: object

    def route(self, request, fleet):
        return self.answer


@pytest.mark.parametrize("runner", [run_cluster, run_stepwise])
@pytest.mark.parametrize("answer", [2, -1, None, "0"])
def test_a_router_names_a_replica_that_takes_requests(runner, answer):
    class Wrong(World):
        def scenario(self, plain):
            return replace(super().scenario(plain), route=Always(answer), looks=True)

    with pytest.raises(PolicyError, match=r"^a router sent request 0 to replica .*fleet.taking"):
        run(Case(((0, 3, 1),), (limits(),) * 2, world=Wrong()), runner)


class Looks:
    """Writes down what it is shown."""

    def __init__(self):
        self.seen = []

    def route(self, request, fleet):
        self.seen.append(
            (
                fleet.now_ps,
                tuple(fleet.taking),
                tuple(fleet.requests),
                tuple(fleet.outstanding_tokens),
            )
        )
        return fleet.taking[-1]


@pytest.mark.parametrize("runner", [run_cluster, run_stepwise])
def test_what_a_router_is_shown(runner):
    looks = Looks()

    class Shown(World):
        def scenario(self, plain):
            return replace(super().scenario(plain), route=looks, looks=True)

    # max_tokens is twice the output: 3 + 6, 3 + 2.  0 is done at 39, 1 with its prefill 8-16 delays
    # it: 0-8, 8-16, then alone 16-31, 31-47.  Replica 1 fails at 60 with request 3, 2 came at 47
    # before the last token of 0.
    failures = Failures([Outage(60 * PS, 1, 100 * PS)], "failover")
    case = Case(
        ((0, 3, 3), (5, 3, 1), (47, 3, 1), (59, 3, 2)),
        (limits(),) * 2,
        world=Shown(failures=failures),
    )
    r = run(case, runner)
    assert looks.seen == [
        (0, (0, 1), (0, 0), (0, 0)),
        (5, (0, 1), (0, 1), (0, 9)),
        (47, (0, 1), (0, 1), (0, 9)),
        (59, (0, 1), (0, 0), (0, 0)),
        (60, (0,), (0, 0), (0, 0)),
    ]
    assert r.replica == [1, 1, 1, 0]
    assert r.attempts == [1, 1, 1, 2]


@pytest.mark.parametrize("runner", [run_cluster, run_stepwise])
def test_who_hangs_up_is_off_the_books(runner):
    looks = Looks()

    class Shown(World):
        def scenario(self, plain):
            return replace(super().scenario(plain), route=looks, looks=True)

    # 3 + 18 tokens until 5, where the client goes; its step ends at 8.
    run(Case(((0, 3, 9), (4, 3, 1), (6, 3, 1)), world=Shown(habits=Habits(timeout_ps=5))), runner)
    assert [fleet[2:] for fleet in looks.seen] == [((0,), (0,)), ((1,), (21,)), ((1,), (5,))]


def test_a_request_is_sent_on_so_often_and_no_more(monkeypatch):
    # Always one of two replicas is up: 0 and 1 fail in turn, and the request never gets 8 ps.
    outages = [Outage((5 + 5 * i) * PS, i % 2, 4 * PS) for i in range(50)]
    requests = ((0, 3, 1),)
    world = World(failures=Failures(outages, "failover"))
    r = both(requests, world, replicas=(limits(),) * 2)
    # The 50th outage, at 250, is of replica 1; back on 0 it has its 8.
    assert (r.status, r.attempts, r.finished) == ([FINISHED], [51], [258])
    monkeypatch.setattr(front, "MOST_FAILOVERS", 20)
    r = both(requests, world, replicas=(limits(),) * 2)
    assert (r.status, r.attempts) == ([FAILED], [21])
    # Another try begins to count anew: the 21st and the 42nd outage end one, 51 attempts again.
    world = replace(world, habits=Habits(retries=2, backoff_ps=lambda request, retry: 2))
    r = both(requests, world, replicas=(limits(),) * 2)
    assert (r.status, r.attempts) == ([FINISHED], [51])


def test_failovers_without_end_end():
    failures = Failures([RandomOutages(2 * PS, 0)], "failover")
    r = both(((0, 3, 3),), World(failures=failures), replicas=(limits(),) * 9)
    assert (r.status, r.attempts) == ([FAILED], [101])


def test_a_policy_that_refuses_one_and_serves_another_at_the_end_of_a_drain():
    # Replica 0 drains with 0 and 1 held; at 20 one is refused and one released: gone at 28.
    script = {0: [Choice(), Choice(wake_ps=20)], 20: [Choice((1,), refuse=(0,))]}
    r = both(
        ((0, 3, 1), (0, 3, 1)),
        World(failures=Failures([Maintenance(10 * PS, 0, 1 * PS)])),
        decider=lambda rng: Scripted({k: list(v) for k, v in script.items()}),
        until_ps=50,
    )
    assert r.status == [REFUSED, FINISHED]
    assert r.up == [[0, 28, 28, 50]]
