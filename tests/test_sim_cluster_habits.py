"""From what a user says of clients to instants and draws, by request."""

from __future__ import annotations

import numpy as np
import pytest

from policies.protocol import NEVER_PS
from sim.cluster.clients import Clients
from sim.cluster.habits import GOLDEN, habits_of
from sim.options import OptionError, to_ps
from traces.request import Trace

N = 6
PS_PER_S = 10**12


def streams(number):
    return np.random.default_rng([7, number])


def habits(overhead_ps=0, *, n=N, **clients):
    trace = Trace(
        np.arange(n, dtype=float),
        np.full(n, 10),
        np.full(n, 5),
        task=["a", "b", "a", None, "b", "a"] * (n // 6),
        session=["s", "s", "t", "t", "u", "u"] * (n // 6),
        parent=[-1, 0, -1, 2, -1, 4] if n == 6 else None,
    )
    return habits_of(Clients(**clients), trace, overhead_ps, streams)


def test_clients_who_say_nothing_do_nothing():
    found = habits()
    assert (found.timeout_ps, found.retries, found.users) == (NEVER_PS, 0, None)
    assert (found.patience_ps, found.cancels, found.parents) == (None, None, None)
    assert found.think_ps == []


def test_the_client_hangs_up_as_long_after_sending_as_it_sees():
    # What takes the server 2 s takes the client 2.25: after 2.5 s of its own it hangs up at 2.25.
    assert habits(PS_PER_S // 4, timeout_s=2.5).timeout_ps == 2_250_000_000_000


@pytest.mark.parametrize("timeout_s", [0.1, 0.25])
def test_a_time_out_no_answer_can_meet(timeout_s):
    with pytest.raises(OptionError) as error:
        habits(PS_PER_S // 4, timeout_s=timeout_s)
    assert str(error.value) == (
        f"timeout_s={timeout_s} is no more than the client overhead of 0.25 s: no request can end "
        "in time"
    )


def test_pauses_double():
    pause = habits(retries=4, backoff_s=0.5, backoff_jitter=0).backoff_ps
    assert [pause(3, k) for k in (1, 2, 3, 4)] == [to_ps(s) for s in (0.5, 1, 2, 4)]
    pause = habits(retries=4, backoff_s=2, backoff_factor=1, backoff_jitter=0).backoff_ps
    assert [pause(3, k) for k in (1, 2)] == [to_ps(2)] * 2


def test_the_factor_of_a_pause():
    # One number u for each request; the k-th pause is turned to (u + k * golden) mod 1, and its
    # factor is 1 + jitter * (2 * turned - 1).
    drawn = streams(0).random(N)
    pause = habits(retries=3, backoff_s=10, backoff_jitter=0.4).backoff_ps
    for request in range(N):
        for k in (1, 2, 3):
            turned = (drawn[request] + k * GOLDEN) % 1
            expected_s = 10 * 2 ** (k - 1) * (1 + 0.4 * (2 * turned - 1))
            assert abs(pause(request, k) - to_ps(expected_s)) <= 1


def test_pauses_spread_evenly_between_their_bounds():
    n = 6000
    pause = habits(n=n, retries=2, backoff_s=1, backoff_jitter=0.5).backoff_ps
    for k, scale in ((1, 1), (2, 2)):
        factors = np.array([pause(i, k) for i in range(n)]) / PS_PER_S / scale
        assert 0.5 <= factors.min() < 0.51
        assert 1.49 < factors.max() <= 1.5
        # Uniform of width 1: standard deviation 1 / sqrt(12).
        assert abs(factors.mean() - 1) < 4 / np.sqrt(12 * n)
        assert abs((factors < 0.75).mean() - 0.25) < 4 * np.sqrt(0.1875 / n)


def test_pauses_end_at_the_range_of_the_clock():
    pause = habits(retries=100, backoff_s=9e6, backoff_factor=1000).backoff_ps
    assert 0 < pause(0, 100) <= NEVER_PS
    pause = habits(retries=100, backoff_s=0, backoff_factor=1000).backoff_ps
    assert pause(0, 100) == 0


def test_patience_of_all_or_of_some_tasks():
    drawn = np.rint(streams(1).exponential(2, N) * PS_PER_S).astype(int).tolist()
    assert habits(cancel_after="exponential(2)").patience_ps == drawn
    # The same draws, whoever they concern.
    some = habits(cancel_after="exponential(2)", cancel_tasks=("a",)).patience_ps
    assert some == [drawn[0], NEVER_PS, drawn[2], NEVER_PS, NEVER_PS, drawn[5]]
    assert habits(cancel_after="0").patience_ps == [1] * N
    assert habits(cancel_after=1.5).patience_ps == [1_500_000_000_000] * N


def test_who_may_be_dropped_by_the_next():
    class Request:
        def __init__(self, number):
            self.id = number

    cancels = habits(cancel_on_next=True, cancel_tasks=("b",)).cancels
    assert [cancels(Request(i)) for i in range(N)] == [False, True, False, False, True, False]
    assert all(habits(cancel_on_next=True).cancels(Request(i)) for i in range(N))


def test_think_times_of_users_and_of_turns():
    drawn = np.rint(streams(2).exponential(3, N + 2) * PS_PER_S).astype(int).tolist()
    found = habits(users=2, think="exponential(3)")
    assert (found.users, found.think_ps) == (2, drawn)
    assert habits(users=2).think_ps == [0] * (N + 2)
    found = habits(await_parent=True, think="1")
    assert found.think_ps == [PS_PER_S] * N
    assert found.parents == [-1, 0, -1, 2, -1, 4]


def test_what_has_no_effect_on_this_trace():
    bare = Trace(np.zeros(1), np.ones(1, dtype=int), np.ones(1, dtype=int))
    for clients, message in (
        ({"await_parent": True}, "await_parent has no effect: no request of the trace follows"),
        ({"cancel_on_next": True}, "cancel_on_next has no effect: the trace has no sessions"),
        (
            {"cancel_after": "2", "cancel_tasks": ("fim",)},
            "cancel_tasks: unknown task 'fim': the trace has no tasks at all",
        ),
    ):
        with pytest.raises(OptionError) as error:
            habits_of(Clients(**clients), bare, 0, streams)
        assert message in str(error.value)
    with pytest.raises(OptionError, match=r"unknown task .fim.: the trace has a, b$"):
        habits(cancel_after="2", cancel_tasks=("a", "fim"))
