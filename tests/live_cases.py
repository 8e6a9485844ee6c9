"""Replays without a network: exchanges with an engine of known cost, or as a script says.

They run on an event loop whose time is virtual: what is computed takes no time, and a wait is over
at once and to the instant.
"""

import asyncio
import selectors
from dataclasses import dataclass, field, replace

import numpy as np
from servers.engine import Engine

from calibrate import load_profile
from calibrate.endpoint.client import Endpoint
from calibrate.endpoint.exchange import Reply
from calibrate.endpoint.server import Server
from sim.options import RunOptions
from sim.validate.asks import plan_of
from sim.validate.driver import Driver
from sim.validate.replay import Setting, decider_of, in_front

PROFILE = replace(load_profile("paper-qwen2.5-coder-3b"), client_overhead_s=0.0)
SERVER = Server(
    endpoint=Endpoint("http://host:8000/v1", "m"),
    takes_ids=True,
    vocabulary=(0, 9),
    tokens_per_word=1.0,
    tokens_fixed=0,
    keeps_length=True,
    counts_tokens="at the end",
    engine="",
    version="",
    max_model_len=None,
    kv_tokens=None,
    block_size=None,
    metrics=False,
    requests=1,
)
SETTLING = 12
"""Rounds of the loop that a client needs at most to react to the end of a step."""


class _Selector(selectors.SelectSelector):
    """Lets the time that would be waited pass at once."""

    def __init__(self):
        super().__init__()
        self.now_s = 1000.0

    def select(self, timeout=None):
        events = super().select(0)
        if not events:
            if timeout is None:
                raise RuntimeError("everything waits, and nothing will ever happen")
            self.now_s += max(timeout, 0)
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time."""

    def __init__(self):
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self):
        return self._virtual.now_s


def virtually(coroutine):
    """Run a coroutine on virtual time and return its result."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(coroutine)
    finally:
        loop.close()


@dataclass
class Asking:
    """Stands in for a `calibrate.endpoint.server.Server`."""

    endpoint: Endpoint = field(default_factory=lambda: Endpoint("http://localhost:1/v1", "m"))

    def prompt(self, tokens, rng):
        return tuple(rng.integers(10**6, size=tokens).tolist())


class Served:
    """Exchanges with an engine whose steps take exactly what a cost says."""

    def __init__(self, cost=PROFILE.cost, *, up_s=0.0, down_s=0.0, **engine):
        self.engine = Engine(
            cost, **{"discipline": "prefill-first", "max_num_batched_tokens": 2048, **engine}
        )
        self.up_s, self.down_s = up_s, down_s
        self.token_s, self.over = {}, {}
        self.asked = []
        self.worker = None

    async def complete(self, ask, progress=None):
        clock = asyncio.get_running_loop().time
        self.asked.append(ask)
        sent_s = clock()
        await asyncio.sleep(self.up_s)
        sequence = self.engine.add(len(ask.prompt), ask.max_tokens)
        self.token_s[sequence.number] = times = []
        over = self.over[sequence.number] = asyncio.Event()
        if self.worker is None or self.worker.done():
            self.worker = asyncio.create_task(self._work())
        try:
            await over.wait()
        except asyncio.CancelledError:
            self.engine.drop(sequence)
            raise
        await asyncio.sleep(self.down_s)
        token_s = tuple(at_s + self.down_s for at_s in times)
        return Reply("finished", sent_s, token_s[-1], token_s, len(ask.prompt), counted=True)

    async def _work(self):
        clock = asyncio.get_running_loop().time
        while True:
            for _ in range(SETTLING):
                await asyncio.sleep(0)
            if not self.engine.busy:
                return
            seconds, given = self.engine.step()
            await asyncio.sleep(seconds)
            for sequence in given:
                self.token_s[sequence.number].append(clock())
                if sequence.generated == sequence.max_tokens:
                    self.over[sequence.number].set()


class Scripted:
    """Exchanges that end as the script says, by their number: a status, or seconds of service."""

    def __init__(self, script, service_s=0.5):
        self.script, self.service_s = script, service_s
        self.number = -1
        self.given_up = 0

    async def complete(self, ask, progress=None):
        clock = asyncio.get_running_loop().time
        self.number += 1
        fate = self.script(self.number)
        sent_s = clock()
        try:
            if fate == "raises":
                raise ValueError("a fault of ours")
            await asyncio.sleep(self.service_s / 2)
            if fate in ("finished", "never"):
                progress.first_s = clock()
            await asyncio.sleep(1e6 if fate == "never" else self.service_s / 2)
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        if fate == "finished":
            middle_s = sent_s + self.service_s / 2
            token_s = tuple(np.linspace(middle_s, clock(), ask.max_tokens).tolist())
            closed_s = clock() + 0.001  # the stream goes on a little after its last token
            return Reply(fate, sent_s, closed_s, token_s, len(ask.prompt), counted=True)
        token_s = (sent_s, clock()) if fate == "broken" else ()
        status = "failed" if fate == "broken" else fate
        return Reply(status, sent_s, clock(), token_s, reason=f"HTTP 429: {fate} on purpose")


def setting(**options):
    """Return what replays against `Served` have in common."""
    return Setting(PROFILE, RunOptions(**{"max_num_seqs": 256, **options}))


def driver_of(trace, policy, exchanges, setting, *, seed=0, drain_s=60.0, **limits):
    """Return a driver on the running loop's time."""
    plan = plan_of(trace, Asking(), np.random.default_rng(seed), drain_s=drain_s, **limits)
    decider = decider_of(policy, setting, trace, seed)
    return Driver(plan, decider, exchanges, clock=asyncio.get_running_loop().time)


def replayed(trace, policy, exchanges, setting_, **options):
    """Return what becomes of a trace, on virtual time."""

    async def replay():
        return await driver_of(trace, policy, exchanges, setting_, **options).replay()

    return virtually(replay())


def standing(policy, seats=256):
    """Return the policy as it stands in front of a server of so many seats."""
    return in_front(policy, seats)
