"""When a batch that drains is done."""

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrate.profile import Profile
from calibrate.steptime import StepCost
from policies.outlook import TABLED, UNKNOWN_CONTEXT, Costs, first_late, room_s
from policies.protocol import PS_PER_S, Pending
from sim import simulate
from traces import Trace

STEP_S = (0.0, 1.0, 1.5, 2.0)


def test_who_has_the_least_to_do_leaves_first_and_steps_get_shorter():
    # 2 steps of three, 1 of two, 4 of one, from 10 s on.
    batch = [(2, 14.0), (3, 15.5), (7, 19.5)]
    assert first_late(STEP_S, batch, 10.0, 1.0) is None
    assert room_s(STEP_S, list(batch), 10.0, 1.0) == 0.0
    for late in range(3):
        earlier = [(tokens, due - 0.1 * (i == late)) for i, (tokens, due) in enumerate(batch)]
        assert first_late(STEP_S, earlier, 10.0, 1.0) == earlier[late]
    assert first_late(STEP_S, batch, 10.1, 1.0) == batch[0]
    assert first_late(STEP_S, batch, 0.0, 2.0) is None
    assert first_late(STEP_S, batch, 1.0, 2.1) == batch[2]


def test_a_batch_beyond_the_table_takes_its_last_step():
    assert room_s(STEP_S, [(1, 10.0)] * 5, 0.0, 1.0) == 8.0


def test_the_room_is_that_of_the_tightest_and_who_is_late_anyway_is_given_up():
    batch = [(1, 5.0), (2, 3.4), (4, 9.0)]
    assert room_s(STEP_S, batch, 0.0, 1.0) == pytest.approx(3.0)
    assert batch == [(1, 5.0), (2, inf), (4, 9.0)]
    assert room_s(STEP_S, [], 0.0, 1.0) == inf


@given(
    st.lists(st.tuples(st.integers(0, 40), st.floats(0, 200)), min_size=1, max_size=8),
    st.floats(0, 50),
    st.floats(1, 3),
)
def test_held_up_for_the_room_all_are_in_time_and_for_longer_one_is_late(batch, free_s, stretch):
    batch.sort()
    room = room_s(STEP_S, batch, free_s, stretch)
    if room < inf:
        assert first_late(STEP_S, batch, free_s + room - 1e-6, stretch) is None
        assert first_late(STEP_S, batch, free_s + room + 1e-6, stretch) is not None


def profile(discipline="prefill-first", **cost):
    parts = {
        "decode_s": 0.01,
        "sequence_s": 0.001,
        "prefill_s": 0.02,
        "prompt_token_s": 1e-4,
    } | cost
    return Profile("made", "simulated", StepCost.affine(**parts), 10**6, "ample", discipline, 0.005)


def test_alone_a_request_takes_what_the_engine_takes_for_it():
    hardware = profile()
    trace = Trace(np.zeros(1), np.array([300]), np.array([40]), sla_s=np.array([9.0]))
    e2e_s = simulate(trace, hardware, policy="static(4)").requests["finished_s"][0]
    request = Pending(0, 0, 9 * PS_PER_S, 300, 40)
    assert Costs(hardware).alone_s(request) == pytest.approx(e2e_s, abs=1e-9)


def test_so_many_tokens_alone_take_no_longer_and_one_more_does():
    costs = Costs(profile())
    for within_s in (0.06, 0.2, 3.0):
        tokens = costs.tokens_alone(250, within_s)
        assert costs.alone_s(Pending(0, 0, 0, 250, tokens)) <= within_s
        assert costs.alone_s(Pending(0, 0, 0, 250, tokens + 1)) > within_s
    assert costs.tokens_alone(250, 0.0) == 1


def test_who_must_have_a_small_batch_has_it_to_pay_for():
    costs, request = Costs(profile()), Pending(0, 0, 0, 100, 50)
    # A step of B takes 10 + B ms.
    for token_s, batch in ((9.0, 16), (0.026, 16), (0.0259, 15), (0.015, 5), (0.011, 1), (0.0, 1)):
        work_s = 0.03 + 50 * (0.01 + 0.001 * batch) / batch
        assert costs.work_s(request, token_s) == pytest.approx(work_s)
    assert costs.work_s(request) == costs.work_s(request, 9.0)


def test_a_prompt_holds_up_by_its_step_or_by_what_its_chunks_add():
    assert Costs(profile()).prefill_s(100) == pytest.approx(0.03)
    assert Costs(profile("chunked")).prefill_s(100) == pytest.approx(0.01)


def test_steps_are_those_of_the_mean_context():
    costs = Costs(profile(context_token_s=1e-6))
    assert len(costs.step_s) == TABLED + 1
    assert costs.step_s[10] == pytest.approx(0.02 + 10 * UNKNOWN_CONTEXT * 1e-6)
