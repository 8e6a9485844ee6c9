"""A client for the completions of an OpenAI-compatible server that times every token."""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpcore

from calibrate.endpoint.events import Stream, StreamError
from calibrate.endpoint.exchange import Progress, Reply
from calibrate.endpoint.faults import json_of, one_line, problem_of, retry_after_s, said
from calibrate.endpoint.secret import bytes_without, is_visible, without
from calibrate.endpoint.wire import ARRIVED_S, StampingBackend
from calibrate.schema import ProfileError, number, one_of, text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from calibrate.endpoint.events import Told
    from calibrate.endpoint.exchange import Ask

APIS = {"completions": "/completions", "chat": "/chat/completions"}
TURNED_AWAY = (429, 503)
LARGEST_BODY = 2**20
"""Bytes of an error's or a fact's answer that are read; a server may send no end of it."""
LARGEST_TOKEN = 4096
"""Bytes of a stream that are read for each token asked for, beside `LARGEST_BODY`."""
REST_S = 2.0
"""A connection at rest is closed after this, before servers do (5 s is usual): a request sent to
one that is just being closed would be lost."""
PARTING_S = 2.0
"""How long is waited for the rest of an answer that is of no use: after "[DONE]", of an error."""

_FAULTS = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError)


@dataclass(frozen=True)
class Endpoint:
    """Where a server is and how it wants to be asked.

    Parameters
    ----------
    url : str
        Its base address, such as "http://host:8000/v1".
    model : str
        Name of the model to ask for.
    api : str
        "completions" or "chat".
    key : str
        Sent as a bearer token, printable ASCII without spaces; never shown: not in errors, files
        or the representation.
    extra : mapping
        Entries of every request's body beside the usual ones, such as ``{"ignore_eos": True}``;
        None takes a usual one out.
    min_tokens : bool
        Whether to ask, with `min_tokens`, for no less than the most tokens of each request.
    connect_s, silence_s, total_s : float
        Longest wait for a connection, for the next byte, and for a whole exchange [s].

    Raises
    ------
    ProfileError
        In one line, for an address or a key that cannot be one.
    """

    url: str
    model: str
    api: str = "completions"
    key: str = field(default="", repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    min_tokens: bool = False
    connect_s: float = 10.0
    silence_s: float = 60.0
    total_s: float = 600.0

    def __post_init__(self) -> None:
        one_of("api", self.api, tuple(APIS))
        text("model", self.model)
        address_of(self.url)
        if not is_visible(self.key):
            raise ProfileError("the API key: expected printable ASCII without spaces")
        for name in ("connect_s", "silence_s", "total_s"):
            number(name, getattr(self, name), above=0)

    def body(self, ask: Ask) -> bytes:
        """Return the JSON to post for a completion."""
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": ask.max_tokens,
            "stream": True,
            "temperature": 0,
            "stream_options": {"include_usage": True},
        }
        if self.api == "chat":
            body["messages"] = [{"role": "user", "content": ask.prompt}]
        else:
            body["prompt"] = ask.prompt
        if self.min_tokens:
            body["min_tokens"] = ask.max_tokens
        body |= self.extra
        return json.dumps(
            {name: value for name, value in body.items() if value is not None}
        ).encode()

    def prepared(self, ask: Ask) -> Ask:
        """Return the ask with its body written, which takes milliseconds for a long prompt."""
        return replace(ask, body=self.body(ask))

    def without_key(self, message: str) -> str:
        """Return a message, the key in it made unreadable."""
        return without(self.key, message)


def address_of(url: str) -> str:
    """Return a base address without a slash at its end; ProfileError for one that cannot be."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or not is_visible(url) or set("?#@") & set(url):
        # A user name or a key in the address would end in files: it is not even repeated here.
        raise ProfileError(
            "the server's address: expected http://HOST:PORT/v1, without user, query or fragment"
        )
    return url.rstrip("/")


def key_from(variable: str | None) -> str:
    """Return the key in an environment variable; ProfileError when it is not set."""
    if variable is None:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ProfileError(f"the environment variable {variable} is not set: expected the API key")
    if not is_visible(key):
        raise ProfileError(
            f"the environment variable {variable}: expected a key of printable ASCII without spaces"
        )
    return key


@dataclass(frozen=True)
class Answer:
    """The answer to a plain request; `body` holds about `LARGEST_BODY` bytes, and never the key."""

    http_status: int
    body: bytes
    retry_after_s: float | None = None
    location: str = ""

    def json(self) -> Any:
        """Return the body's JSON value, or None where it is none."""
        return json_of(self.body)

    @property
    def said(self) -> str:
        """The status and, in one line, the message of an error or where a redirection leads."""
        message = said(self.body)
        if 300 <= self.http_status < 400 and self.location:
            message = f"redirected to {one_line(self.location, 120)}"
        return f"HTTP {self.http_status}" + (f": {message}" if message else "")


