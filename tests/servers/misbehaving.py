"""An OpenAI-compatible server that does to each completion what a script says.

    with serving([behaviours.stream(), behaviours.refuse(503)]) as server:
        ...  # server.url; server.asked: what was asked of it so far

A script is a list with a behaviour a completion, of which the last is repeated, or a function of
the completion's number. A behaviour is a coroutine function of an `Exchange`: `behaviours.py` has
them. Starlette and uvicorn speak HTTP; whoever wants to break it is handed the connection itself.
"""

import asyncio
import json
import socket
import struct
import threading
import time
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

MODEL = "tiny"
PATIENCE_S = 10.0


class Exchange:
    """A completion that was asked for, and the means to answer it, well or badly.

    Attributes
    ----------
    number : int
        From 0.
    body : dict
        What was asked.
    key : str
        The bearer token that came with it.
    closed : threading.Event
        Set once the connection is closed.
    """

    def __init__(self, number, scope, body, receive, send, transport):
        self.number = number
        self.body = json.loads(body)
        self.path = scope["path"]
        self.headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.key = self.headers.get("authorization", "").removeprefix("Bearer ")
        self.peer = scope["client"]
        self.closed = threading.Event()
        self.transport = transport
        self._receive = receive
        self._send = send

    @property
    def tokens(self):
        """How many were asked for."""
        return self.body["max_tokens"]

    def message(self, text="w ", finish=None, usage=None, **others):
        """Return a message of the stream, as an event."""
        choice = {"index": 0, "finish_reason": finish}
        choice |= {"delta": {"content": text}} if "chat" in self.path else {"text": text}
        value = {"id": "cmpl-1", "model": MODEL, "choices": [choice], "usage": usage} | others
        return b"data: " + json.dumps(value).encode() + b"\n\n"

    async def start(self, status=200, kind="text/event-stream", **headers):
        """Send the head of the answer; an underscore in a header's name stands for a hyphen."""
        pairs = {"content-type": kind} | {n.replace("_", "-"): v for n, v in headers.items()}
        named = [(name.encode(), str(value).encode()) for name, value in pairs.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": named})

    async def send(self, data):
        """Send a piece of the body, in a chunk of its own."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self):
        """End the body as it should be."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def gone(self):
        """Return once the connection is closed."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def raw(self, data):
        """Write past HTTP."""
        self.transport.write(data)

    def break_off(self):
        """Close the connection (FIN), wherever the answer is."""
        self.transport.close()

    def reset(self):
        """Reset the connection (RST)."""
        linger = struct.pack("ii", 1, 0)
        self.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, linger
        )
        self.transport.abort()


class _Completions:
    """Answers completions by the script."""

    def __init__(self, server):
        self.server = server

    async def __call__(self, scope, receive, send):
        body, more = b"", True
        while more:
            part = await receive()
            body, more = body + part.get("body", b""), part.get("more_body", False)
        server = self.server
        transport = server.transports[scope["client"]]
        exchange = Exchange(len(server.asked), scope, body, receive, send, transport)
        server.asked.append(exchange)
        await server.script(exchange.number)(exchange)


class Server:
    """A running server.

    Attributes
    ----------
    url : str
    asked : list of Exchange
        What was asked since the script began.
    """

    def __init__(self, script=(), models=(MODEL,), **tls):
        self.transports = {}
        self.play(script)
        self._loop = None
        self._socket = socket.create_server(("127.0.0.1", 0))
        listing = {"object": "list", "data": [{"id": model, "object": "model"} for model in models]}

        async def list_models(request):
            return JSONResponse(listing)

        completions = _Completions(self)
        routes = [
            Route("/v1/completions", completions, methods=["POST"]),
            Route("/v1/chat/completions", completions, methods=["POST"]),
            Route("/v1/models", list_models),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes),
            http=self._protocol(),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            **tls,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=asyncio.run, args=[self._main()], daemon=True)
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._socket.getsockname()[1]}/v1"

    def play(self, script):
        """Begin another script."""
        self.script = script if callable(script) else lambda n: script[min(n, len(script) - 1)]
        self.asked = []

    def start(self):
        """Serve from now on."""
        self._thread.start()
        until = time.monotonic() + PATIENCE_S
        while not self._server.started:
            assert time.monotonic() < until, "the server did not start"
            time.sleep(0.005)

    def stop(self):
        """End, whatever is going on."""
        self._loop.call_soon_threadsafe(self._end)
        self._thread.join(PATIENCE_S)
        self._socket.close()
        assert not self._thread.is_alive(), "the server did not stop"

    async def _main(self):
        self._loop = asyncio.get_running_loop()
        # What it breaks, it breaks on purpose.
        self._loop.set_exception_handler(lambda loop, context: None)
        await self._server.serve(sockets=[self._socket])

    def _end(self):
        self._server.should_exit = self._server.force_exit = True
        for transport in list(self.transports.values()):
            transport.abort()

    def _protocol(self):
        """Return HTTP as uvicorn speaks it, with the connections within a behaviour's reach."""
        server = self

        class Within(H11Protocol):
            def connection_made(self, transport):
                super().connection_made(transport)
                server.transports[self.client] = transport

            def connection_lost(self, exc):
                super().connection_lost(exc)
                del server.transports[self.client]
                for exchange in server.asked:
                    if exchange.peer == self.client:
                        exchange.closed.set()

        return Within


@contextmanager
def serving(script=(), **options):
    """Run a server on a free port with this script; see `Server`."""
    server = Server(script, **options)
    server.start()
    try:
        yield server
    finally:
        server.stop()
