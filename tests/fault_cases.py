"""Exchanges with a server that behaves or misbehaves, and how each must end."""

import asyncio

from servers import behaviours as b
from servers.misbehaving import MODEL

from calibrate.endpoint.client import Client, Endpoint
from calibrate.endpoint.exchange import Ask

PATIENCE_S = 40.0
"""No test takes as long: one that reaches it shows a hang."""
SHORT = {"silence_s": 0.3, "total_s": 2.5}
"""Limits for servers that are to run into them; the others have time, on a busy machine too."""


def run(coroutine):
    """Run to the end, but not for ever."""

    async def bounded():
        async with asyncio.timeout(PATIENCE_S):
            return await coroutine

    return asyncio.run(bounded())


def endpoint(server, **changes):
    defaults = {"model": MODEL, "silence_s": 10.0, "total_s": 15.0, "connect_s": 5.0}
    return Endpoint(server.url, **(defaults | changes))


def ask(server, *script, max_tokens=5, progress=None, **changes):
    """Return the replies to one completion after the other, one for each behaviour."""
    server.play(list(script))

    async def all_of_them():
        async with Client(endpoint(server, **changes)) as client:
            return [await client.complete(Ask((1, 2, 3), max_tokens), progress) for _ in script]

    return run(all_of_them())


def lying(tokens):
    return lambda so_far, ended: b.counts(tokens)


SOUND = [
    # name, behaviour, tokens, prompt_tokens, counted
    ("usage at the end", b.stream(), 5, 3, True),
    ("usage in each message", b.stream(usage="each message"), 5, 3, True),
    ("no usage", b.stream(usage=None), 5, None, False),
    ("fewer tokens than asked for", b.stream(2, finish="stop"), 2, 3, True),
    ("two tokens a message, usage at the end", b.stream(together=2), 5, 3, True),
    ("two tokens a message, running usage", b.stream(together=2, usage="each message"), 5, 3, True),
    ("two tokens a message, no usage", b.stream(together=2, usage=None), 3, None, False),
    ("tokens without text, usage at the end", b.stream(text=""), 5, 3, True),
    ("tokens without text, running usage", b.stream(text="", usage="each message"), 5, 3, True),
    ("usage that counts more", b.stream(usage=lying(8)), 8, 3, True),
    ("usage that counts less", b.stream(usage=lying(2)), 2, 3, True),
    ("usage that counts nothing", b.stream(usage=lying(0)), 5, 3, False),
    ("usage beyond belief", b.stream(usage=lying(10**12)), 5, 3, False),
    (
        "usage of wrong types",
        b.stream(usage=lambda *_: {"completion_tokens": True, "prompt_tokens": "3"}),
        5,
        None,
        False,
    ),
    ("usage that is a list", b.stream(usage=lambda *_: [1]), 5, None, False),
    ("no [DONE]", b.stream(done=False), 5, 3, True),
    ("no finish reason", b.stream(finish=None), 5, 3, True),
    ("another model answers", b.stream(model="other"), 5, 3, True),
    ("delays within what is allowed", b.stream(headers_s=0.1, first_s=0.1, gap_s=0.02), 5, 3, True),
]


