"""The requests of a trace as the simulator takes them: whole picoseconds, no output lengths."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING

import numpy as np

from policies.protocol import NEVER_PS, PS_PER_S, Pending
from sim.options import LONGEST_S, OptionError
from traces.prefix import first_block

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from sim.options import EngineLimits
    from traces.request import Trace


def instants(trace: Trace) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return arrivals and SLAs [ps], -1 for no SLA.

    Raises
    ------
    OptionError
        For a trace without requests, or times beyond the clock's range.
    """
    if not len(trace):
        raise OptionError("the trace has no requests: expected at least one")
    for name, seconds in (("arrival_s", trace.arrival_s), ("sla_s", trace.sla_s)):
        longest = float(np.nanmax(seconds, initial=0.0))
        if longest >= LONGEST_S:
            raise OptionError(
                f"{name} reaches {longest:g} s: expected less than {LONGEST_S:g} s (the clock "
                "counts picoseconds); take a window of the trace"
            )
    arrival_ps = np.rint(trace.arrival_s * PS_PER_S).astype(np.int64)
    sla_ps = np.where(np.isnan(trace.sla_s), -1, np.rint(trace.sla_s * PS_PER_S))
    return arrival_ps, sla_ps.astype(np.int64)


def pending(
    trace: Trace, arrival_ps: NDArray[np.int64], sla_ps: NDArray[np.int64], first_id: int = 0
) -> Iterator[Pending]:
    """Yield the requests as policies may know them, in order of arrival."""
    never = (sla_ps < 0) | (sla_ps > NEVER_PS - arrival_ps)
    deadline_ps = np.where(never, NEVER_PS, arrival_ps + sla_ps)
    return map(
        Pending,
        range(first_id, first_id + len(trace)),
        arrival_ps.tolist(),
        deadline_ps.tolist(),
        trace.prompt_tokens.tolist(),
        trace.max_tokens.tolist(),
        _labels(trace.task_code, trace.tasks),
        _labels(trace.tenant_code, trace.tenants),
        _labels(trace.session_code, trace.sessions),
        repeat(-1) if trace.hash_ids is None else first_block(trace.hash_ids).tolist(),
    )


@dataclass
class MeanContext:
    """The mean context of a sequence over the decode steps of a trace, from its parts.

    A step with g tokens generated before it has a context of prompt + g tokens.  The sums are whole
    numbers, so that it does not matter how the trace is cut.
    """

    requests: int = 0
    prompt_tokens: int = 0
    steps: int = 0
    twice_context: int = 0

    def add(self, trace: Trace) -> None:
        """Take in a part of the trace."""
        steps = trace.output_tokens - 1
        self.requests += len(trace)
        self.prompt_tokens += _dot(trace.prompt_tokens, np.ones_like(steps))
        self.steps += _dot(steps, np.ones_like(steps))
        self.twice_context += _dot(steps, 2 * trace.prompt_tokens + trace.output_tokens)

    @property
    def tokens(self) -> float:
        """The mean over the steps; without any, that of the prompts."""
        if not self.steps:
            return self.prompt_tokens / self.requests
        return self.twice_context / (2 * self.steps)


def mean_context_tokens(trace: Trace) -> float:
    """Return the mean context of a sequence over the decode steps of a trace."""
    mean = MeanContext()
    mean.add(trace)
    return mean.tokens


def _dot(a: NDArray[np.int64], b: NDArray[np.int64]) -> int:
    """Return the sum of products, whatever its size."""
    if int(a.max(initial=0)) * int(b.max(initial=0)) * len(a) < NEVER_PS:
        return int(a @ b)
    return sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))


def refusals_of(
    trace: Trace, limits: EngineLimits, max_model_len: int | None, first_id: int = 0
) -> dict[int, str]:
    """Return the requests that an engine can never serve, each with the reason.

    `first_id` is the id of the first request of the trace.
    """
    size = limits.block_size
    peak = -(-(trace.prompt_tokens + trace.output_tokens - 1) // size)
    available = limits.blocks - limits.watermark
    reasons = {
        first_id + int(i): f"needs {peak[i]} KV blocks of {size} tokens, "
        f"the cache has {available} to give"
        for i in np.flatnonzero(peak > available)
    }
    if max_model_len is not None:
        length = trace.prompt_tokens + trace.output_tokens
        for i in np.flatnonzero(length > max_model_len):
            reasons[first_id + int(i)] = f"has {length[i]} tokens, max_model_len is {max_model_len}"
    return reasons


def _labels(codes: NDArray[np.int32], names: tuple[str, ...]) -> Iterable[str]:
    # Code -1, no label, picks the last name.
    return map((*names, "").__getitem__, codes.tolist()) if names else repeat("")
