"""Fleets: several kinds of replicas, what they cost, and how long they are there."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from test_queueing_theory import profile_of

from sim import simulate
from sim.cluster.autoscale import Autoscale
from sim.cluster.failures import Failures, Maintenance, Outage
from sim.cluster.fleet import Replica, describe, fleet_of
from sim.options import OptionError
from traces.request import Trace

PROFILE = profile_of(0.05)
HOUR = 3600.0


def test_kinds():
    assert fleet_of(PROFILE, 3) == (Replica(PROFILE, 3),)
    kinds = [Replica(PROFILE, 2, 1.5), Replica(profile_of(0.1))]
    assert fleet_of(kinds, 1) == tuple(kinds)
    assert describe(fleet_of(PROFILE, 3)) == "closed-form"
    assert describe(kinds) == "closed-form*2, closed-form*1"
    assert Replica(PROFILE, np.int64(2), np.float64(1.5)) == Replica(PROFILE, 2, 1.5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: Replica(PROFILE, 0), "count=0: expected a whole number of at least 1"),
        (lambda: Replica(PROFILE, 1.5), "count=1.5: expected a whole number"),
        (lambda: Replica(PROFILE, 1, -1), "price_per_h=-1: expected a number of at least 0"),
        (lambda: Replica(PROFILE, 1, float("nan")), "price_per_h=nan: expected"),
        (lambda: Replica(PROFILE, 1, "2"), "price_per_h='2': expected"),
        (lambda: fleet_of([], 1), "profile is a list: expected a Profile"),
        (lambda: fleet_of([PROFILE], 1), "profile is a list: expected a Profile"),
        (lambda: fleet_of("paper", 1), "profile is a str: expected a Profile"),
        (lambda: fleet_of([Replica(PROFILE)], 2), "replicas=2 beside a list of replicas"),
        (lambda: fleet_of([Replica("paper")], 1), "expected a Profile"),
    ],
)
def test_what_can_not_be_meant_is_one_clear_line(given, message):
    with pytest.raises(OptionError) as error:
        given()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_more_replicas_than_the_ledger_can_name():
    with pytest.raises(OptionError, match="32768 replicas: expected at most 32,767"):
        simulate(Trace([0.0], [1], [1]), PROFILE, replicas=32_768)


def test_each_replica_has_its_own_profile_cache_and_overhead():
    # In turn: 0 to the first kind (0.05 + 4 * 0.00025, overhead 0), 1 to the second (0.2 + 4 *
    # 0.00025, overhead 1).  The third never fits the second's 100 tokens.
    small = replace(profile_of(0.2), kv_tokens=112, client_overhead_s=1.0)
    trace = Trace([0.0] * 4, [10, 10, 200, 200], [5, 5, 5, 5])
    r = simulate(trace, [Replica(PROFILE), Replica(small)], "static(4)").requests
    assert r.replica.tolist() == [0, 1, 0, 1]
    assert r.status.tolist() == ["finished", "finished", "finished", "refused"]
    assert r.first_token_s.tolist()[:2] == [0.05, 1.2]
    assert r.finished_s.tolist()[:2] == pytest.approx([0.051, 1.201])


def test_what_is_there_all_the_time():
    # From 0 to 3600.55: two replicas at 2 and one at 6.
    trace = Trace([0.0, HOUR], [1, 1], [2001, 2001])
    s = simulate(trace, [Replica(PROFILE, 2, 2.0), Replica(PROFILE, 1, 6.0)]).summary()
    hours = (HOUR + 0.55) / HOUR
    assert s["replica_hours"] == pytest.approx(3 * hours, rel=1e-12)
    assert s["cost"] == pytest.approx(10 * hours, rel=1e-12)
    assert s["utilisation"] == pytest.approx(2 * 0.55 / (3 * (HOUR + 0.55)), rel=1e-12)


def test_one_unknown_price_is_an_unknown_cost():
    trace = Trace([0.0, HOUR], [1, 1], [2001, 2001])
    s = simulate(trace, [Replica(PROFILE, 1, 2.0), Replica(PROFILE)]).summary()
    assert s["cost"] is None
    assert s["replica_hours"] > 2


@dataclass(frozen=True)
class Evenings:
    """Two replicas from 900 s to 1800 s, else one."""

    label = "evenings"

    def desired(self, load):
        return 2 if 900 <= load.now_s < 1800 else 1


def test_what_is_there_part_of_the_time():
    # The second starts at 900, takes requests from 1000, goes at 1800: paid 900 s, up 800 s.
    trace = Trace([0.0, HOUR], [1, 1], [2001, 2001])
    r = simulate(
        trace,
        [Replica(PROFILE, 1, 4.0)],
        autoscale=Autoscale(Evenings(), 2, interval_s=900, down_cooldown_s=0),
        startup_s=100,
    )
    s = r.summary()
    assert s["replica_hours"] == pytest.approx((HOUR + 0.55 + 900) / HOUR, rel=1e-12)
    assert s["cost"] == pytest.approx(4 * (HOUR + 0.55 + 900) / HOUR, rel=1e-12)
    assert s["utilisation"] == pytest.approx(1.1 / (HOUR + 0.55 + 800), rel=1e-12)
    assert r.fleet == (Replica(r.fleet[0].profile, 2, 4.0),)


def test_repairs_are_paid_for_and_not_available():
    # Replica 1 is down from 1000 to 1500, and starts until 1600.
    trace = Trace([0.0, HOUR], [1, 1], [2001, 2001])
    s = simulate(
        trace,
        PROFILE,
        replicas=2,
        failures=Failures([Outage(1000, 1, 500)]),
        startup_s=100,
    ).summary()
    assert s["replica_hours"] == pytest.approx(2 * (HOUR + 0.55) / HOUR, rel=1e-12)
    assert s["utilisation"] == pytest.approx(1.1 / (2 * (HOUR + 0.55) - 600), rel=1e-12)


@pytest.mark.parametrize("replica", [2, 7])
def test_failures_name_a_replica_that_is_there(replica):
    trace = Trace([0.0], [1], [1])
    failures = Failures([Maintenance(1, replica)])
    with pytest.raises(OptionError) as error:
        simulate(trace, PROFILE, replicas=2, failures=failures)
    assert str(error.value) == (
        f"failures name replica {replica}: expected 0 to 1, as the cluster has 2"
    )


@pytest.mark.parametrize("name", ["failures", "clients", "autoscale", "tenants"])
@pytest.mark.parametrize("given", ["random(60)", {"retries": 1}, 3])
def test_options_of_their_own_kind(name, given):
    with pytest.raises(OptionError) as error:
        simulate(Trace([0.0], [1], [1]), PROFILE, **{name: given})
    assert str(error.value).startswith(f"{name}={given!r}: expected a {name.title()}, see sim.")


def test_a_scaler_grows_the_last_kind():
    trace = Trace([0.0, HOUR], [1, 1], [2001, 2001])
    big = profile_of(0.2)
    r = simulate(
        trace,
        [Replica(PROFILE, 1), Replica(big, 1)],
        autoscale=Autoscale(Evenings(), 4),
    )
    assert [kind.count for kind in r.fleet] == [1, 3]
    with pytest.raises(OptionError, match="max_replicas=1 is below the 2 replicas"):
        simulate(trace, PROFILE, replicas=2, autoscale=Autoscale(Evenings(), 1))
