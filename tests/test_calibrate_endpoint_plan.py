"""What is sent: within its bounds, the needful first, and nothing that the server cannot take."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrate import ProfileError
from calibrate.endpoint.plan import (
    ALONE_TIMES,
    ANSWER_TOKENS,
    FLOOR_REQUESTS,
    ROUNDS,
    WARM_UP,
    Bounds,
    Facts,
    plan,
    scouts,
)
from calibrate.endpoint.probe import MOST_PROBES
from calibrate.endpoint.session import Session

INF = float("inf")
FACTS = Facts(model_len=8192, kv_tokens=100_000, batched_tokens=2048, most_together=32)


def planned(requests=10_000, seconds=INF, levels=None, facts=FACTS, done=()):
    return plan(facts, Bounds(requests, seconds, INF, levels), done)


def test_every_round_has_the_same_sessions():
    rounds = Counter(session.round for session in planned().sessions)
    assert set(rounds) == set(range(ROUNDS))
    assert len(set(rounds.values())) == 1
    assert planned().cut == ()


def test_prompts_alone_reach_a_step_and_whole_steps_beyond():
    alone = [s for s in planned().sessions if s.level == 1 and s.round == 0]
    assert all(s.prompts == (s.prompts[0],) * ALONE_TIMES for s in alone)
    lengths = sorted(s.prompts[0] for s in alone)
    assert lengths[0] == 8
    assert lengths[-4:] == [1024, 2048, 4096, 6144]


def test_levels_double_up_to_the_limit():
    levels = {s.level for s in planned().sessions if not s.inserts}
    assert levels == {1, 2, 4, 8, 16, 32}
    odd = Facts(most_together=11)
    assert {s.level for s in planned(facts=odd).sessions if not s.inserts} == {1, 2, 4, 8, 11}
    given = planned(levels=(1, 3, 5))
    assert {s.level for s in given.sessions if not s.inserts} == {1, 3, 5}


def test_prompts_among_streams_leave_a_seat_for_the_prompt():
    found = planned(facts=Facts(most_together=8, batched_tokens=512))
    inserted = {s.level for s in found.sessions if s.inserts}
    assert inserted == {4, 6}
    for session in found.sessions:
        for tokens in session.inserts:
            chunks = -(-tokens // (512 - session.level))
            assert chunks == (2 if tokens == session.inserts[-1] else 1)


def test_prompts_with_steps_of_their_own_are_not_sent_among_streams():
    assert not any(s.inserts for s in planned(facts=Facts(chunked=False)).sessions)


@given(
    requests=st.integers(10, 1500),
    seconds=st.floats(1, 1000),
    model_len=st.sampled_from([None, 512, 2048, 32_768]),
    kv_tokens=st.sampled_from([None, 5_000, 80_000]),
    batched=st.sampled_from([None, 256, 2048]),
    together=st.sampled_from([None, 2, 7, 64]),
)
def test_no_plan_exceeds_its_bounds_or_what_the_server_holds(
    requests, seconds, model_len, kv_tokens, batched, together
):
    facts = Facts(model_len, kv_tokens, True, batched, together, 0.01, 1e-4)
    try:
        found = plan(facts, Bounds(requests, seconds, seconds / 30))
    except ProfileError:
        return
    assert found.requests <= requests
    assert sum(facts.seconds(s) for s in found.sessions) <= seconds
    for s in found.sessions:
        longest = max(*s.prompts, 0) + s.output_tokens
        assert longest <= (model_len or 4096)
        if kv_tokens is not None:
            assert s.level * longest <= kv_tokens
    whole = plan(facts, Bounds(10_000, INF, seconds / 30))
    assert bool(found.cut) == (len(found.sessions) < len(whole.sessions))


def test_what_is_cut_is_the_last_rounds_and_the_large_levels():
    found = planned(requests=250)
    assert found.requests <= 250
    counts = Counter(s.round for s in found.sessions)
    assert counts[0] >= counts[1] >= counts[2] > 0
    assert {s.level for s in found.sessions} >= {1, 2, 4, 8}
    assert "level 32: 0 of 3 sessions" in found.cut


def test_the_needful_comes_first():
    first = planned().sessions[:3]
    assert [s.level for s in first] == [1, 1, 2]
    assert first[0].prompts[0] < first[1].prompts[0]


def test_what_was_sent_counts_for_nothing():
    first = planned()
    left = planned(requests=0, done=first.sessions)
    assert left.sessions == first.sessions


def test_the_floor_is_enough_for_a_first_look():
    needful = sum(s.requests for s in planned().sessions[:3])
    sent = MOST_PROBES + WARM_UP.requests + sum(s.requests for s in scouts(16_384))
    assert sent + needful <= FLOOR_REQUESTS


def test_too_few_requests_are_an_error_that_says_what_to_do():
    with pytest.raises(ProfileError, match=r"^5 requests in .* are too few.*--max-requests"):
        planned(requests=5)


def test_scouts_grow_to_the_longest_prompt():
    sessions = scouts(5000)
    lengths = [tokens for session in sessions for tokens in session.inserts]
    assert lengths == [512, 1024, 2048, 4096, 5000]
    assert all(s.level == 2 and s.round < 0 for s in sessions)


def test_the_longest_prompt_leaves_room_for_an_answer():
    assert Facts(model_len=2048).longest_prompt == 2048 - ANSWER_TOKENS
    assert Facts(model_len=2048, kv_tokens=1000).longest_prompt == 1000 - ANSWER_TOKENS
    assert Facts(model_len=1_000_000).longest_prompt == 16_384


def test_a_session_knows_what_it_sends():
    session = Session(3, (10, 20), 5, (7,))
    assert session.requests == 7
    assert session.tokens == 3 * 30 + 7 + 3 * 2 * 5 + 1
    with pytest.raises(ProfileError, match=r"session\.prompts"):
        Session(1, (), 5)