FAULTS = [
    # name, behaviour, status, tokens kept, part of the reason
    (
        "silence before the head",
        b.stream(headers_s=b.NEVER),
        "timed_out",
        0,
        "nothing came for 0.3 s",
    ),
    ("silence before the first token", b.stream(first_s=b.NEVER), "timed_out", 0, "nothing came"),
    ("silence in the stream", b.stream(silent_after=3), "timed_out", 3, "nothing came for 0.3 s"),
    ("a stream without end", b.endless_stream(gap_s=0.05), "timed_out", None, "not done in 2.5 s"),
    ("a flood without end", b.endless_stream(b": comment\n" * 5000), "failed", 0, "longer than"),
    (
        "a line without end",
        b.endless_stream(b"data: {" + b" " * 60_000),
        "failed",
        0,
        "longer than",
    ),
    ("HTTP 400", b.refuse(400, "prompt too long"), "failed", 0, "HTTP 400: prompt too long"),
    ("HTTP 401", b.refuse(401, "who?"), "failed", 0, "HTTP 401: who?"),
    ("HTTP 404", b.refuse(404, "no model tiny"), "failed", 0, "HTTP 404: no model tiny"),
    ("HTTP 429", b.refuse(429, "slow down"), "refused", 0, "HTTP 429: slow down"),
    ("HTTP 500", b.refuse(500, body=b"oh\n  no"), "failed", 0, "HTTP 500: oh no"),
    ("HTTP 503", b.refuse(503, body=b""), "refused", 0, "HTTP 503"),
    ("HTTP 204", b.refuse(204, body=b""), "failed", 0, "HTTP 204"),
    ("an error as a page", b.page(status=502), "failed", 0, "HTTP 502: <html>"),
    ("an error of deep brackets", b.refuse(400, body=b"[" * 100_000), "failed", 0, "HTTP 400: [[["),
    ("an error without end", b.endless_error(429), "refused", 0, "HTTP 429: no no no"),
    ("an error that stalls", b.stalled_error(503), "refused", 0, "HTTP 503: it is"),
    ("an error that only lists", b.refuse(400, body=b'[{"a": 1}]'), "failed", 0, "HTTP 400: [{'a'"),
    (
        "a redirection",
        b.refuse(307, location="http://else/v1"),
        "failed",
        0,
        "redirected to http://else",
    ),
    ("a page", b.page(), "failed", 0, "is no stream of events: <html>"),
    ("an answer at once", b.page(b'{"choices": []}'), "failed", 0, "is no stream of events"),
    (
        "an error with HTTP 200",
        b.page(b'{"error": {"message": "full"}}'),
        "failed",
        0,
        "events: full",
    ),
    ("nothing", b.events(ended=False), "failed", 0, "is no stream of events"),
    ("a compressed stream", b.zipped(), "failed", 0, "compressed (gzip)"),
    ("no HTTP", b.not_http(), "failed", 0, "does not speak HTTP"),
    ("cut between messages", b.stream(stop_after=3), "failed", 3, "ended before its time"),
    ("closed before the head", b.broken("close", headers=False), "failed", 0, "broke off"),
    ("reset before the head", b.broken("reset", headers=False), "failed", 0, "lost"),
    ("closed in the stream", b.broken("close", 3), "failed", 3, "broke off"),
    ("closed within a chunk", b.broken("mid-chunk", 3), "failed", 3, "broke off"),
    ("reset in the stream", b.broken("reset", 3), "failed", 3, "lost"),
    ("no JSON", b.events(b"data: hello\n\n", after=2), "failed", 2, "no JSON object: hello"),
    ("a JSON list", b.events(b"data: [1, 2]\n\n", after=2), "failed", 2, "no JSON object: [1, 2]"),
    (
        "a JSON of deep brackets",
        b.events(b"data: " + b"[" * 99_999 + b"\n\n"),
        "failed",
        0,
        "no JSON",
    ),
    ("invalid UTF-8", b.events(b'data: {"text": "\xff\xfe"}\n\n', after=1), "failed", 1, "no JSON"),
    (
        "half a message",
        b.events(b'data: {"choi', after=2, ended=False),
        "failed",
        2,
        "no JSON object",
    ),
    (
        "an error in the stream",
        b.events(b'data: {"error": {"message": "OOM"}}\n\n', after=2),
        "failed",
        2,
        "ended with an error: {",
    ),
    (
        "an error object",
        b.events(b'data: {"object": "error", "message": "OOM"}\n\n', after=1),
        "failed",
        1,
        "OOM",
    ),
    ("the engine gave up", b.stream(3, finish="abort"), "failed", 3, "ended it with 'abort'"),
    ("choices of wrong types", b.stream(choices={"0": 1}, usage=None), "failed", 0, "no token"),
    ("a choice of a wrong type", b.stream(choices=["text"], usage=None), "failed", 0, "no token"),
    (
        "a text of a wrong type",
        b.stream(choices=[{"text": 5}], usage=None),
        "failed",
        0,
        "no token",
    ),
]
