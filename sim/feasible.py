"""Whether a run can answer anything: goals no request can reach, requests no engine can hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from calibrate.unloaded import unloaded_s
from sim.options import OptionError
from sim.simulation import refusals_of

if TYPE_CHECKING:
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


def refuse_hopeless_slas(trace: Trace, engine: UnloadedLatency) -> None:
    """Raise OptionError when no request could meet its SLA even alone on an idle engine.

    A trace without SLAs passes.
    """
    has_sla = np.isfinite(trace.sla_s)
    if not has_sla.any():
        return
    sla_s = trace.sla_s[has_sla]
    unloaded_s = engine.unloaded_s(trace.prompt_tokens[has_sla], trace.output_tokens[has_sla])
    ratio = unloaded_s / sla_s
    if ratio.min() <= 1:
        return
    best = int(ratio.argmin())
    raise OptionError(
        f"no request can meet its SLA: alone on an idle engine the best one takes "
        f"{unloaded_s[best]:.4g} s, {ratio[best]:.3g} times its SLA of {sla_s[best]:.4g} s; "
        f'give a longer SLA, for example --sla "unloaded*3", or a faster profile'
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
