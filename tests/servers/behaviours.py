"""What a server may do to a completion; each function returns a behaviour for `misbehaving`.

Delays and gaps are seconds. A behaviour that leaves something open waits until the client closes
the connection, so that what ends an exchange is the client.
"""

import asyncio
import gzip
import json

NEVER = float("inf")
DONE = b"data: [DONE]\n\n"


def counts(output, prompt=3):
    """Return the usage of so many tokens."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
    }


async def pause(exchange, seconds):
    """Wait, or until the connection is closed."""
    if seconds == NEVER:
        await exchange.gone()
    elif seconds:
        await asyncio.sleep(seconds)


def stream(
    tokens=None,
    *,
    headers_s=0.0,
    first_s=0.0,
    gap_s=0.0,
    silent_after=None,
    stop_after=None,
    usage="at the end",
    text="w ",
    finish="length",
    done=True,
    together=1,
    **others,
):
    """Return a well-paced stream, and with delays, silences and odd counts one that is not.

    `tokens` are as many as asked for, `together` in a message. After `silent_after` messages
    nothing comes any more; after `stop_after` the answer ends as if it were whole. `usage` is "at
    the end", "each message", None or a function of the tokens so far and whether it is the end.
    """

    def usage_of(so_far, ended):
        if callable(usage):
            return usage(so_far, ended)
        told = usage == "each message" or (usage == "at the end" and ended)
        return counts(so_far) if told else None

    async def behave(exchange):
        await pause(exchange, headers_s)
        await exchange.start()
        await pause(exchange, first_s)
        total = exchange.tokens if tokens is None else tokens
        messages = -(-total // together)
        for number in range(1, messages + 1):
            so_far = min(number * together, total)
            reason = finish if number == messages else None
            message = exchange.message(
                text * together, finish=reason, usage=usage_of(so_far, False), **others
            )
            await exchange.send(message)
            if number == silent_after:
                await exchange.gone()
            if number == stop_after:
                await exchange.end()
                return
            await pause(exchange, gap_s)
        ending = usage_of(total, True)
        if ending:
            await exchange.send(exchange.message(choices=[], usage=ending))
        if done:
            await exchange.send(DONE)
        await exchange.end()

    return behave


def refuse(status, said="no", *, body=None, **headers):
    """Return an error; a function as `said` gets the exchange, so that it can tell the key."""

    async def behave(exchange):
        text = said(exchange) if callable(said) else said
        error = {"error": {"message": text, "type": "invalid", "code": status}}
        await exchange.start(status, "application/json", **headers)
        await exchange.send(json.dumps(error).encode() if body is None else body)
        await exchange.end()

    return behave


def endless_error(status, piece=b"no " * 1000):
    """Return an error of which there is no end."""

    async def behave(exchange):
        await exchange.start(status, "text/plain")
        while not exchange.closed.is_set():
            await exchange.send(piece)
            await asyncio.sleep(0)

    return behave


def stalled_error(status):
    """Return an error that breaks off within its text, the connection staying open."""

    async def behave(exchange):
        await exchange.start(status, "text/plain")
        await exchange.send(b"it is ")
        await exchange.gone()

    return behave


def endless_stream(message=None, gap_s=0.0):
    """Return a stream that goes on far beyond what was asked for."""

    async def behave(exchange):
        await exchange.start()
        while not exchange.closed.is_set():
            await exchange.send(exchange.message() if message is None else message)
            await asyncio.sleep(gap_s)

    return behave


def broken(how, after=0, *, headers=True):
    """Return a stream that breaks off after so many messages, without or with the head sent.

    `how` is "close" (between two chunks), "mid-chunk" or "reset".
    """

    async def behave(exchange):
        if headers:
            await exchange.start()
        for _ in range(after):
            await exchange.send(exchange.message())
        if how == "mid-chunk":
            exchange.raw(b"400\r\n" + exchange.message()[:20])
        await asyncio.sleep(0.1)  # a reset drops what the client has not read
        (exchange.reset if how == "reset" else exchange.break_off)()

    return behave


def events(*pieces, after=0, ended=True):
    """Return a stream of these bytes, each sent alone, after so many sound messages.

    A piece may be a function of the exchange. `ended` closes it as it should be.
    """

    async def behave(exchange):
        await exchange.start()
        for _ in range(after):
            await exchange.send(exchange.message())
        for piece in pieces:
            await exchange.send(piece(exchange) if callable(piece) else piece)
            await asyncio.sleep(0.002)
        if ended:
            await exchange.send(exchange.message("", finish="length") + DONE)
        await exchange.end()

    return behave


def lingering(tokens=3):
    """Return a stream that is over with "[DONE]" but whose body never ends."""

    async def behave(exchange):
        await exchange.start()
        for _ in range(tokens):
            await exchange.send(exchange.message())
        await exchange.send(DONE)
        await exchange.gone()

    return behave


def zipped(tokens=3):
    """Return a compressed stream, which nobody asked for."""

    async def behave(exchange):
        await exchange.start(content_encoding="gzip")
        whole = b"".join(exchange.message() for _ in range(tokens)) + DONE
        await exchange.send(gzip.compress(whole))
        await exchange.end()

    return behave


def page(html=b"<html><body><h1>Welcome</h1></body></html>", status=200):
    """Return a page instead of a stream, as from a proxy."""

    async def behave(exchange):
        await exchange.start(status, "text/html")
        await exchange.send(html)
        await exchange.end()

    return behave


def not_http(data=b"SSH-2.0-OpenSSH_9.6\r\n"):
    """Return something that is no HTTP at all."""

    async def behave(exchange):
        exchange.raw(data)
        await asyncio.sleep(0.02)
        exchange.break_off()

    return behave
