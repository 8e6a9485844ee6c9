"""Connections that note when bytes arrived, not when there was time to look at them.

A batching engine sends the tokens of all its streams at one instant.  Whoever takes the time as it
works through them charges the last stream with the work on all the others: milliseconds, at 64
streams.  Here the event loop notes what has arrived on all connections, and their readers take
turns: one works, then the loop looks for arrivals again.  A time taken here is late by one reader's
work at most, not by that of all.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

import httpcore

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable
    from typing import Any

ARRIVED_S = "arrived_s"
"""Name of a stream's extra information: when the bytes last read arrived, `perf_counter` [s]."""
MOST_WAITING = 2**20
"""Bytes that wait to be read on a connection before no more are taken from it."""


class StampingBackend(httpcore.AsyncNetworkBackend):
    """Opens connections for `httpcore.AsyncConnectionPool` that note when bytes arrived."""

    def __init__(self) -> None:
        self._turns = _Turns()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Return a connection; httpcore's errors when there is none in time."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                transport, arrivals = await loop.create_connection(
                    lambda: _Arrivals(self._turns),
                    host,
                    port,
                    local_addr=None if local_address is None else (local_address, 0),
                )
        except TimeoutError:
            raise httpcore.ConnectTimeout from None
        except (OSError, UnicodeError) as error:  # the latter for names that no host can have
            raise httpcore.ConnectError(str(error)) from None
        return _Stream(transport, arrivals)

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)


class _Turns:
    """Wakes one reader an iteration of the event loop, so that it notes arrivals in between."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()

    def give(self, reader: asyncio.Future[None]) -> None:
        """Wake a reader when those before it had their turn."""
        self._waiting.append(reader)
        if len(self._waiting) == 1:
            reader.get_loop().call_soon(self._next)

    def _next(self) -> None:
        reader = self._waiting.popleft()
        if not reader.done():
            reader.set_result(None)
        if self._waiting:
            reader.get_loop().call_soon(self._next)


class _Arrivals(asyncio.Protocol):
    """What has arrived on a connection and when, until it is read."""

    def __init__(self, turns: _Turns) -> None:
        self.chunks: deque[tuple[float, bytes]] = deque()
        self.waiting = 0
        self.transport: asyncio.Transport | None = None
        self.over = False
        self.error: Exception | None = None
        self.may_write = asyncio.Event()
        self.may_write.set()
        self._turns = turns
        self._reader: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = 0.0

    def data_received(self, data: bytes) -> None:
        self.chunks.append((time.perf_counter(), data))
        self._wake()
        self.waiting += len(data)
        if self.waiting > MOST_WAITING and self.transport is not None:
            self.transport.pause_reading()

    def take(self, max_bytes: int) -> tuple[float, bytes]:
        """Return the first of what waits, and when it arrived."""
        arrived_s, data = self.chunks.popleft()
        if len(data) > max_bytes:
            self.chunks.appendleft((arrived_s, data[max_bytes:]))
            data = data[:max_bytes]
        if self.waiting > MOST_WAITING >= self.waiting - len(data) and self.transport is not None:
            self.transport.resume_reading()
        self.waiting -= len(data)
        return arrived_s, data

    def eof_received(self) -> None:
        self.over = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.over, self.error = True, exc
        self.may_write.set()
        self._wake()
        if self._timer is not None:
            self._timer.cancel()

    def pause_writing(self) -> None:
        self.may_write.clear()

    def resume_writing(self) -> None:
        self.may_write.set()

    async def something(self, timeout_s: float | None) -> None:
        """Return once there is something to read, there will be no more, or time is up."""
        if self.chunks or self.over:
            return
        loop = asyncio.get_running_loop()
        self._reader = loop.create_future()
        if timeout_s is not None:
            # One timer that is late rather than a new one for each of a stream's messages.
            self._due_s = loop.time() + timeout_s
            if self._timer is None or self._timer.when() > self._due_s:
                self._set_timer(loop)
        await self._reader

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(self._due_s, self._time_is_up, loop)

    def _time_is_up(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._reader is None:
            return
        if loop.time() < self._due_s:
            self._set_timer(loop)
        else:
            self._wake()

    def _wake(self) -> None:
        if self._reader is not None:
            reader, self._reader = self._reader, None
            self._turns.give(reader)


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, transport: asyncio.Transport, arrivals: _Arrivals) -> None:
        self._transport = transport
        self._arrivals = arrivals
        arrivals.transport = transport
        self._arrived_s = 0.0

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        arrivals = self._arrivals
        if not arrivals.chunks:
            await arrivals.something(timeout)
        if arrivals.chunks:
            self._arrived_s, data = arrivals.take(max_bytes)
            return data
        if not arrivals.over:
            raise httpcore.ReadTimeout
        if arrivals.error is not None:
            raise httpcore.ReadError(str(arrivals.error))
        return b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self._arrivals.over:
            raise httpcore.WriteError(str(self._arrivals.error or "closed by the server"))
        self._transport.write(buffer)
        if self._arrivals.may_write.is_set():
            return
        try:
            async with asyncio.timeout(timeout):
                await self._arrivals.may_write.wait()
        except TimeoutError:
            raise httpcore.WriteTimeout from None

    async def aclose(self) -> None:
        # Whoever closes has its answer or gives it up: nothing is left to be sent or said goodbye
        # to, which a server that does not read would draw out.
        self._transport.abort()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                transport = await loop.start_tls(
                    self._transport, self._arrivals, ssl_context, server_hostname=server_hostname
                )
        except TimeoutError:
            raise httpcore.ConnectTimeout from None
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from None
        if transport is None:
            raise httpcore.ConnectError("the connection was closed while it was being secured")
        return _Stream(transport, self._arrivals)

    def get_extra_info(self, info: str) -> Any:
        if info == ARRIVED_S:
            return self._arrived_s
        if info == "is_readable":  # a connection at rest that has something to read was closed
            return bool(self._arrivals.chunks) or self._arrivals.over
        return self._transport.get_extra_info(info)
