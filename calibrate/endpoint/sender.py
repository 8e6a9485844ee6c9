"""Sends sessions within what was agreed, and gives a server time that asks for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from calibrate.endpoint.findings import Seen
from calibrate.endpoint.session import Sent, run_session

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from calibrate.endpoint.client import Client
    from calibrate.endpoint.exchange import Reply
    from calibrate.endpoint.kept import Kept
    from calibrate.endpoint.server import Server
    from calibrate.endpoint.session import Session

MOST_FAILURES = 3
"""Sessions in a row that may fail."""
LONGEST_WAIT_S = 60.0
NOT_TO_BE_HAD = range(400, 500)
"""Statuses that the same request would meet again."""


class Stopped(Exception):
    """Nothing more is sent; the message says why, in one line."""


@dataclass
class Sender:
    """Sends sessions, keeps them, and stops at what was agreed.

    Parameters
    ----------
    client : Client
    server : Server
    kept : Kept
    rng : numpy.random.Generator
    max_requests : int
        What `kept.requests` may come to.
    deadline_s : float
        When to stop, on the event loop's clock.
    say : callable
        Given a line on each wait, and on each session given up.
    """

    client: Client
    server: Server
    kept: Kept
    rng: np.random.Generator
    max_requests: int
    deadline_s: float
    say: Callable[[str], None]
    failures: int = field(default=0, init=False)
    refused_level: int | None = field(default=None, init=False)

    @property
    def requests_left(self) -> int:
        """Requests that may still be sent."""
        return self.max_requests - self.kept.requests

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline, 0 after it."""
        return max(self.deadline_s - asyncio.get_running_loop().time(), 0.0)

    async def send(self, session: Session) -> Seen | None:
        """Return what a session showed, sent now or in an earlier run; None where it is skipped.

        Raises
        ------
        Stopped
            When the requests or the time agreed to are spent, or the server keeps failing.
        """
        if session in self.kept.sessions:
            return Seen.of(session, self.kept.sessions[session])
        waits = 0
        while True:
            if session in self.kept.skipped:
                return None
            if self.refused_level is not None and session.level >= self.refused_level:
                return None
            failure = await self._try(session)
            if failure is None:
                self.failures = 0
                return Seen.of(session, self.kept.sessions[session])
            if failure.status == "refused":
                waits += 1
                await self._refused(session, failure, waits)
            else:
                await self._failed(session, failure)

    async def _try(self, session: Session) -> Reply | None:
        """Send a session once; return its first reply that did not finish."""
        if session.requests > self.requests_left:
            raise Stopped(f"the {self.max_requests:,} requests agreed to are spent")
        sent = Sent()
        self.kept.begin(session.requests)
        try:
            async with asyncio.timeout_at(self.deadline_s):
                await run_session(self.client, self.server, session, self.rng, sent)
        except TimeoutError:
            raise Stopped("the time agreed to is over") from None
        finally:
            self.kept.end(session, sent)
        return sent.first_failure

    async def _refused(self, session: Session, failure: Reply, waits: int) -> None:
        if waits < MOST_FAILURES:
            wished_s = 2.0**waits if failure.retry_after_s is None else failure.retry_after_s
            await self._wait(wished_s, failure)
        elif session.level > 2:
            self.refused_level = session.level
            self.say(
                f"{session.level} requests at once are turned away ({failure.reason}): going on "
                "with fewer"
            )
        else:
            raise Stopped(f"the server keeps turning requests away: {failure.reason}")

    async def _failed(self, session: Session, failure: Reply) -> None:
        self.failures += 1
        if self.failures == MOST_FAILURES:
            raise Stopped(
                f"{MOST_FAILURES} sessions in a row failed, the last with: {failure.reason}"
            )
        if failure.http_status in NOT_TO_BE_HAD:
            self.kept.skip(session, failure.reason)
            self.say(f"a session is left out: {failure.reason}")
        else:
            await self._wait(2.0**self.failures, failure)

    async def _wait(self, wished_s: float, failure: Reply) -> None:
        seconds = min(wished_s, LONGEST_WAIT_S)
        if seconds >= self.seconds_left:
            raise Stopped(f"the time agreed to would be over before another try: {failure.reason}")
        self.say(f"waiting {seconds:g} s: {failure.reason}")
        await asyncio.sleep(seconds)
