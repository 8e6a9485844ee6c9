"""How late the client's stamps are, and what a message costs it: 64 streams from another process.

``python tests/bench_client.py`` starts `servers/echo.py` beside it, whose messages say when they
were sent.  A stamp's delay is all that lies between: the server's writing, the kernel, the event
loop.  Aligned streams get their messages at one instant, as from a batching engine; staggered ones
each at their own.  With a core for each of the two processes, the delay is the client's;
where they share what there is, the scheduler may let the client wait until the server has sent to
all.  Garbage is collected before each round, as before a replay of `saber validate`.  Unlike the
other benchmarks this one takes wall-clock time: other load is in it.
``--quick`` takes a fifth.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table

from calibrate.endpoint.client import Client, Endpoint
from calibrate.endpoint.exchange import Ask
from sim.validate.lateness import undisturbed

if TYPE_CHECKING:
    from collections.abc import Iterator

STREAMS = 64
GAPS_S = (0.02, 0.05)
ROUND_S = 5.0
MOST_LATE_MS = 5.0
"""What the driver may add at the 99th percentile."""


@contextmanager
def echo() -> Iterator[tuple[str, int]]:
    """Run the server and give its address and process."""
    server = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "servers" / "echo.py")],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}/v1", server.pid
    finally:
        server.kill()
        server.communicate()


async def stamps(
    url: str, gap_s: float, seconds: float, *, aligned: bool
) -> tuple[list[float], float]:
    """Return how late each stamp was [s], and the client's CPU seconds a message."""
    tokens = round(seconds / gap_s)
    extra = {"gap_s": gap_s, "aligned": aligned}
    async with Client(Endpoint(url, "echo", extra=extra)) as client:

        async def one(number: int) -> tuple[float, ...]:
            await asyncio.sleep(number * gap_s / STREAMS)
            reply = await client.complete(Ask((number,), tokens))
            assert reply.status == "finished", reply.reason
            return reply.token_s

        start_s = time.process_time()
        heard_s = await asyncio.gather(*(one(number) for number in range(STREAMS)))
        cpu_s = time.process_time() - start_s
        sent_s = (await client.get("/stamps", root=True)).json()
    late_s = [
        heard - sent
        for number, token_s in enumerate(heard_s)
        for heard, sent in zip(token_s, sent_s[str(number)], strict=True)
    ]
    return late_s, cpu_s / len(late_s)


@contextmanager
def apart(server: int) -> Iterator[None]:
    """Keep a server's process on one core and this one on the others."""
    cores = os.sched_getaffinity(0)
    own = min(cores)
    os.sched_setaffinity(server, {own})
    os.sched_setaffinity(0, cores - {own})
    try:
        yield
    finally:
        os.sched_setaffinity(server, cores)
        os.sched_setaffinity(0, cores)


def client(scale: int = 1) -> None:
    """Measure and print."""
    table = Table(
        title=f"how late the client's stamps are with {STREAMS} streams, and what a message costs"
    )
    names = ("cores", "streams", "each", "messages", "p50 ms", "p99 ms", "max ms", "CPU us", "")
    for name in names:
        table.add_column(name, justify="left" if name in ("cores", "streams") else "right")
    can_part = hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > 1
    with echo() as (url, server):
        for parted in (True, False) if can_part else (False,):
            for gap_s in GAPS_S:
                for aligned in (True, False):
                    with undisturbed(), apart(server) if parted else nullcontext():
                        late_s, cpu_s = asyncio.run(
                            stamps(url, gap_s, ROUND_S / scale, aligned=aligned)
                        )
                    late_ms = 1e3 * np.asarray(late_s)
                    p50, p99 = np.percentile(late_ms, (50, 99))
                    table.add_row(
                        "one each" if parted else "shared",
                        "aligned" if aligned else "staggered",
                        f"{1e3 * gap_s:g} ms",
                        f"{len(late_ms):,}",
                        *(f"{value:.2f}" for value in (p50, p99, late_ms.max())),
                        f"{1e6 * cpu_s:.0f}",
                        "" if p99 < MOST_LATE_MS else f"over {MOST_LATE_MS:g} ms",
                    )
    Console().print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the time")
    client(5 if parser.parse_args().quick else 1)


if __name__ == "__main__":
    main()
