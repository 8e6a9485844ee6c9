"""Sending a session: closed loops, prompts in between, and an end at the first failure."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

from calibrate.endpoint.client import Endpoint
from calibrate.endpoint.exchange import Reply
from calibrate.endpoint.session import SETTLED_MESSAGES, Sent, Session, run_session

SERVER = SimpleNamespace(
    endpoint=Endpoint("http://127.0.0.1:9/v1", "m"),
    prompt=lambda tokens, rng: tuple(rng.integers(1000, 2000, tokens).tolist()),
)


class Scripted:
    """A client whose requests take a token every `step_s`, or fail as `fails` says."""

    def __init__(self, fails=lambda number: False, step_s=0.001):
        self.fails, self.step_s = fails, step_s
        self.asked, self.running, self.most = [], 0, 0

    async def complete(self, ask, progress):
        self.asked.append(ask)
        number = len(self.asked)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            for _ in range(ask.max_tokens):
                await asyncio.sleep(self.step_s)
                progress.messages += 1
        finally:
            self.running -= 1
        if self.fails(number):
            return Reply("failed", 0.0, 1.0, reason="HTTP 500", http_status=500)
        return Reply("finished", 0.0, 1.0, (0.5,) * ask.max_tokens, len(ask.prompt))


def run(client, session):
    sent = Sent()
    asyncio.run(run_session(client, SERVER, session, np.random.default_rng(0), sent))
    return sent


def test_each_client_sends_its_next_when_one_finishes():
    client = Scripted()
    sent = run(client, Session(3, (5, 9), 4))
    assert client.most == 3
    assert sent.requests == len(client.asked) == 6
    assert sorted(e.asked_tokens for e in sent.exchanges) == [5, 5, 5, 9, 9, 9]
    assert len({ask.prompt for ask in client.asked}) == 6
    assert all(ask.body for ask in client.asked)  # written before the first was sent


def test_prompts_are_sent_one_after_the_other_while_all_streams_run():
    client = Scripted()
    sent = run(client, Session(2, (5,), 6 * SETTLED_MESSAGES, (7, 8)))
    assert client.most == 3
    inserted = [e for e in sent.exchanges if e.inserted]
    assert [e.asked_tokens for e in inserted] == [7, 8]
    assert [e.reply.output_tokens for e in inserted] == [1, 1]


def test_no_prompt_is_sent_where_streams_have_ended():
    sent = run(Scripted(), Session(2, (5,), SETTLED_MESSAGES // 2, (7, 8)))
    assert [e.inserted for e in sent.exchanges] == [False, False]


def test_nothing_is_sent_after_a_failure():
    client = Scripted(fails=lambda number: number == 2)
    sent = run(client, Session(2, (5, 6, 7), 3))
    assert sent.first_failure.reason == "HTTP 500"
    assert sent.requests == len(client.asked) < 6


def test_one_that_is_given_up_leaves_nothing_running():
    client, sent = Scripted(step_s=1.0), Sent()

    async def give_up():
        async with asyncio.timeout(0.05):
            session = Session(3, (5,), 50, (6,))
            await run_session(client, SERVER, session, np.random.default_rng(0), sent)

    with pytest.raises(TimeoutError):
        asyncio.run(give_up())
    assert (client.running, sent.requests, sent.exchanges) == (0, 3, [])
