"""Clients as users describe them, and the laws that hold for what they do to a cluster."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from test_queueing_theory import profile_of

from sim import simulate
from sim.cluster.clients import Clients
from sim.cluster.draws import Exponential
from sim.options import OptionError
from traces.request import Trace


@pytest.mark.parametrize(
    ("clients", "message"),
    [
        ({"timeout_s": 0}, "timeout_s=0: expected a number of seconds above 0"),
        ({"timeout_s": -1}, "timeout_s=-1: expected a number of seconds above 0"),
        ({"timeout_s": float("nan")}, "timeout_s=nan: expected"),
        ({"timeout_s": float("inf")}, "timeout_s=inf: expected"),
        ({"timeout_s": "3"}, "timeout_s='3': expected"),
        ({"timeout_s": True}, "timeout_s=True: expected"),
        ({"retries": -1}, "retries=-1: expected a whole number of at least 0"),
        ({"retries": 1.5}, "retries=1.5: expected a whole number"),
        ({"retries": 101}, "retries=101: expected at most 100"),
        ({"backoff_s": -1}, "backoff_s=-1: expected a number of seconds of at least 0"),
        ({"backoff_s": None}, "backoff_s=None: expected"),
        ({"backoff_factor": 0.5}, "backoff_factor=0.5: expected a number from 1 to 1000"),
        ({"backoff_factor": 1e6}, "backoff_factor=1000000.0: expected a number from 1 to 1000"),
        ({"backoff_jitter": 1.5}, "backoff_jitter=1.5: expected a number from 0 to 1"),
        ({"users": 0}, "users=0: expected a whole number of at least 1"),
        ({"users": 10**9}, "users=1000000000: expected at most 10,000,000"),
        ({"cancel_after": "-2"}, "cancel_after=-2: expected times from 0 to 9e6 s"),
        ({"cancel_after": float("nan")}, "cancel_after=nan: expected times"),
        ({"cancel_after": "exponental(2)"}, "did you mean 'exponential'?"),
        ({"think": "2"}, "think=2 has no effect without users or await_parent"),
        ({"users": 2, "think": "x"}, "think"),
        ({"cancel_tasks": ("fim",)}, "cancel_tasks=fim has no effect without cancel_after"),
        (
            {"cancel_tasks": "fim", "cancel_after": "2"},
            "cancel_tasks='fim': expected a tuple of tasks, ('fim',)",
        ),
        ({"users": 2, "await_parent": True}, "users has arrivals of its own"),
        ({"users": 2, "cancel_on_next": True}, "users has arrivals of its own"),
    ],
)
def test_what_can_not_be_meant_is_one_clear_line(clients, message):
    with pytest.raises(OptionError) as error:
        Clients(**clients)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_meant():
    clients = Clients(timeout_s=np.float64(3), retries=np.int64(2), users=np.int32(4), think="1")
    assert (type(clients.retries), type(clients.users)) == (int, int)
    assert Clients(cancel_after="exponential(2)").patience == Exponential(2)
    assert Clients().patience is None
    assert Clients(users=1).think_time is None
    assert (Clients(users=1).closed, Clients(await_parent=True).closed) == (True, True)
    assert not Clients(retries=3).closed
    assert pickle.loads(pickle.dumps(clients)) == clients


SLOTS = 4
SERVICE_S = 0.5


def poisson(load, n, seed, sla_s=3.0):
    """Return Poisson arrivals for so many slots; service is geometric in steps of 0.25 ms."""
    rng = np.random.default_rng(seed)
    arrival_s = np.cumsum(rng.exponential(SERVICE_S / SLOTS / load, n))
    output = rng.geometric(0.00025 / SERVICE_S, n)
    return Trace(arrival_s, np.ones(n, dtype=int), output, sla_s=np.full(n, sla_s))


def test_a_retry_storm_is_seen_in_the_summary():
    """At 1.3 times what the cluster can do, trying again makes a bad hour a lost one."""
    trace = poisson(1.3, 2000, seed=0)

    def summary(retries):
        clients = Clients(timeout_s=3, retries=retries, backoff_s=0.5)
        return simulate(
            trace,
            profile_of(0.0),
            "static(2)",
            replicas=2,
            router="least-requests",
            clients=clients,
        ).summary()

    once, storm = summary(0), summary(3)
    assert once["attempts"] == once["requests"] == 2000
    assert storm["attempts"] > 2.5 * storm["requests"]
    assert storm["wasted_tokens"] > 2 * once["wasted_tokens"] > 0
    assert storm["goodput_pct"] < 0.5 * once["goodput_pct"]
    assert storm["statuses"]["timed_out"] > 2 * once["statuses"]["timed_out"]
    # It is as busy: with work that is thrown away.
    assert storm["utilisation"] == pytest.approx(once["utilisation"], abs=0.02)


def test_a_time_out_is_what_the_client_sees():
    # Served in 0.1 + 0.4 s and 0.25 s of client overhead: 0.75 s.  The instant itself is too late.
    trace = Trace([0.0], [1], [1601])

    def status(timeout_s):
        r = simulate(
            trace,
            profile_of(0.1),
            "static(1)",
            client_overhead_s=0.25,
            clients=Clients(timeout_s=timeout_s),
        )
        return r.requests.status[0]

    assert status(0.75) == "timed_out"
    assert status(0.7501) == "finished"


USERS, THINK_S = 12, 2.0


def closed_loop(seed, n=2500, **clients):
    rng = np.random.default_rng(seed)
    output = rng.geometric(0.00025 / SERVICE_S, n)
    trace = Trace(np.zeros(n), np.ones(n, dtype=int), output)
    clients = Clients(users=USERS, think=f"exponential({THINK_S})", **clients)
    r = simulate(trace, profile_of(0.0), f"static({SLOTS})", clients=clients, seed=seed)
    return r.requests


def most_at_once(requests):
    """Return the most requests that were in the cluster at one instant."""
    events = sorted([(t, 1) for t in requests.arrival_s] + [(t, -1) for t in requests.finished_s])
    return int(np.cumsum([step for _, step in events]).max())


def test_the_interactive_response_time_law():
    """N = X (R + Z), within four standard errors of independent runs."""
    users = []
    for seed in range(10):
        r = closed_loop(seed)
        assert most_at_once(r) <= USERS
        assert (r.status == "finished").all()
        # Up to the last 100 arrivals everybody takes turns.
        end_s = r.arrival_s.sort_values().iloc[-100]
        done = r[r.finished_s <= end_s]
        rate = len(done) / end_s
        users.append(rate * ((done.finished_s - done.arrival_s).mean() + THINK_S))
    users = np.array(users)
    error = users.std(ddof=1) / np.sqrt(len(users))
    assert error < 0.01 * USERS
    # Half a cycle of each user is cut off, one of about 200.
    assert abs(users.mean() - USERS) < 4 * error + USERS / 200 / 2


def test_a_closed_loop_slows_down_where_an_open_one_would_grow():
    # Twelve users could ask for 12 / (2 + 0.5) = 4.8 a second of the 8 that four slots serve; one
    # slot serves 2, and the loop settles there, at R = N / X - Z = 4.
    n = 1500
    output = np.random.default_rng(0).geometric(0.00025 / SERVICE_S, n)
    trace = Trace(np.zeros(n), np.ones(n, dtype=int), output)
    clients = Clients(users=USERS, think=f"exponential({THINK_S})")
    r = simulate(trace, profile_of(0.0), "static(1)", clients=clients).requests
    assert most_at_once(r) <= USERS
    response_s = (r.finished_s - r.arrival_s)[100:-100].mean()
    # Mean service from the draws themselves; the slot is never idle to speak of.
    expected_s = USERS * (output - 1).mean() * 0.00025 - THINK_S
    assert response_s == pytest.approx(expected_s, rel=0.1)


def test_a_warm_up_counts_on_the_loop_s_own_clock():
    n = 40
    trace = Trace(np.zeros(n), np.ones(n, dtype=int), np.full(n, 2001))
    r = simulate(trace, profile_of(0.0), clients=Clients(users=1, think="1"), warmup_s=30)
    # 1 s of thought and 0.5 s of service a turn: submitted at 1, 2.5, 4, ...; from 30 on 20 left.
    assert r.summary()["requests"] == 20


def test_turns_of_sessions_on_the_real_clock():
    trace = Trace([0.0, 0.1, 5.0], [1] * 3, [2001] * 3, session=["s"] * 3, parent=[-1, 0, 1])
    r = simulate(trace, profile_of(0.0), clients=Clients(await_parent=True, think="0.25")).requests
    # 0 is done at 0.5; 0.75-1.25; the trace's 5.
    assert r.arrival_s.tolist() == [0.0, 0.75, 5.0]
    assert r.finished_s.tolist() == [0.5, 1.25, 5.5]
