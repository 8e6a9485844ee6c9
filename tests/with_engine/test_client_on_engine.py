"""The client against vLLM: tokens, counts, giving up."""

import asyncio
import re

import pytest
from running import MAX_MODEL_LEN, MAX_NUM_SEQS

from calibrate.endpoint.client import Client, Endpoint
from calibrate.endpoint.exchange import Ask, Progress

PATIENCE_S = 60.0
KEEP = {"ignore_eos": True}
RUNNING = KEEP | {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}
IDS = tuple(range(100, 140))


def run(coroutine):
    async def bounded():
        async with asyncio.timeout(PATIENCE_S):
            return await coroutine

    return asyncio.run(bounded())


def complete(engine, *asks, extra=RUNNING, **changes):
    """Return the replies to completions asked for at once."""

    async def together():
        endpoint = Endpoint(engine.url, **({"model": engine.model, "extra": extra} | changes))
        async with Client(endpoint) as client:
            return await asyncio.gather(*(client.complete(ask) for ask in asks))

    return run(together())


@pytest.mark.parametrize("extra", [RUNNING, KEEP], ids=["each message", "at the end"])
@pytest.mark.parametrize("tokens", [1, 2, 50])
def test_every_token_asked_for_arrives_at_its_instant(engine, extra, tokens):
    [reply] = complete(engine, Ask(IDS, tokens), extra=extra)

    assert (reply.status, reply.reason) == ("finished", "")
    assert (reply.output_tokens, reply.prompt_tokens, reply.counted) == (tokens, len(IDS), True)
    instants = [reply.sent_s, *reply.token_s, reply.ended_s]
    assert instants == sorted(instants)


def test_texts_and_chats_are_answered_too(engine):
    text = " ".join(f"t{number}" for number in IDS)
    [by_text] = complete(engine, Ask(text, 5))
    [by_chat] = complete(engine, Ask(text, 5), api="chat")

    for reply in (by_text, by_chat):
        assert (reply.status, reply.output_tokens) == ("finished", 5)
        assert reply.prompt_tokens == len(IDS)


def test_many_streams_share_the_steps_and_all_are_whole(engine):
    asks = [Ask(IDS[: 1 + n], 20 + n) for n in range(2 * MAX_NUM_SEQS)]
    replies = complete(engine, *asks)

    assert {reply.status for reply in replies} == {"finished"}
    assert [reply.output_tokens for reply in replies] == [ask.max_tokens for ask in asks]
    assert [reply.prompt_tokens for reply in replies] == [len(ask.prompt) for ask in asks]


def test_what_it_refuses_is_a_failure_with_its_reason(engine):
    [unknown] = complete(engine, Ask(IDS, 2), model="other")
    [too_long] = complete(engine, Ask(IDS * 100, MAX_MODEL_LEN))
    [strange] = complete(engine, Ask((10**9,), 2))

    assert (unknown.status, unknown.http_status) == ("failed", 404)
    assert "other" in unknown.reason
    assert (too_long.status, too_long.http_status) == ("failed", 400)
    assert str(MAX_MODEL_LEN) in too_long.reason
    assert strange.status == "failed" and strange.reason


def test_giving_up_frees_the_seats(engine):
    async def running(client):
        text = (await client.get("/metrics", root=True)).body.decode()
        found = re.search(r"^vllm:num_requests_running\{.*\} (\S+)$", text, re.MULTILINE)
        return float(found[1])

    async def give_up():
        async with Client(Endpoint(engine.url, engine.model, extra=RUNNING)) as client:
            progress = [Progress() for _ in range(MAX_NUM_SEQS)]
            asks = [client.complete(Ask(IDS, 1900), each) for each in progress]
            tasks = [asyncio.create_task(ask) for ask in asks]
            while not all(each.messages for each in progress):
                await asyncio.sleep(0.05)
            before = await running(client)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            # Its gauges move with its steps: a last one shows them.
            after = await client.complete(Ask(IDS, 20))
            while await running(client):
                await asyncio.sleep(0.05)
            return before, after, max(each.messages for each in progress)

    before, after, given_up = run(give_up())
    assert before == MAX_NUM_SEQS
    assert given_up < 1900
    assert after.status == "finished"
