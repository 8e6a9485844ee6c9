"""What is asked and what became of it."""

import pytest

from calibrate.endpoint.exchange import STATUSES, Ask, Reply
from calibrate.schema import ProfileError


def test_times_of_a_reply_are_differences_of_its_instants():
    reply = Reply("finished", 10.0, 13.5, (11.0, 11.5, 11.5, 13.0))

    assert (reply.output_tokens, reply.ttft_s, reply.e2e_s) == (4, 1.0, 3.0)
    assert reply.tokens_per_s == 1.5


def test_a_reply_that_did_not_finish_has_a_first_token_and_no_latency():
    reply = Reply("failed", 10.0, 13.5, (11.0, 12.0), reason="the connection was lost")

    assert (reply.ttft_s, reply.e2e_s, reply.tokens_per_s) == (1.0, None, 1.0)


@pytest.mark.parametrize("token_s", [(), (11.0,), (11.0, 11.0)])
def test_a_speed_needs_two_instants(token_s):
    assert Reply("failed", 10.0, 13.5, token_s, reason="x").tokens_per_s is None


def test_without_a_token_there_is_no_first():
    assert Reply("refused", 10.0, 10.1, reason="HTTP 429").ttft_s is None


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_but_finished_has_a_reason(status):
    finished = status == "finished"
    Reply(status, 0.0, 1.0, reason="" if finished else "why")
    with pytest.raises(ProfileError, match="reason"):
        Reply(status, 0.0, 1.0, reason="why" if finished else "")


def test_nonsense_is_refused():
    with pytest.raises(ProfileError, match="status"):
        Reply("done", 0.0, 1.0)
    with pytest.raises(ProfileError, match="max_tokens"):
        Ask((1,), 0)
    for nothing in ((), ""):
        with pytest.raises(ProfileError, match="prompt"):
            Ask(nothing, 1)