class Client:
    """Connections to one endpoint; use it as an asynchronous context.

    Nothing is ever sent twice: a retry is the caller's to decide and to count.  Redirections are
    not followed and proxies named in the environment not used: what is in between would be
    measured too.  A certificate is checked against the system's authorities; others are named, as
    for other programs, by the environment variable SSL_CERT_FILE.

    Parameters
    ----------
    endpoint : Endpoint
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._base = address_of(endpoint.url)
        self._headers = [
            ("host", urlsplit(self._base).netloc),
            ("accept", "text/event-stream, application/json"),
            ("accept-encoding", "identity"),
        ]
        if endpoint.key:
            self._headers.append(("authorization", f"Bearer {endpoint.key}"))
        self._pool: httpcore.AsyncConnectionPool | None = None

    async def __aenter__(self) -> Client:
        secured = self._base.startswith("https:")
        self._pool = httpcore.AsyncConnectionPool(
            # One for all connections, as reading the authorities takes tens of milliseconds.
            ssl_context=httpcore.default_ssl_context() if secured else None,
            max_connections=None,
            max_keepalive_connections=None,
            keepalive_expiry=REST_S,
            network_backend=StampingBackend(),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            await self._pool.aclose()
            self._pool = None

    async def get(self, path: str, *, root: bool = False) -> Answer:
        """Return the answer to GET `path` under the base address, or under the server's root.

        Raises
        ------
        ConnectionError
            In one line, where there is no answer.
        """
        base = self._base
        if root:
            parts = urlsplit(base)
            base = f"{parts.scheme}://{parts.netloc}"
        return await self._request("GET", base + path, None)

    async def post(self, path: str, body: Mapping[str, Any]) -> Answer:
        """Return the answer to a JSON body posted to `path`; ConnectionError without one."""
        return await self._request("POST", self._base + path, json.dumps(body).encode())

    async def _request(self, method: str, url: str, content: bytes | None) -> Answer:
        try:
            async with (
                asyncio.timeout(self.endpoint.silence_s),
                self._stream(method, url, content) as answer,
            ):
                body = bytearray()
                await _read(answer, body)
                return self._answer(answer, body)
        except TimeoutError:
            problem = f"no answer in {self.endpoint.silence_s:g} s"
        except _FAULTS as error:
            problem = problem_of(error)
        raise ConnectionError(self._shown(f"{method} {url}: {problem}"))

    def _answer(self, answer: httpcore.Response, body: bytearray) -> Answer:
        """Return an answer without the key in it."""
        headers = {name.lower(): value for name, value in answer.headers}
        location = headers.get(b"location", b"").decode("latin-1")
        return Answer(
            answer.status,
            bytes_without(self.endpoint.key, bytes(body)),
            retry_after_s(answer.headers),
            self.endpoint.without_key(location),
        )

    def _shown(self, message: str) -> str:
        """Return a message that can be shown: first without the key, then cut."""
        return one_line(self.endpoint.without_key(message), 200)

    def _stream(self, method: str, url: str, content: bytes | None) -> Any:
        if self._pool is None:
            raise RuntimeError("the client is used outside of its context")
        headers = list(self._headers)
        if content is not None:
            headers += [("content-type", "application/json"), ("content-length", str(len(content)))]
        silence_s = self.endpoint.silence_s
        wait = {"connect": self.endpoint.connect_s, "read": silence_s, "write": silence_s}
        return self._pool.stream(
            method, url, headers=headers, content=content, extensions={"timeout": wait}
        )

    async def complete(self, ask: Ask, progress: Progress | None = None) -> Reply:
        """Ask for a completion and return what became of it; no fault of the server raises.

        Cancelling the task gives the exchange up and closes its connection: the server may then
        stop generating.  A `Reply` with the status "cancelled" is for the caller to make.

        Parameters
        ----------
        ask : Ask
        progress : Progress, optional
            Told of the tokens as they come.
        """
        progress = progress or Progress()
        content = ask.body or self.endpoint.body(ask)
        url = self._base + APIS[self.endpoint.api]
        heard = _Heard(Stream(LARGEST_BODY + LARGEST_TOKEN * ask.max_tokens))
        status, problem = "finished", ""
        sent_s = time.perf_counter()
        try:
            async with (
                asyncio.timeout(self.endpoint.total_s) as limit,
                self._stream("POST", url, content) as answer,
            ):
                if answer.status != 200:
                    return await self._turned_away(answer, sent_s)
                await heard.listen(answer, progress, limit)
        except StreamError as error:
            status, problem = "failed", str(error)
        except TimeoutError:
            status, problem = "timed_out", f"not done in {self.endpoint.total_s:g} s"
        except httpcore.TimeoutException as error:
            status, problem = "timed_out", self._silence(error)
        except _FAULTS as error:
            status, problem = "failed", problem_of(error)
        found = heard.stream.told()
        if not problem or heard.stream.closed:  # after "[DONE]" there is nothing to be missed
            problem = self._missing(heard, found)
            status = "failed" if problem else "finished"
        return Reply(
            status,
            sent_s,
            time.perf_counter() if problem else heard.last_s,
            found.token_s,
            found.prompt_tokens,
            self._shown(problem),
            200 if heard.answered else None,
            counted=found.counted,
        )

    def _missing(self, heard: _Heard, found: Told) -> str:
        """Return what is missing in a stream that came to its end; empty for nothing."""
        if not heard.stream.events:
            # In a whole body a key is found, in its beginning it might be cut.
            body = bytes_without(self.endpoint.key, bytes(heard.head))
            return f"the answer is no stream of events: {said(body)}"
        if not found.done:
            return "the stream ended before its time"
        if found.finish_reason in ("abort", "error"):
            return f"the server ended it with {found.finish_reason!r}"
        return "" if found.token_s else "the stream held no token"

    async def _turned_away(self, answer: httpcore.Response, sent_s: float) -> Reply:
        body = bytearray()
        try:  # What it says is wanted, but its status is the fact, even if it breaks off here.
            async with asyncio.timeout(PARTING_S):
                await _read(answer, body)
        except (TimeoutError, *_FAULTS):
            pass
        told = self._answer(answer, body)
        return Reply(
            "refused" if answer.status in TURNED_AWAY else "failed",
            sent_s,
            time.perf_counter(),
            reason=self._shown(told.said),
            http_status=answer.status,
            retry_after_s=told.retry_after_s,
        )

    def _silence(self, error: Exception) -> str:
        if type(error).__name__.startswith("Connect"):
            return f"no connection in {self.endpoint.connect_s:g} s"
        return f"nothing came for {self.endpoint.silence_s:g} s"


class _Heard:
    """What was heard of an answer so far."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.head = bytearray()  # what came before the first event
        self.answered = False
        self.last_s = 0.0

    async def listen(
        self, answer: httpcore.Response, progress: Progress, limit: asyncio.Timeout
    ) -> None:
        """Listen to the end of the stream, and for a moment after it."""
        self.answered = True
        headers = {name.lower(): value for name, value in answer.headers}
        encoding = headers.get(b"content-encoding", b"identity").decode("latin-1")
        if encoding != "identity":
            raise StreamError(f"the answer is compressed ({encoding}), which was not asked for")
        stream, wire = self.stream, answer.extensions["network_stream"]
        async for chunk in answer.aiter_stream():
            if stream.closed:
                continue
            self.last_s = wire.get_extra_info(ARRIVED_S)
            if not stream.events:
                self.head += chunk
            stream.hear(self.last_s, chunk)
            progress.first_s, progress.messages = stream.first_s, stream.tokens
            if stream.closed:
                limit.reschedule(asyncio.get_running_loop().time() + PARTING_S)
        stream.end()


async def _read(answer: httpcore.Response, body: bytearray) -> None:
    """Read an answer into `body`, of which there may be no end."""
    async for chunk in answer.aiter_stream():
        body += chunk
        if len(body) >= LARGEST_BODY:
            break
