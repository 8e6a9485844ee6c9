"""A few requests that belong together: what they ask, and sending them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from calibrate.endpoint.exchange import Ask, Progress, Reply
from calibrate.schema import integer, wrong

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from calibrate.endpoint.client import Client
    from calibrate.endpoint.server import Server

SETTLED_MESSAGES = 8
"""Tokens that every stream is given before a prompt is sent among them, and between two prompts:
the steps in between show what a step takes without one."""
GLANCE_S = 0.003


@dataclass(frozen=True)
class Session:
    """Some clients, each sending its next request when one finishes; and prompts sent among them.

    Parameters
    ----------
    level : int
        Clients.
    prompts : tuple of int
        Prompt tokens of each client's requests, one after the other.
    output_tokens : int
        Of each of them.
    inserts : tuple of int
        Prompt tokens of requests of one token that are sent, one after the other, while all
        clients' streams are being generated.
    round : int
        Sessions alike in all but this are repeats.
    """

    level: int
    prompts: tuple[int, ...]
    output_tokens: int
    inserts: tuple[int, ...] = ()
    round: int = 0

    def __post_init__(self) -> None:
        for name in ("level", "output_tokens"):
            integer(f"session.{name}", getattr(self, name), at_least=1)
        if not self.prompts or min((*self.prompts, *self.inserts)) < 1:
            raise wrong("session.prompts", self.prompts, "prompts of at least 1 token")

    @property
    def requests(self) -> int:
        """Requests that are sent at most."""
        return self.level * len(self.prompts) + len(self.inserts)

    @property
    def tokens(self) -> int:
        """Tokens of all prompts and answers together."""
        answers = self.level * len(self.prompts) * self.output_tokens + len(self.inserts)
        return self.level * sum(self.prompts) + sum(self.inserts) + answers


@dataclass(frozen=True)
class Exchange:
    """One request of a session and what became of it.

    Parameters
    ----------
    asked_tokens : int
        Prompt tokens asked for.
    reply : Reply
    inserted : bool
        Whether it is one of the session's `inserts`.
    """

    asked_tokens: int
    reply: Reply
    inserted: bool = False

    @property
    def prompt_tokens(self) -> int:
        """As the server counted them, or else as asked for."""
        return self.reply.prompt_tokens or self.asked_tokens


@dataclass
class Sent:
    """What was sent of a session so far; readable while it goes on."""

    requests: int = 0
    exchanges: list[Exchange] = field(default_factory=list)

    @property
    def first_failure(self) -> Reply | None:
        """The first reply that did not finish."""
        return next((e.reply for e in self.exchanges if e.reply.status != "finished"), None)


async def run_session(
    client: Client, server: Server, session: Session, rng: np.random.Generator, sent: Sent
) -> None:
    """Send the requests of a session; after one that does not finish no further is sent.

    Cancelling it gives up what is under way.

    Parameters
    ----------
    client : Client
        Of `server.endpoint`.
    server : Server
    session : Session
    rng : numpy.random.Generator
        For the prompts.
    sent : Sent
        Filled with the exchanges as they end.
    """

    def ask(prompt_tokens: int, output_tokens: int) -> Ask:
        return server.endpoint.prepared(Ask(server.prompt(prompt_tokens, rng), output_tokens))

    # Before the first is sent: writing a long prompt takes time that would be charged to others.
    streams = [
        [(p, ask(p, session.output_tokens)) for p in session.prompts] for _ in range(session.level)
    ]
    inserts = [(p, ask(p, 1)) for p in session.inserts]
    progress = [Progress() for _ in range(session.level)]

    async def complete(p: int, ask: Ask, at: Progress, inserted: bool = False) -> None:
        sent.requests += 1
        reply = await client.complete(ask, at)
        sent.exchanges.append(Exchange(p, reply, inserted))

    async def one_client(asks: Sequence[tuple[int, Ask]], at: Progress) -> None:
        for p, ask in asks:
            if sent.first_failure is None:
                await complete(p, ask, at)

    async with asyncio.TaskGroup() as group:
        running = [
            group.create_task(one_client(*each)) for each in zip(streams, progress, strict=True)
        ]
        for p, prepared in inserts:
            if not await _settled(running, progress) or sent.first_failure is not None:
                break
            await complete(p, prepared, Progress(), inserted=True)


async def _settled(running: Sequence[asyncio.Task[None]], progress: Sequence[Progress]) -> bool:
    """Wait until every stream has got some more tokens; False once one of them has ended."""
    goal = [each.messages + SETTLED_MESSAGES for each in progress]
    while not any(task.done() for task in running):
        if all(each.messages >= least for each, least in zip(progress, goal, strict=True)):
            return True
        await asyncio.sleep(GLANCE_S)
    return False
