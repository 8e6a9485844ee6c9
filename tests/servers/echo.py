"""A server whose streams say when each message was sent, on the clock that all processes share.

``python tests/servers/echo.py`` prints the port that it listens on and serves until it is ended.
A completion's prompt is its number, ``gap_s`` the time between its messages; with ``aligned`` the
messages of all streams go out at one instant, as a batching engine's do, else each stream has its
own beat.  `perf_counter` is CLOCK_MONOTONIC on Linux: stamps of two processes can be compared.
GET /stamps returns when each message of each completion was sent, and forgets it.

Bare asyncio, so that little of the time between two processes is the server's.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
MESSAGE = (  # as long as an engine's
    'data: {"id":"cmpl-ad4cc14c4b72e321","object":"text_completion","created":1795299464,'
    '"model":"echo","choices":[{"index":0,"text":"word ","logprobs":null,"finish_reason":null,'
    '"stop_reason":null,"prompt_token_ids":null,"token_ids":null}],"usage":{"prompt_tokens":1,'
    '"total_tokens":%d,"completion_tokens":%d}}\n\n'
)
DONE = b"data: [DONE]\n\n"


def chunked(data: bytes) -> bytes:
    """Return a piece of a body of unknown length, as HTTP sends it."""
    return b"%x\r\n%s\r\n" % (len(data), data)


class Echo:
    """The streams and when their messages were sent."""

    def __init__(self) -> None:
        self.sent_s: dict[int, list[float]] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection until it is closed."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = 0
                for line in head.lower().split(b"\r\n"):
                    if line.startswith(b"content-length:"):
                        length = int(line[15:])
                body = await reader.readexactly(length)
                if head.startswith(b"GET"):
                    self._tell(writer)
                else:
                    await self._stream(writer, json.loads(body))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _tell(self, writer: asyncio.StreamWriter) -> None:
        body = json.dumps(self.sent_s).encode()
        self.sent_s = {}
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))

    async def _stream(self, writer: asyncio.StreamWriter, ask: dict[str, Any]) -> None:
        gap_s, sent_s = ask["gap_s"], self.sent_s.setdefault(ask["prompt"][0], [])
        writer.write(HEAD)
        now_s = time.perf_counter()
        beat_s = now_s // gap_s * gap_s if ask["aligned"] else now_s
        for token in range(1, ask["max_tokens"] + 1):
            beat_s += gap_s
            await asyncio.sleep(beat_s - time.perf_counter())
            piece = chunked((MESSAGE % (1 + token, token)).encode())
            sent_s.append(time.perf_counter())
            writer.write(piece)
        writer.write(chunked(DONE) + b"0\r\n\r\n")


async def main() -> None:
    """Listen on a free port."""
    server = await asyncio.start_server(Echo().serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
