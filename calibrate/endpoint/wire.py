"""Connections that note when bytes arrived, not when there was time to look at them.

A batching engine sends the tokens of all its streams at one instant.  Whoever takes the time as it
works through them charges the last stream with the work on all the others: milliseconds, at 64
streams.  The event loop hands all that has arrived to these connections first and wakes the readers
afterwards, so a time taken here is late by the work on the bytes alone.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

import httpcore

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable
    from typing import Any

ARRIVED_S = "arrived_s"
"""Name of a stream's extra information: when the bytes last read arrived, `perf_counter` [s]."""


class StampingBackend(httpcore.AsyncNetworkBackend):
    """Opens connections for `httpcore.AsyncConnectionPool` that note when bytes arrived."""

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
                    _Arrivals,
                    host,
                    port,
                    local_addr=None if local_address is None else (local_address, 0),
                )
        except TimeoutError:
            raise httpcore.ConnectTimeout from None
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from None
        return _Stream(transport, arrivals)

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)


class _Arrivals(asyncio.Protocol):
    """What has arrived on a connection and when, until it is read."""

    def __init__(self) -> None:
        self.chunks: deque[tuple[float, bytes]] = deque()
        self.over = False
        self.error: Exception | None = None
        self.may_write = asyncio.Event()
        self.may_write.set()
        self._reader: asyncio.Future[None] | None = None

    def data_received(self, data: bytes) -> None:
        self.chunks.append((time.perf_counter(), data))
        self._wake()

    def eof_received(self) -> None:
        self.over = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.over, self.error = True, exc
        self.may_write.set()
        self._wake()

    def pause_writing(self) -> None:
        self.may_write.clear()

    def resume_writing(self) -> None:
        self.may_write.set()

    async def something(self) -> None:
        """Return once there is something to read, or there will be no more."""
        if not self.chunks and not self.over:
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, transport: asyncio.Transport, arrivals: _Arrivals) -> None:
        self._transport = transport
        self._arrivals = arrivals
        self._arrived_s = 0.0

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        arrivals = self._arrivals
        if not arrivals.chunks and not arrivals.over:
            try:
                async with asyncio.timeout(timeout):
                    await arrivals.something()
            except TimeoutError:
                raise httpcore.ReadTimeout from None
        if arrivals.chunks:
            self._arrived_s, data = arrivals.chunks.popleft()
            if len(data) > max_bytes:
                arrivals.chunks.appendleft((self._arrived_s, data[max_bytes:]))
            return data[:max_bytes]
        if arrivals.error is not None:
            raise httpcore.ReadError(str(arrivals.error))
        return b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self._arrivals.over and self._arrivals.error is not None:
            raise httpcore.WriteError(str(self._arrivals.error))
        self._transport.write(buffer)
        try:
            async with asyncio.timeout(timeout):
                await self._arrivals.may_write.wait()
        except TimeoutError:
            raise httpcore.WriteTimeout from None

    async def aclose(self) -> None:
        self._transport.close()

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
        found = None
        with suppress(RuntimeError):
            found = self._transport.get_extra_info(info)
        return found
