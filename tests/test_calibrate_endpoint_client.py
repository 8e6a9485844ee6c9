"""The client against a server that misbehaves in every way: one counted status, no exception."""

import asyncio
import time
from contextlib import suppress
from email.utils import formatdate

import pytest
from fault_cases import FAULTS, SHORT, SOUND, ask, endpoint, run
from hypothesis import given, settings
from hypothesis import strategies as st
from servers import behaviours as b
from servers.misbehaving import MODEL, serving

from calibrate.endpoint.client import Client, Endpoint, address_of
from calibrate.endpoint.exchange import STATUSES, Ask, Progress
from calibrate.schema import ProfileError


@pytest.fixture(scope="module")
def server():
    with serving() as running:
        yield running


def refused_until(seconds):
    now = time.time()
    return b.refuse(429, date=formatdate(now, usegmt=True), retry_after=formatdate(now + seconds))


@pytest.mark.parametrize(
    ("behaviour", "tokens", "prompt", "counted"), [s[1:] for s in SOUND], ids=[s[0] for s in SOUND]
)
def test_a_stream_that_came_to_its_end_is_finished(server, behaviour, tokens, prompt, counted):
    progress = Progress()
    [reply] = ask(server, behaviour, progress=progress)

    assert (reply.status, reply.reason, reply.http_status) == ("finished", "", 200)
    assert (reply.output_tokens, reply.prompt_tokens, reply.counted) == (tokens, prompt, counted)
    assert reply.sent_s < reply.token_s[0] <= reply.token_s[-1] <= reply.ended_s
    assert list(reply.token_s) == sorted(reply.token_s)
    assert progress.first_s in (None, reply.token_s[0])


@pytest.mark.parametrize(
    ("behaviour", "status", "tokens", "reason"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS]
)
def test_a_fault_ends_in_one_status_with_a_reason(server, behaviour, status, tokens, reason):
    [reply] = ask(server, behaviour, **(SHORT if status == "timed_out" else {}))

    assert reply.status == status
    assert reply.output_tokens > 3 if tokens is None else reply.output_tokens == tokens
    assert reason in reply.reason
    assert reply.reason.isprintable() and len(reply.reason) <= 200
    instants = [reply.sent_s, *reply.token_s, reply.ended_s]
    assert instants == sorted(instants)


def test_after_every_fault_the_client_goes_on_and_nothing_was_sent_twice(server):
    replies = ask(server, *(fault[1] for fault in FAULTS), b.stream(), **SHORT)

    assert len(server.asked) == len(replies) == len(FAULTS) + 1
    assert {reply.status for reply in replies} < set(STATUSES)
    assert all(reply.status != "finished" for reply in replies[:-1])
    assert replies[-1].status == "finished"


def test_the_end_of_a_stream_does_not_wait_for_that_of_the_connection(server, monkeypatch):
    monkeypatch.setattr("calibrate.endpoint.client.PARTING_S", 0.1)
    [reply] = ask(server, b.lingering(), silence_s=30.0, total_s=35.0)

    assert reply.status == "finished"
    assert time.perf_counter() - reply.ended_s < 15


def test_nobody_listening_is_a_failure_and_no_exception(server):
    nobody = Endpoint("http://127.0.0.1:9/v1", MODEL, connect_s=1.0)

    async def try_it():
        async with Client(nobody) as client:
            with pytest.raises(ConnectionError, match=r"^GET http.*/models: no connection") as info:
                await client.get("/models")
            assert "\n" not in str(info.value)
            return await client.complete(Ask((1,), 2))

    reply = run(try_it())
    assert (reply.status, reply.http_status) == ("failed", None)
    assert reply.reason.startswith("no connection")


@pytest.mark.parametrize("host", ["a" * 70, "a..b", "nobody.invalid"])
def test_a_host_that_cannot_be_is_a_failure(host):
    async def try_it():
        async with Client(Endpoint(f"http://{host}/v1", MODEL, connect_s=2.0)) as client:
            return await client.complete(Ask((1,), 2))

    assert run(try_it()).reason.startswith("no connection")


