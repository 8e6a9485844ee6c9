"""Whether a run can answer anything: goals no request can reach, requests no engine can hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from calibrate.unloaded import unloaded_s
from sim.intake import refusals_of
from sim.options import OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from calibrate.profile import Profile
    from sim.options import EngineLimits, RunOptions
    from traces.request import Trace, UnloadedLatency


@dataclass(frozen=True)
class Unloaded:
    """How long a request takes alone on the engine of this run; SLA expressions ask for it."""

    profile: Profile
    options: RunOptions

    def unloaded_s(
        self, prompt_tokens: NDArray[np.int64], output_tokens: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return seconds from arrival to last token."""
        profile, options = self.profile, self.options
        overhead_s = options.client_overhead_s
        return unloaded_s(
            profile.cost,
            options.discipline or profile.discipline,
            prompt_tokens,
            output_tokens,
            options.max_num_batched_tokens,
            profile.client_overhead_s if overhead_s is None else overhead_s,
        )


def refuse_hopeless_goals(
    trace: Trace,
    engines: Sequence[UnloadedLatency],
    goodput_ms: Mapping[str, float] | None = None,
) -> None:
    """Raise OptionError when no request could end in time even alone on the fastest idle engine.

    In time is within its SLA or, as goodput limits replace SLAs, within their ``e2el``.  Without
    either, nothing is refused.
    """
    if goodput_ms is None:
        goal, limit_s = "SLA", trace.sla_s
        remedy = 'give a longer SLA, for example --sla "unloaded*3", or a faster profile'
    else:
        goal, limit_s = "e2el limit", np.full(len(trace), goodput_ms.get("e2el", np.nan) / 1e3)
        remedy = "give a longer limit or a faster profile"
    rows = np.flatnonzero(np.isfinite(limit_s))
    if not rows.size:
        return
    limit_s = limit_s[rows]
    lengths = trace.prompt_tokens[rows], trace.output_tokens[rows]
    alone_s = np.min([engine.unloaded_s(*lengths) for engine in engines], axis=0)
    ratio = alone_s / limit_s
    if ratio.min() <= 1:
        return
    best = int(ratio.argmin())
    raise OptionError(
        f"no request can meet its {goal}: alone on an idle engine the best one takes "
        f"{alone_s[best]:.4g} s, {ratio[best]:.3g} times its {goal} of {limit_s[best]:.4g} s; "
        f"{remedy}"
    )


def refuse_oversized(trace: Trace, limits: EngineLimits, max_model_len: int | None = None) -> None:
    """Raise OptionError for a request that can never fit the KV cache.

    Requests longer than `max_model_len` never reach the cache and pass.
    """
    oversized = refusals_of(trace, limits, max_model_len=None)
    if max_model_len is not None:
        oversized = {i: why for i, why in oversized.items() if _length(trace, i) <= max_model_len}
    if not oversized:
        return
    first, reason = next(iter(oversized.items()))
    raise OptionError(
        f"{len(oversized)} of {len(trace)} requests can never fit the KV cache: request {first} "
        f"with {trace.prompt_tokens[first]} prompt and {trace.output_tokens[first]} output tokens "
        f"{reason}; raise --kv-tokens, or count such requests as refused with --allow-refused"
    )


def _length(trace: Trace, request: int) -> int:
    return int(trace.prompt_tokens[request] + trace.output_tokens[request])
