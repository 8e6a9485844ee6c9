"""What a scaler is shown, and what becomes of its wishes; the arithmetic stands beside.

Alone, (arrival 0, prompt 3, output 3) prefills 0-8 and decodes 8-23 (11 + 4) and 23-39 (11 + 5).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from cases import Scripted, limits, pass_through
from worlds import PS, World, both

from policies.protocol import Choice, PolicyError
from policies.scaling import Load
from sim.cluster import lookout
from sim.cluster.autoscale import Autoscale
from sim.cluster.failures import Failures, Maintenance, Outage
from sim.ledger import FAILED, FINISHED
from sim.options import OptionError

END = 400


@dataclass(frozen=True)
class Wants:
    """Wants so many replicas look by look, then the last of them for good."""

    wishes: tuple[object, ...]
    seen: list[Load] = field(default_factory=list)
    label = "wants"

    def desired(self, load: Load) -> int:
        look = load.now_ps // 20 - 1
        self.seen.append(load)
        return self.wishes[min(look, len(self.wishes) - 1)]  # type: ignore[return-value]


def scaled(
    *wishes,
    requests=((0, 3, 3), (300, 3, 1)),
    pool=3,
    ready=1,
    outages=(),
    startup_ps=0,
    seqs=8,
    decider=pass_through,
    **rules,
):
    """Look every 20 ps at a pool of three replicas of which one is there from the start."""
    scaler = Wants(wishes)
    world = World(
        failures=Failures(outages, "lost") if outages else None,
        autoscale=Autoscale(
            scaler,
            max_replicas=rules.pop("most", pool),
            min_replicas=rules.pop("least", 0),
            interval_s=20 * PS,
            up_cooldown_s=rules.pop("up", 0) * PS,
            down_cooldown_s=rules.pop("down", 0) * PS,
        ),
        ready=ready,
        startup_ps=startup_ps,
        **rules,
    )
    replicas = (limits(seqs=seqs),) * pool
    r = both(requests, world, replicas=replicas, until_ps=END, decider=decider)
    looks = len(scaler.seen) // 2
    assert scaler.seen[:looks] == scaler.seen[looks:]  # by leaps and by steps
    return r, scaler.seen[:looks]


def test_what_a_look_shows():
    # At 20 request 0 runs, busy since 0; at 40 it was busy until 39; then idle up to 300.
    _, seen = scaled(1)
    common = {"taking": 1, "starting": 0, "waiting": 0, "ended": 0, "met": 0}
    assert seen[0] == Load(20, utilisation=1.0, running=1, arrived=1, **common)
    assert seen[1] == Load(40, utilisation=19 / 20, running=0, arrived=0, **common)
    assert seen[2] == Load(60, utilisation=0.0, running=0, arrived=0, **common)
    # 300 ends at 308: then nothing can happen any more, and nobody looks.
    assert [load.now_ps for load in seen] == list(range(20, 301, 20))


def test_a_look_comes_before_the_arrival_of_its_instant():
    _, seen = scaled(1, requests=((0, 3, 3), (20, 3, 1), (21, 3, 1), (40, 3, 1), (300, 3, 1)))
    assert [load.arrived for load in seen[:3]] == [1, 2, 1]


def test_who_waits_and_who_runs():
    # One seat: at 20 request 0 sits, 1 waits in the engine, 2 for its release.
    script = {2: [Choice()]}
    _, seen = scaled(
        1,
        requests=((0, 3, 30), (1, 3, 1), (2, 3, 1)),
        pool=1,
        seqs=1,
        decider=lambda rng: Scripted({k: list(v) for k, v in script.items()}),
    )
    assert (seen[0].waiting, seen[0].running) == (2, 1)


def test_those_with_an_objective_count_when_they_end():
    # The world's rule: ids that 3 divides have none; 1 and 2 are done at 28 and 29 - both in the
    # prefill 18-29 of 5 + 3 + 3 - and an odd instant misses.
    r, seen = scaled(1, requests=((0, 3, 1), (18, 3, 1), (18, 3, 1), (300, 3, 1)))
    assert r.finished[1:3] == [29, 29]
    assert [(load.ended, load.met) for load in seen[:3]] == [(0, 0), (2, 0), (0, 0)]
    r, seen = scaled(1, requests=((0, 3, 1), (18, 3, 1), (18, 4, 1), (300, 3, 1)))
    assert r.finished[1:3] == [30, 30]
    assert [(load.ended, load.met) for load in seen[:3]] == [(0, 0), (2, 2), (0, 0)]


def test_utilisation_is_of_replicas_that_serve():
    # From 20 on two serve, and only the first has work: busy 19 of 2 * 20.
    _, seen = scaled(2)
    assert [load.utilisation for load in seen[:3]] == [1.0, 19 / 40, 0.0]
    # 10 starts late: two serve from 30 on, 30 replica-seconds of 20-40.
    _, seen = scaled(2, startup_ps=10)
    assert seen[1].utilisation == 19 / 30
    # None serves from 10 on, and none from 20 to 40.
    _, seen = scaled(0, outages=(Outage(10 * PS, 0, 9.0),))
    assert [load.utilisation for load in seen[:2]] == [1.0, 0.0]


def test_a_start_takes_its_time_and_is_paid_for():
    r, seen = scaled(2, startup_ps=50, requests=((0, 3, 3), (69, 3, 1), (70, 3, 1), (71, 3, 1)))
    assert r.paid == [[0, END], [20, END], []]
    assert r.up == [[0, END], [70, END], []]
    # In turn those that take requests: only 0 until 70.
    assert r.replica == [0, 0, 1, 0]
    assert [(load.taking, load.starting) for load in seen[:4]] == [(1, 0), (1, 1), (1, 1), (2, 0)]


def test_bounds_hold_whatever_is_wished():
    r, _ = scaled(100, most=2)
    assert [bool(up) for up in r.up] == [True, True, False]
    r, _ = scaled(-5, least=1)
    assert r.up == [[0, END], [], []]
    r, seen = scaled(0, least=2)
    assert [load.taking for load in seen[:3]] == [1, 2, 2]


def test_a_cooldown_counts_from_the_last_change_of_its_direction():
    # Wishes one more at each look; up again after 50: at 20, 80 (70 is between looks), 140.
    _, seen = scaled(2, 3, 3, 3, 4, pool=4, up=50)
    assert [load.taking for load in seen[:9]] == [1, 2, 2, 2, 3, 3, 3, 4, 4]
    # A change up does not keep it from shrinking: 2 at 20, 1 at 40, 2 only from 70 on, at 80.
    _, seen = scaled(2, 1, 2, up=50, down=50)
    assert [load.taking for load in seen[:6]] == [1, 2, 1, 1, 2, 2]


def test_the_instant_at_which_a_cooldown_ends_is_free():
    _, seen = scaled(2, 3, 4, pool=4, up=20)
    assert [load.taking for load in seen[:4]] == [1, 2, 3, 4]
    _, seen = scaled(2, 1, 0, ready=3, down=20)
    assert [load.taking for load in seen[:4]] == [3, 2, 1, 0]


def test_the_last_drain_first_and_those_that_start_before_them():
    r, _ = scaled(3, 1)
    assert r.up == [[0, END], [20, 40], [20, 40]]
    r, _ = scaled(3, 2, startup_ps=50)
    # At 40 both start: the last is called off, the other takes requests from 70.
    assert r.up == [[0, END], [70, END], []]
    assert r.paid == [[0, END], [20, END], [20, 40]]
    r, _ = scaled(2, 3, 2, startup_ps=30)
    # At 60 replica 1 takes requests (since 50), 2 starts (since 40).
    assert r.paid == [[0, END], [20, END], [40, 60]]


def test_who_drains_finishes_what_it_has_and_is_then_not_paid_for():
    # 25: replica 1 takes request 1, 25-33, 33-48, 48-64; drained at 40.
    r, seen = scaled(2, 1, requests=((0, 3, 3), (25, 3, 3), (41, 3, 1), (42, 3, 1), (300, 3, 1)))
    assert r.replica == [0, 1, 0, 0, 0]
    assert r.finished[1] == 64
    assert r.up[1] == r.paid[1] == [20, 64]
    assert [load.taking for load in seen[:3]] == [1, 2, 1]


def test_a_replica_is_started_again_under_a_new_account():
    r, _ = scaled(2, 1, 2)
    assert r.up[1] == r.paid[1] == [20, 40, 60, END]


def test_none_may_be_left_and_what_then_comes_fails():
    r, _ = scaled(0, requests=((0, 3, 3), (50, 3, 1)))
    assert r.status == [FINISHED, FAILED]
    assert r.up[0] == [0, 39]
    assert r.reason == {1: "no replica took requests"}


def test_a_repaired_replica_returns_to_the_pool():
    # Fails at 10, repaired at 15.  Wished for is one, and there is none from 20 on: started then.
    outage = (Outage(10 * PS, 0, 5 * PS),)
    r, _ = scaled(1, outages=outage)
    assert r.up[0] == [0, 10, 20, END]
    assert r.paid[0] == [0, 15, 20, END]
    # Not wished for it stays off.
    r, _ = scaled(0, outages=outage)
    assert (r.up[0], r.paid[0]) == ([0, 10], [0, 15])
    # Another takes its place while the repair lasts.
    r, _ = scaled(1, outages=(Outage(10 * PS, 0, 100 * PS),))
    assert r.up == [[0, 10], [20, END], []]
    assert r.paid == [[0, 110], [20, END], []]


def test_what_is_off_can_not_fail():
    # Replica 1 is off at 10, and started at 20 all the same.
    r, _ = scaled(2, outages=(Outage(10 * PS, 1, 90 * PS), Maintenance(11 * PS, 1, 90 * PS)))
    assert r.up[1] == r.paid[1] == [20, END]


def test_what_a_scaler_drains_does_not_return_when_it_fails():
    r, _ = scaled(0, outages=(Outage(30 * PS, 0, 5 * PS),), requests=((0, 3, 9), (50, 3, 1)))
    assert (r.up[0], r.paid[0]) == ([0, 30], [0, 30])
    assert r.status == [FAILED, FAILED]


def test_what_drains_for_maintenance_and_was_to_go_anyway_goes():
    drain = (Maintenance(30 * PS, 0, 5 * PS),)
    r, _ = scaled(0, outages=drain, requests=((0, 3, 9), (190, 3, 1)))
    assert r.up[0] == r.paid[0] == [0, r.finished[0]]


def test_a_cooldown_begins_only_with_a_change():
    # The only replica is down until 50: nothing can start at 20 and 40; at 60 it does.
    r, _ = scaled(1, pool=1, outages=(Outage(10 * PS, 0, 40 * PS),), up=100)
    assert r.up[0] == [0, 10, 60, END]


@pytest.mark.parametrize("wish", [1.0, True, None, "2"])
def test_a_wish_is_a_whole_number(wish):
    with pytest.raises(PolicyError, match=r"^a scaler asked for .* expected a whole number$"):
        scaled(wish)


def test_more_looks_than_a_run_can_have_is_one_clear_line(monkeypatch):
    monkeypatch.setattr(lookout, "MOST_LOOKS", 10)
    with pytest.raises(OptionError, match=r"^autoscale looked 10 times by .* longer interval_s$"):
        scaled(1)