@pytest.mark.parametrize(
    ("behaviour", "least", "most"),
    [
        (b.refuse(429, retry_after=2.5), 2.5, 2.5),
        (b.refuse(503, retry_after=0), 0, 0),
        (refused_until(30), 28, 31),
        (refused_until(-30), 0, 0),
    ],
)
def test_the_wait_that_a_server_asks_for_is_told(server, behaviour, least, most):
    [reply] = ask(server, behaviour)

    assert reply.status == "refused"
    assert least <= reply.retry_after_s <= most


@pytest.mark.parametrize(
    "value", ["soon", "-1", "nan", "inf", "1e300", "99999999999", "Mon, 99 Foo 20260", ""]
)
def test_an_absurd_wait_is_no_wait(server, value):
    [reply] = ask(server, b.refuse(429, retry_after=value))

    assert (reply.status, reply.retry_after_s) == ("refused", None)


def test_a_wait_is_told_of_plain_requests_too(server):
    server.play([b.refuse(429, retry_after=3)])

    async def try_it():
        async with Client(endpoint(server)) as client:
            return await client.post("/completions", {"max_tokens": 1})

    assert run(try_it()).retry_after_s == 3


# Giving up, and being many


@pytest.mark.parametrize(
    "behaviour",
    [b.stream(headers_s=b.NEVER), b.stream(silent_after=2), b.endless_stream(gap_s=0.001)],
    ids=["no head yet", "silent", "busy"],
)
def test_cancelling_closes_the_connection(server, behaviour):
    server.play([behaviour])
    progress = Progress()

    async def give_up():
        async with Client(endpoint(server)) as client:
            task = asyncio.create_task(client.complete(Ask((1,), 10_000), progress))
            while not server.asked:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            closed = await asyncio.to_thread(server.asked[0].closed.wait, 10.0)
            server.play([b.stream()])
            return closed, await client.complete(Ask((1,), 3))  # it can go on

    closed, after = run(give_up())
    assert closed
    assert after.status == "finished"


def test_many_streams_at_once_are_told_apart(server):
    server.play(lambda number: b.stream(gap_s=0.005, tokens=1 + number % 7, usage="each message"))

    async def try_it():
        async with Client(endpoint(server)) as client:
            asks = (client.complete(Ask((number,), 8)) for number in range(64))
            return await asyncio.gather(*asks)

    replies = run(try_it())
    assert {reply.status for reply in replies} == {"finished"}
    asked = {exchange.body["prompt"][0]: 1 + exchange.number % 7 for exchange in server.asked}
    assert [reply.output_tokens for reply in replies] == [asked[n] for n in range(64)]


def test_connections_are_used_again_but_not_after_a_rest(server, monkeypatch):
    monkeypatch.setattr("calibrate.endpoint.client.REST_S", 1.0)
    server.play([b.stream()])

    async def try_it():
        async with Client(endpoint(server)) as client:
            for rest_s in (0.0, 0.0, 1.2, 0.0):
                await asyncio.sleep(rest_s)
                await client.complete(Ask((1,), 2))

    run(try_it())
    first, second, third, fourth = (exchange.peer for exchange in server.asked)
    assert first == second != third == fourth


# What is asked


def test_what_is_asked_for_is_a_stream_of_the_tokens_wanted(server):
    ask(server, b.stream(), extra={"ignore_eos": True, "temperature": None}, min_tokens=True)
    ask_body = server.asked[0].body

    assert ask_body == {
        "model": MODEL,
        "prompt": [1, 2, 3],
        "max_tokens": 5,
        "min_tokens": 5,
        "stream": True,
        "stream_options": {"include_usage": True},
        "ignore_eos": True,
    }
    assert server.asked[0].headers["accept-encoding"] == "identity"
    assert "authorization" not in server.asked[0].headers


def test_a_chat_is_asked_and_understood(server):
    greeting = b'data: {"choices": [{"delta": {"role": "assistant", "content": ""}}]}\n\n'
    thought = b'data: {"choices": [{"delta": {"reasoning_content": "hm"}}]}\n\n'
    server.play([b.events(greeting, thought, lambda x: x.message("well"))])

    async def try_it():
        async with Client(endpoint(server, api="chat")) as client:
            return await client.complete(Ask("Well?", 4))

    reply = run(try_it())
    assert server.asked[0].body["messages"] == [{"role": "user", "content": "Well?"}]
    assert "prompt" not in server.asked[0].body
    assert (reply.status, reply.output_tokens) == ("finished", 2)


