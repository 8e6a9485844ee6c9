"""From measurements of a model on a device to a profile."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

from calibrate.fit import fit_cost, fit_warnings
from calibrate.kv import DEFAULT_UTILIZATION, kv_tokens
from calibrate.measure import Memory, drift
from calibrate.profile import Profile
from calibrate.work import Hardware, floor_s

if TYPE_CHECKING:
    from collections.abc import Sequence

    from calibrate.architectures import Architecture
    from calibrate.gpu_options import GpuOptions
    from calibrate.partial import Partial
    from calibrate.steps import Measurement, Step

_FITTED = (
    "fitted to the raw points by non-negative least squares on relative errors; intervals from a "
    "bootstrap over the repeats"
)


def measured_profile(
    options: GpuOptions,
    model: Architecture,
    dtype: str,
    steps: Sequence[Step],
    kept: Partial,
) -> Profile:
    """Return the profile that the measurements in `kept` give.

    Raises
    ------
    ProfileError
        When too few steps were measured for a fit, or no KV cache fits beside the weights.
    """
    hardware = Hardware(**kept.facts["hardware"])
    measurements = [
        replace(m, floor_s=floor_s(model, dtype, m.step, hardware))
        for m in kept.measurements(steps)
    ]
    fit = fit_cost(
        measurements,
        engine_overhead_s=options.engine_overhead_s,
        engine_overhead_request_s=options.engine_overhead_request_s or 0.0,
        rng=np.random.default_rng(options.seed),
    )
    memory = Memory(**kept.facts["memory"])
    capacity, kv_source = kv_capacity(options, model, dtype, memory)
    device = dict(kept.facts["device"])
    timed = [m for m in measurements if not m.problem]
    return Profile(
        name=f"{model.name}-{_slug(str(device['name']))}-{dtype}",
        method="torch",
        date=date.today().isoformat(),
        model=model.to_dict(dtype),
        device={
            **device,
            "free_bytes_with_weights": memory.free_bytes,
            "activation_reserve_bytes": memory.reserve_bytes,
            "copy_bytes_per_s": hardware.bytes_per_s,
            "matmul_flop_per_s": hardware.flop_per_s,
            "launch_s": hardware.launch_s,
        },
        software=kept.facts["software"],
        provenance={
            **_provenance(options, steps, kept, timed),
            "held_out_rows": fit.held_out_rows,
            "held_out": "errors of a fit to the other rows; the coefficients are of a fit to all",
            "warnings": fit_warnings(fit),
        },
        sources=_sources(options),
        discipline="chunked",
        kv_tokens=capacity,
        kv_source=kv_source,
        cost=fit.cost,
        fit={"held_out": fit.held_out, "in_sample": fit.in_sample},
        intervals=fit.intervals,
        raw=tuple(m.to_raw() for m in measurements),
        **ranges_of(timed),
    )


def kv_capacity(
    options: GpuOptions, model: Architecture, dtype: str, memory: Memory
) -> tuple[int, str]:
    """Return the tokens the KV cache holds, and how that was found.

    Raises
    ------
    ProfileError
        When not one token fits beside the weights.
    """
    token_bytes = model.kv_bytes_per_token(dtype)
    free, reserve = memory.free_bytes, memory.reserve_bytes
    if options.device == "cpu":
        return free // 2 // token_bytes, (
            f"half of the {free / 1e9:.1f} GB of memory that were available with the weights "
            f"loaded, over {token_bytes} bytes a token"
        )
    share = options.gpu_memory_utilization or DEFAULT_UTILIZATION
    weights = model.weight_bytes(dtype)
    sizes = (memory.total_bytes, share, weights, reserve, token_bytes)
    capacity = kv_tokens(*sizes, free)
    return capacity, (
        f"{memory.total_bytes / 1e9:.2f} GB x {share:g} less {weights / 1e9:.2f} GB of weights and "
        f"{reserve / 1e9:.2f} GB of activations (measured) give {kv_tokens(*sizes)} tokens of "
        f"{token_bytes} bytes; with the {free / 1e9:.2f} GB measured free beside the weights in "
        f"place of them, at most {capacity}"
    )


def ranges_of(timed: Sequence[Measurement]) -> dict[str, Any]:
    """Return the ranges that timed steps cover, as a profile's fields."""
    batches = [m.step.batch for m in timed if m.step.batch]
    prompts = [m.step.prompt_tokens for m in timed if m.step.prompt_tokens]
    contexts = [
        max(m.step.context_tokens, m.step.past_tokens + m.step.prompt_tokens) for m in timed
    ]
    return {
        "measured_batch": (min(batches), max(batches)),
        "measured_prefill_tokens": (min(prompts), max(prompts)),
        "measured_context_tokens": (min(contexts), max(contexts)),
    }


def _provenance(
    options: GpuOptions,
    steps: Sequence[Step],
    kept: Partial,
    timed: Sequence[Measurement],
) -> dict[str, Any]:
    slower = drift(kept, steps)
    return {
        "measured_by": "saber calibrate gpu" + (" --quick" if options.quick else ""),
        "weights": "random: time depends on shapes, not on values",
        "grid": f"{len(timed)} of {len(steps)} steps measured",
        "drift": None if slower is None else round(slower, 4),
        "seed": options.seed,
    }


def _sources(options: GpuOptions) -> dict[str, str]:
    sources = {
        f"cost.{name}": _FITTED
        for name in (
            "decode.step_s",
            "decode.context_token_s",
            "prefill.step_s",
            "prefill.attention_token2_s",
        )
    }
    sources["engine_overhead_s"] = options.engine_overhead_source or (
        "unknown: only the model's kernels and the sampling were timed"
    )
    return sources


def _slug(name: str) -> str:
    """Return a device's name in the letters of a file name."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")
