"""What a replay asks of a server, and what can be seen of it from outside meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from policies.protocol import Running

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence

    from calibrate.endpoint.exchange import Ask, Progress, Reply
    from policies.protocol import Pending
    from sim.validate.record import Record


class Exchanges(Protocol):
    """What completions are asked of: `calibrate.endpoint.client.Client`, or a stand-in."""

    async def complete(self, ask: Ask, progress: Progress | None = None) -> Reply:
        """Return what became of a completion; raises nothing but the task's cancellation."""
        ...


@dataclass(frozen=True, eq=False)
class Plan:
    """What to replay.

    Attributes
    ----------
    requests : sequence of Pending
        In order of arrival [ps since the start], by id from 0.
    asks : sequence of Ask
        What to ask the server for, by id.
    refusals : mapping of int to str
        Requests that are not even shown to the policy, with the reason.
    drain_s : float
        So long after the last arrival it ends in any case [s].
    """

    requests: Sequence[Pending]
    asks: Sequence[Ask]
    refusals: Mapping[int, str]
    drain_s: float


@dataclass(slots=True)
class Flight:
    """A request that was released and is not over."""

    request: Pending
    ask: Ask
    progress: Progress
    task: asyncio.Task[None]


class LiveEngine:
    """What a view may look at: as much of the server's state as can be seen from outside.

    Who has its first token holds a seat; who has not is taken for waiting.
    """

    def __init__(self, flights: Mapping[int, Flight], records: Sequence[Record]) -> None:
        self._flights = flights
        self._records = records

    def running(self, now_ps: int) -> tuple[Running, ...]:
        """Return who was answered so far, in the order of release, with the messages that came."""
        return tuple(
            Running(id, flight.request.prompt_tokens, flight.progress.messages)
            for id, flight in self._flights.items()
            if flight.progress.first_s is not None
        )

    def waiting_ids(self) -> tuple[int, ...]:
        """Return who was released and has no answer yet, in the order of release."""
        return tuple(id for id, f in self._flights.items() if f.progress.first_s is None)

    def output_tokens(self, request: int) -> int:
        """Return how many tokens came in the answer of one that has finished."""
        reply = self._records[request].reply
        if reply is None:
            raise ValueError(f"request {request} has no answer yet")
        return reply.output_tokens