def test_a_body_written_beforehand_is_sent_as_it_is(server):
    server.play([b.stream()])

    async def try_it():
        async with Client(endpoint(server)) as client:
            prepared = client.endpoint.prepared(Ask((7,), 2))
            assert prepared == Ask((7,), 2) and "body" not in repr(prepared)
            return await client.complete(prepared)

    assert run(try_it()).output_tokens == 2
    assert server.asked[0].body["prompt"] == [7]


def test_facts_are_read_under_the_address_and_under_the_root(server):
    async def try_it():
        async with Client(endpoint(server)) as client:
            return await client.get("/models"), await client.get("/models", root=True)

    models, nothing = run(try_it())
    assert models.json()["data"][0]["id"] == MODEL
    assert (nothing.http_status, nothing.json()) == (404, None)
    assert nothing.said == "HTTP 404: Not Found"


def test_proxies_of_the_environment_are_not_used(server, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert ask(server, b.stream())[0].status == "finished"


def test_a_client_out_of_its_context_says_so(server):
    with pytest.raises(RuntimeError, match="outside of its context"):
        run(Client(endpoint(server)).complete(Ask((1,), 1)))


# Addresses and limits


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host:8000/v1",
        "ftp://host/v1",
        "http://",
        "http:///v1",
        "http://host:99999/v1",
        "http://host:0/v1",
        "http://[::1/v1",
        "http://user:secret@host/v1",
        "http://host/v1?key=secret",
        "http://host/v1#secret",
        "http://host/v 1",
        "http://höst/v1",
        "http://host/v1\n",
    ],
)
def test_an_address_that_cannot_be_is_refused_without_repeating_it(url):
    with pytest.raises(ProfileError, match="the server's address") as info:
        Endpoint(url, MODEL)
    assert "secret" not in str(info.value)


@pytest.mark.parametrize(
    "url", ["http://host", "https://10.0.0.1:8443/v1/", "http://[::1]:8000/v1"]
)
def test_an_address_is_kept_without_its_last_slash(url):
    assert address_of(url) == url.rstrip("/")


@pytest.mark.parametrize(
    "changes",
    [{"model": " "}, {"api": "edits"}, {"silence_s": 0.0}, {"total_s": -1.0}, {"connect_s": None}],
)
def test_nonsense_is_refused(changes):
    with pytest.raises(ProfileError, match=next(iter(changes))):
        Endpoint(**({"url": "http://host", "model": MODEL} | changes))


fragments = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 429 No\r\n",
        b"HTTP/1.0 200\r\n",
        b"HTTP/1.1 099 Odd\r\n",
        b"HTTP/1.1 101 Switching\r\n",
        b"HTTP/1.1 100 Go on\r\n\r\n",
        b"HTTP/9 x\r\n",
        b"content-type: text/event-stream\r\n",
        b"transfer-encoding: chunked\r\n",
        b"transfer-encoding: gzip\r\n",
        b"content-length: 40\r\n",
        b"content-length: -1\r\n",
        b"retry-after: Mon\r\n",
        b"location: //\xff\r\n",
        b"connection: close\r\n",
        b": no name\r\n",
        b"\r\n",
        b"\r\n",
        b"1c\r\n",
        b"fffffffffffffffffff\r\n",
        b'data: {"choices": [{"text": "a"}]}\n\n',
        b"data: [DONE]\n\n",
        b"0\r\n\r\n",
    ]
)


@settings(max_examples=100)
@given(st.lists(fragments | st.binary(max_size=20), max_size=10).map(b"".join), st.booleans())
def test_whatever_comes_back_is_one_status_and_no_exception(data, reset):
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        writer.transport.abort() if reset else writer.close()

    async def try_it():
        net = await asyncio.start_server(answer, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{net.sockets[0].getsockname()[1]}/v1"
        async with Client(Endpoint(url, MODEL, silence_s=10.0, total_s=20.0)) as client:
            reply = await client.complete(Ask((1,), 2))
            with suppress(ConnectionError):
                await client.get("/models")
        net.close()
        return reply

    reply = run(try_it())
    assert reply.status in STATUSES
    assert reply.reason.isprintable() and bool(reply.reason) == (reply.status != "finished")
