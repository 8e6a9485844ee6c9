"""Several replays on one server, one after the other, until they are over or the user ends them."""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from calibrate.endpoint.client import Client
from calibrate.endpoint.server import look_at
from sim.setup import random_stream
from sim.validate.asks import plan_of
from sim.validate.driver import Driver
from sim.validate.lateness import undisturbed
from sim.validate.replay import decider_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from calibrate.endpoint.client import Endpoint
    from calibrate.endpoint.server import Server
    from policies.protocol import Policy
    from sim.validate.record import Replayed
    from sim.validate.replay import Setting
    from traces.request import Trace

PROMPT_STREAM, PROBE_STREAM, BOOTSTRAP_STREAM = range(100, 103)
"""Random streams beside those of a simulation."""

REST_S = 2.0
"""Between two replays: what was given up in the one leaves the engine before the other."""


@dataclass(frozen=True, eq=False)
class Job:
    """One replay to make.

    Attributes
    ----------
    place : int
        Which of the policies.
    repeat : int
        Which of the repeats.
    policy : Policy
        As it stands in front of the server.
    trace : Trace
        Begins at 0.
    seed : int
        Of the trace, the policy's choices and the prompts.
    """

    place: int
    repeat: int
    policy: Policy
    trace: Trace
    seed: int


@dataclass(frozen=True, eq=False)
class Done:
    """A replay that was made.

    Attributes
    ----------
    job : Job
    replayed : Replayed
    began : str
        When, as an ISO date and time in UTC.
    """

    job: Job
    replayed: Replayed
    began: str


def in_turn(policies: Sequence[Policy], traces: Sequence[Trace], seeds: Sequence[int]) -> list[Job]:
    """Return the replays in an order that does not favour a policy.

    Every policy sees the same arrivals in a repeat; every other repeat goes through the policies
    backwards, so that what drifts on the server weighs on all of them alike.
    """
    jobs = []
    for repeat, (trace, seed) in enumerate(zip(traces, seeds, strict=True)):
        places = range(len(policies))
        for place in places if repeat % 2 == 0 else reversed(places):
            jobs.append(Job(place, repeat, policies[place], trace, seed))
    return jobs


def look(endpoint: Endpoint, seed: int) -> Server:
    """Return what the server is; sends a few tiny completions.

    Raises
    ------
    ConnectionError, ProfileError
        In one line, when it cannot be used.
    """

    async def ask() -> Server:
        async with Client(endpoint) as client:
            return await look_at(client, random_stream(seed, PROBE_STREAM))

    return asyncio.run(ask())


def replay_all(
    jobs: Sequence[Job],
    setting: Setting,
    server: Server,
    *,
    drain_s: float,
    timeout_s: float,
    max_model_len: int | None,
    on_done: Callable[[int], None] = lambda done: None,
) -> tuple[list[Done], bool]:
    """Replay on the server, one after the other.

    Returns
    -------
    list of Done, bool
        The replays, the last of which may be partial; and whether the user ended them.  A replay
        that the server makes impossible ends those after it too.
    """
    # A request that waits in the server is silent: only the whole exchange has a limit.
    endpoint = replace(server.endpoint, silence_s=timeout_s, total_s=timeout_s)
    live = _Live(on_done)

    async def work() -> list[Done]:
        done: list[Done] = []
        async with Client(endpoint) as client:
            with live.interruptible():
                for number, job in enumerate(jobs):
                    if number:
                        await live.rest()
                    if live.interrupted:
                        break
                    plan = plan_of(
                        job.trace,
                        server,
                        random_stream(job.seed, PROMPT_STREAM, job.place),
                        drain_s=drain_s,
                        max_model_len=max_model_len,
                    )
                    decider = decider_of(job.policy, setting, job.trace, job.seed)
                    driver = Driver(plan, decider, client, on_done=live.counted)
                    began = datetime.now(UTC).isoformat(timespec="seconds")
                    done.append(Done(job, await live.drive(driver), began))
                    if done[-1].replayed.ending == "stopped":
                        break
        return done

    return asyncio.run(work()), live.interrupted


class _Live:
    """What the user can end, at any time."""

    def __init__(self, on_done: Callable[[int], None]) -> None:
        self.interrupted = False
        self._on_done = on_done
        self._before = 0
        self._driver: Driver | None = None
        self._stir = asyncio.Event()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let the first Ctrl-C inside end the replay; a second one ends everything."""
        loop = asyncio.get_running_loop()
        before = signal.getsignal(signal.SIGINT)
        try:
            loop.add_signal_handler(signal.SIGINT, self._interrupt, before)
        except (NotImplementedError, RuntimeError, ValueError):  # no signals here, or not for us
            yield
            return
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGINT)
            signal.signal(signal.SIGINT, before)

    def _interrupt(self, before: object) -> None:
        self.interrupted = True
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, before)  # type: ignore[arg-type]  # as getsignal gave it
        self._stir.set()
        if self._driver is not None:
            self._driver.interrupt()

    async def drive(self, driver: Driver) -> Replayed:
        """Return what became of a replay, timed as well as this process can."""
        self._driver = driver
        try:
            with undisturbed():
                replayed = await driver.replay()
        finally:
            self._driver = None
        self._before += len(replayed.records)
        return replayed

    def counted(self, done: int) -> None:
        """Tell how many requests are over in all replays."""
        self._on_done(self._before + done)

    async def rest(self) -> None:
        """Wait a little, or until the user ends it."""
        timer = asyncio.get_running_loop().call_later(REST_S, self._stir.set)
        await self._stir.wait()
        timer.cancel()
        if not self.interrupted:
            self._stir.clear()
