"""A client for the completions of an OpenAI-compatible server that times every token."""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from calibrate.endpoint.events import StreamError, partly_told, told
from calibrate.endpoint.exchange import Progress, Reply
from calibrate.endpoint.wire import ARRIVED_S, StampingBackend
from calibrate.schema import ProfileError, number, one_of, text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    import httpcore

    from calibrate.endpoint.exchange import Ask

APIS = {"completions": "/completions", "chat": "/chat/completions"}
TURNED_AWAY = (429, 503)
LARGEST_BODY = 2**20
"""Bytes of an error's or a fact's answer that are read; a server may send no end of it."""


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
        Sent as a bearer token; never shown: not in errors, files or the representation.
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
        In one line, for an address that cannot be one.
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
        return message.replace(self.key, "***") if self.key else message


def address_of(url: str) -> str:
    """Return a base address without a slash at its end; ProfileError for one that cannot be."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    try:
        sound = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) > 0
    except ValueError:
        sound = False
    if not sound or parts.query or parts.fragment or parts.username or parts.password:
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
    if not key.isprintable() or not key.isascii():
        raise ProfileError(
            f"the environment variable {variable}: expected a key of printable ASCII"
        )
    return key


@dataclass(frozen=True)
class Answer:
    """The answer to a plain request; `body` holds at most `LARGEST_BODY` bytes."""

    http_status: int
    body: bytes
    retry_after_s: float | None = None

    def json(self) -> Any:
        """Return the body's JSON value, or None where it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def said(self) -> str:
        """The status and, in one line, the message of an error."""
        message = _said(self.body.decode("utf-8", "replace"))
        return f"HTTP {self.http_status}" + (f": {message}" if message else "")


