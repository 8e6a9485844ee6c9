"""A key is in nothing that can be shown, however a server repeats it."""

import asyncio
import json
from html import escape
from urllib.parse import quote

import pytest
from fault_cases import ask, endpoint, run
from servers import behaviours as b
from servers.misbehaving import MODEL, serving

from calibrate.endpoint.client import LARGEST_BODY, Client, Endpoint, key_from
from calibrate.endpoint.exchange import Ask
from calibrate.endpoint.secret import bytes_without, without
from calibrate.schema import ProfileError

KEY = "sk-Top/Secret+1234567890\"'<&>=="


@pytest.fixture(scope="module")
def server():
    with serving() as running:
        yield running


def spelled(key):
    """Return how a server may repeat a key."""
    return {
        "plain": key,
        "bearer": f"Bearer {key}",
        "json": json.dumps(key),
        "json twice": json.dumps(json.dumps(key)),
        "slashes": key.replace("/", "\\/"),
        "unicode": "".join(f"\\u{ord(c):04x}" for c in key),
        "repr": repr(key),
        "address": quote(key),
        "whole address": quote(key, safe=""),
        "html": escape(key),
        "lower": key.lower(),
    }


def holds_key(text, key=KEY):
    return any(part.lower() in text.lower() for part in (key, key[:9], key[-9:]))


@pytest.mark.parametrize("how", spelled(KEY))
def test_a_repeated_key_is_in_no_reply(server, how):
    script = [b.refuse(308, location="http://else/" + spelled(KEY)["whole address"])]
    for before in (0, 110, 140, 158, 185):  # reasons are cut at 160 or 200 letters
        text = "x" * before + " " + spelled(KEY)[how]
        script += [
            b.refuse(401, text),
            b.refuse(400, body=text.encode()),
            b.page(text.encode()),
            b.events(b"data: " + text.encode() + b"\n\n"),
            b.events(b"data: " + json.dumps({"error": text}).encode() + b"\n\n"),
            b.not_http(text.encode() + b"\r\n\r\n"),
        ]

    for reply in ask(server, *script, key=KEY):
        assert reply.status == "failed"
        assert not holds_key(repr(reply)), reply.reason
    assert server.asked[0].key == KEY


@pytest.mark.parametrize("cut", range(4, len(KEY)))
def test_a_key_with_which_an_answer_breaks_off_is_in_no_reply(server, cut):
    async def break_off(exchange):
        await exchange.start(401, "text/plain", content_length=1000)
        await exchange.send(b"what is " + KEY[:cut].encode())
        await asyncio.sleep(0.01)
        exchange.break_off()

    [reply] = ask(server, break_off, key=KEY)

    assert reply.reason == "HTTP 401: what is ***"


def test_a_key_that_comes_in_pieces_is_in_no_reply(server):
    pieces = (b"your key ", KEY[:9].encode(), KEY[9:].encode(), b" is wrong")

    [reply] = ask(server, b.events(*pieces, ended=False), key=KEY)

    assert reply.reason == "the answer is no stream of events: your key *** is wrong"


def test_a_key_across_the_end_of_what_is_read_is_in_no_answer(server):
    spaces = b" " * (LARGEST_BODY - 20)
    script = [b.endless_error(500, spaces + KEY.encode() * 3), b.page(spaces + KEY.encode())]
    server.play([*script, *script])

    async def both():
        async with Client(endpoint(server, key=KEY)) as client:
            replies = [await client.complete(Ask((1,), 2)) for _ in script]
            return replies, [await client.post("/completions", {"max_tokens": 1}) for _ in script]

    replies, answers = run(both())
    assert not any(holds_key(repr(reply)) for reply in replies)
    for answer in answers:
        assert not holds_key(answer.body.decode()) and not holds_key(answer.said)


def test_the_key_is_in_no_answer_and_no_exception(server):
    server.play([b.refuse(401, lambda x: f"wrong key {x.key}", location=KEY), b.broken("reset")])

    async def try_it():
        async with Client(endpoint(server, key=KEY)) as client:
            answer = await client.post("/completions", {"max_tokens": 1})
            with pytest.raises(ConnectionError) as info:
                await client.post("/completions?key=" + KEY, {"max_tokens": 1})
            return answer, info.value, repr(client.endpoint) + repr(client)

    answer, error, shown = run(try_it())
    assert answer.said == "HTTP 401: wrong key ***"
    for text in (repr(answer), repr(answer.json()), str(error), repr(error), shown):
        assert not holds_key(text)
    assert error.__cause__ is None and error.__context__ is None


@pytest.mark.parametrize("key", ["two words", "new\nline", "ümlaut", "tab\t"])
def test_a_key_that_no_header_can_hold_is_refused_without_repeating_it(key, monkeypatch):
    with pytest.raises(ProfileError, match="the API key") as info:
        Endpoint("http://host/v1", MODEL, key=key)
    assert key not in str(info.value)
    monkeypatch.setenv("SOME_KEY", "x" + key + "x")
    with pytest.raises(ProfileError, match="SOME_KEY") as info:
        key_from("SOME_KEY")
    assert key not in str(info.value)


def test_a_key_comes_from_the_variable_that_is_named(monkeypatch):
    monkeypatch.setenv("SOME_KEY", f"  {KEY}\n")
    monkeypatch.delenv("NO_KEY", raising=False)

    assert key_from("SOME_KEY") == KEY
    assert key_from(None) == ""
    with pytest.raises(ProfileError, match="NO_KEY is not set"):
        key_from("NO_KEY")


@pytest.mark.parametrize("how", spelled(KEY))
def test_each_spelling_of_a_key_is_made_unreadable(how):
    message = f"before {spelled(KEY)[how]} after"

    hidden = without(KEY, message)

    assert hidden.startswith("before ") and hidden.endswith(" after") and "***" in hidden
    assert not holds_key(hidden, KEY)
    assert bytes_without(KEY, b"\xff" + message.encode()) == b"\xff" + hidden.encode()


def test_without_a_key_nothing_changes():
    assert without("", "as it is") == "as it is"
    assert without("secret", "as it is") == "as it is"
    assert bytes_without("", b"\xff\x00") == b"\xff\x00"


@pytest.mark.parametrize("key", ["(.*)+[a-z]{2}$^\\|?", "A" * 2000, "a"])
def test_any_key_can_be_hidden(key):
    assert without(key, f"<{key}>") == "<***>"
