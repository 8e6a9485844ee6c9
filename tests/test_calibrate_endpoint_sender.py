"""Within what was agreed, whatever the server does."""

import asyncio

import pytest
from endpoint_cases import Virtual

from calibrate.endpoint import sender
from calibrate.endpoint.exchange import Reply
from calibrate.endpoint.kept import Kept
from calibrate.endpoint.sender import Sender, Stopped
from calibrate.endpoint.session import Exchange, Session

SESSION = Session(2, (64,), 8)


def failing(status, http_status=None, retry_after_s=None):
    return Reply(status, 0.0, 0.1, (), None, f"HTTP {http_status}", http_status, retry_after_s)


@pytest.fixture
def sending(tmp_path, monkeypatch):
    """Return a function that sends sessions to a server that answers as told, in order."""
    kept = Kept(tmp_path / "p", {}, resume=False)
    said, waited = [], []

    def send(sessions, answers, max_requests=100, deadline_s=1e9):
        left = list(answers)

        async def run(client, server, session, rng, sent):
            answer = left.pop(0) if left else None
            sent.requests = session.requests
            if answer == "never":
                await asyncio.Event().wait()
            sent.exchanges += Virtual().run(session) if answer is None else [Exchange(64, answer)]

        async def sleep(seconds):
            waited.append(seconds)

        async def main():
            loop = asyncio.get_running_loop()
            one = Sender(
                None, None, kept, None, max_requests, loop.time() + deadline_s, said.append
            )
            return [await one.send(session) for session in sessions]

        monkeypatch.setattr(sender, "run_session", run)
        monkeypatch.setattr(sender.asyncio, "sleep", sleep)
        return asyncio.run(main())

    send.kept, send.said, send.waited = kept, said, waited
    yield send
    kept.close(remove=True)


def test_a_session_is_sent_once_and_remembered(sending):
    first, again = sending([SESSION, SESSION], [None])
    assert first.session == again.session == SESSION
    assert sending.kept.requests == 2


def test_what_exceeds_the_agreed_requests_is_not_sent(sending):
    with pytest.raises(Stopped, match="the 5 requests agreed to are spent"):
        sending([SESSION, Session(4, (64,), 8)], [None], max_requests=5)
    assert sending.kept.requests == 2


def test_the_deadline_ends_a_session_under_way_and_its_requests_count(sending):
    with pytest.raises(Stopped, match="time agreed to is over"):
        sending([SESSION], ["never"], deadline_s=0.05)
    assert sending.kept.requests == 2
    assert sending.kept.statuses == {"cancelled": 2}


def test_a_server_that_asks_for_time_gets_it(sending):
    (found,) = sending([SESSION], [failing("refused", 429, 7.0), failing("refused", 503)])
    assert found is not None
    assert sending.waited == [7.0, 4.0]
    assert sending.kept.statuses["refused"] == 2


def test_no_wait_is_longer_than_its_bound_or_than_the_time_there_is(sending):
    sending([SESSION], [failing("refused", 429, 80_000.0)])
    assert sending.waited == [sender.LONGEST_WAIT_S]
    with pytest.raises(Stopped, match="before another try"):
        sending([Session(3, (64,), 8)], [failing("refused", 429, 50.0)], deadline_s=10)


def test_a_level_that_is_turned_away_again_and_again_is_left_out_with_all_above(sending):
    refused = [failing("refused", 429, 0.1)] * sender.MOST_FAILURES
    large, larger, small = Session(8, (64,), 8), Session(9, (64,), 8), SESSION
    found = sending([large, larger, small], refused)
    assert found[:2] == [None, None] and found[2].session == small
    assert "going on with fewer" in sending.said[-1]


def test_a_server_that_turns_single_requests_away_ends_it(sending):
    refused = [failing("refused", 429, 0.1)] * sender.MOST_FAILURES
    with pytest.raises(Stopped, match="keeps turning requests away"):
        sending([SESSION], refused)


def test_requests_that_a_server_does_not_take_are_left_out_for_good(sending):
    assert sending([SESSION], [failing("failed", 400)]) == [None]
    assert sending([SESSION], []) == [None]
    assert sending.kept.requests == SESSION.requests


def test_a_failure_now_and_then_is_tried_again_and_three_in_a_row_end_it(sending):
    broken = failing("timed_out")
    (found,) = sending([SESSION], [broken, broken, None])
    assert found is not None
    with pytest.raises(Stopped, match="3 sessions in a row failed"):
        sending([Session(3, (64,), 8)], [broken] * 3)
