"""What to ask a server for, all of it prepared before any time is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from calibrate.endpoint.exchange import Ask
from policies.protocol import PS_PER_S
from sim.intake import instants, pending
from sim.validate.flights import Plan

if TYPE_CHECKING:
    import numpy as np

    from calibrate.endpoint.client import Endpoint
    from traces.request import Trace


class Asked(Protocol):
    """As much of a `calibrate.endpoint.server.Server` as is needed to ask it."""

    @property
    def endpoint(self) -> Endpoint:
        """Where it is and how it wants to be asked."""
        ...

    def prompt(self, tokens: int, rng: np.random.Generator) -> tuple[int, ...] | str:
        """Return a prompt like no other of so many tokens."""
        ...


def from_zero(trace: Trace) -> Trace:
    """Return the trace with its first arrival at 0."""
    return trace.replace(arrival_s=trace.arrival_s - trace.arrival_s[0])


def too_long(trace: Trace, max_model_len: int | None) -> dict[int, str]:
    """Return the requests that the server's model cannot take, with the reason."""
    if max_model_len is None:
        return {}
    length = trace.prompt_tokens + trace.output_tokens
    return {
        id: f"not sent: has {tokens} tokens, the server's max_model_len is {max_model_len}"
        for id, tokens in enumerate(length.tolist())
        if tokens > max_model_len
    }


def plan_of(
    trace: Trace,
    server: Asked,
    rng: np.random.Generator,
    *,
    drain_s: float,
    max_model_len: int | None = None,
) -> Plan:
    """Return a replay of a trace that begins at 0, its prompts drawn and its bodies written.

    Parameters
    ----------
    trace : Trace
        Each request is asked for as many tokens as the trace says it generates.
    server : Asked
    rng : numpy.random.Generator
        Draws the prompts: of their own for every replay, so that no cache helps.
    drain_s : float
        So long after the last arrival it ends in any case [s].
    max_model_len : int or None
        Longer requests are not sent.
    """
    arrival_ps, sla_ps = instants(trace)
    requests = list(pending(trace, arrival_ps, sla_ps))
    refusals = too_long(trace, max_model_len)
    asks = []
    for request, output_tokens in zip(requests, trace.output_tokens.tolist(), strict=True):
        tokens = 1 if request.id in refusals else request.prompt_tokens
        ask = Ask(server.prompt(tokens, rng), output_tokens)
        asks.append(server.endpoint.prepared(ask))
    return Plan(requests, asks, refusals, drain_s)


def latest_s(trace: Trace, drain_s: float) -> float:
    """Return when a replay of a trace that begins at 0 ends at the latest [s]."""
    arrival_ps, _ = instants(trace)
    return (int(arrival_ps[-1]) + round(drain_s * PS_PER_S)) / PS_PER_S