class Client:
    """Connections to one endpoint; use it as an asynchronous context.

    Nothing is ever sent twice: a retry is the caller's to decide and to count.

    Parameters
    ----------
    endpoint : Endpoint
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._base = address_of(endpoint.url)
        self._headers = [("accept", "text/event-stream, application/json"), ("host", self._host())]
        if endpoint.key:
            self._headers.append(("authorization", f"Bearer {endpoint.key}"))
        self._pool: httpcore.AsyncConnectionPool | None = None

    def _host(self) -> str:
        from urllib.parse import urlsplit

        return urlsplit(self._base).netloc

    async def __aenter__(self) -> Client:
        import httpcore

        self._pool = httpcore.AsyncConnectionPool(
            max_connections=None, max_keepalive_connections=None, network_backend=StampingBackend()
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
        from urllib.parse import urlsplit

        base = self._base
        if root:
            parts = urlsplit(base)
            base = f"{parts.scheme}://{parts.netloc}"
        return await self._request("GET", base + path, None)

    async def post(self, path: str, body: Mapping[str, Any]) -> Answer:
        """Return the answer to a JSON body posted to `path`; ConnectionError without one."""
        return await self._request("POST", self._base + path, json.dumps(body).encode())

    async def _request(self, method: str, url: str, content: bytes | None) -> Answer:
        import httpcore

        try:
            async with (
                asyncio.timeout(self.endpoint.silence_s),
                self._stream(method, url, content) as answer,
            ):
                body = await _body(answer)
                return Answer(answer.status, body, _retry_after_s(answer))
        except TimeoutError:
            problem = f"no answer in {self.endpoint.silence_s:g} s"
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
            problem = _problem(error)
        raise ConnectionError(self.endpoint.without_key(f"{method} {url}: {problem}"))

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
            Told of the first content and of messages as they come.
        """
        import httpcore

        progress = progress or Progress()
        content = ask.body or self.endpoint.body(ask)
        url = self._base + APIS[self.endpoint.api]
        chunks: list[tuple[float, bytes]] = []
        sent_s = time.perf_counter()
        try:
            async with (
                asyncio.timeout(self.endpoint.total_s),
                self._stream("POST", url, content) as answer,
            ):
                if answer.status != 200:
                    return await self._turned_away(answer, sent_s)
                wire = answer.extensions["network_stream"]
                async for chunk in answer.aiter_stream():
                    arrived_s = wire.get_extra_info(ARRIVED_S)
                    chunks.append((arrived_s, chunk))
                    messages = chunk.count(b"data:")
                    if messages:
                        if progress.first_s is None:
                            progress.first_s = arrived_s
                        progress.messages += messages
        except TimeoutError:
            return self._broken(
                "timed_out", f"not done in {self.endpoint.total_s:g} s", sent_s, chunks
            )
        except httpcore.TimeoutException as error:
            return self._broken("timed_out", self._silence(error), sent_s, chunks)
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            return self._broken("failed", _problem(error), sent_s, chunks)
        return self._over(sent_s, chunks, ask)

    def _over(self, sent_s: float, chunks: list[tuple[float, bytes]], ask: Ask) -> Reply:
        """Return the reply in a stream that came to its end."""
        try:
            found = told(chunks)
        except StreamError as error:
            return self._broken("failed", str(error), sent_s, chunks)
        if not found.done:
            return self._broken("failed", "the stream ended before its time", sent_s, chunks)
        if not found.token_s:
            return self._broken("failed", "the stream held no token", sent_s, chunks)
        if found.finish_reason == "abort" or found.finish_reason == "error":
            reason = f"the server ended it with {found.finish_reason!r}"
            return self._broken("failed", reason, sent_s, chunks)
        return Reply(
            "finished",
            sent_s,
            chunks[-1][0],
            found.token_s,
            found.prompt_tokens,
            http_status=200,
            counted=found.counted,
        )

    async def _turned_away(self, answer: httpcore.Response, sent_s: float) -> Reply:
        reason = Answer(answer.status, await _body(answer)).said
        return Reply(
            "refused" if answer.status in TURNED_AWAY else "failed",
            sent_s,
            time.perf_counter(),
            reason=self.endpoint.without_key(reason)[:200],
            http_status=answer.status,
            retry_after_s=_retry_after_s(answer),
        )

    def _broken(
        self, status: str, reason: str, sent_s: float, chunks: list[tuple[float, bytes]]
    ) -> Reply:
        found = partly_told(chunks)
        return Reply(
            status,
            sent_s,
            time.perf_counter(),
            found.token_s,
            found.prompt_tokens,
            self.endpoint.without_key(reason)[:200],
            200 if chunks else None,
            counted=found.counted,
        )

    def _silence(self, error: Exception) -> str:
        if type(error).__name__.startswith("Connect"):
            return f"no connection in {self.endpoint.connect_s:g} s"
        return f"nothing came for {self.endpoint.silence_s:g} s"


async def _body(answer: httpcore.Response) -> bytes:
    body = b""
    async for chunk in answer.aiter_stream():
        body += chunk
        if len(body) >= LARGEST_BODY:
            break
    return body[:LARGEST_BODY]


def _said(body: str) -> str:
    """Return the message in an error's body, in one line."""
    try:
        value = json.loads(body)
    except ValueError:
        value = body
    for name in ("error", "message", "detail"):
        if isinstance(value, dict) and name in value:
            value = value[name]
    return " ".join(str(value).split())[:160]


def _problem(error: Exception) -> str:
    """Return what was wrong with a connection, in a few words."""
    said = " ".join(str(error).split())
    kind = type(error).__name__
    names = {
        "ConnectError": "no connection",
        "ReadError": "the connection was lost",
        "WriteError": "the connection was lost while sending",
        "RemoteProtocolError": "the server broke off or does not speak HTTP",
        "ConnectTimeout": "no connection in time",
        "ReadTimeout": "no answer in time",
    }
    return f"{names.get(kind, kind)}{f' ({said})' if said else ''}"


def _retry_after_s(answer: httpcore.Response) -> float | None:
    headers = {name.lower(): value for name, value in answer.headers}
    value = headers.get(b"retry-after", b"")
    try:
        seconds = float(value.decode("ascii", "replace"))
    except ValueError:  # a date, or nothing
        return None
    return seconds if 0 <= seconds < 86_400 else None
