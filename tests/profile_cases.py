"""Profiles whose truth is known: measured steps, floors and intervals made from a given cost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from calibrate.predict import predict_s
from calibrate.profile import FitError, Profile
from calibrate.quality import coefficients
from calibrate.steps import Measurement, Step
from calibrate.steptime import PiecewiseLinear, StepCost

TRUE = StepCost(
    decode_fixed=PiecewiseLinear((1.0, 16.0, 64.0, 256.0), (6e-3, 6.3e-3, 7.5e-3, 13e-3)),
    decode_context=PiecewiseLinear((1.0, 256.0), (2.2e-8, 2e-8)),
    prefill=PiecewiseLinear((0.0, 16.0, 128.0, 8192.0), (5.5e-3, 6e-3, 7e-3, 0.31)),
    attention_token2_s=4e-10,
    engine_overhead_s=None,
)
TOO_LARGE = (Step(batch=256, context_tokens=8192), Step(batch=128, context_tokens=16384))


def steps() -> list[Step]:
    """Return a small grid with steps of every kind."""
    batches, contexts = (1, 2, 4, 8, 16, 32, 64, 128, 256), (128, 1024, 4096, 8192)
    found = [Step(b, c) for b in batches for c in contexts if Step(b, c) not in TOO_LARGE]
    found += [Step(0, 0, tokens) for tokens in (16, 64, 128, 256, 512, 1024, 2048, 4096, 8192)]
    found += [Step(0, 0, p, past) for p in (128, 512, 2048) for past in (1024, 8192)]
    found += [Step(b, 1024, p, 1024) for b in (4, 32) for p in (128, 512, 2048)]
    return found


def profile_with_raw(
    name: str = "synthetic", *, scale: float = 1.0, noise: float = 0.02, seed: int = 0
) -> Profile:
    """Return a profile as a measurement would give it, `scale` times as slow as `TRUE`.

    Its repeats scatter by `noise` around the truth, its floors are 0.8 of it, and its cost is the
    truth itself, so that errors against the raw points are the noise; its intervals reach 3 %
    down and 5 % up.
    """
    rng = np.random.default_rng(seed)
    measurements = []
    for step in steps():
        true_s = scale * predict_s(TRUE, step)
        samples_s = true_s * (1 + noise * (rng.normal() + rng.normal(size=9) / 2))
        measurements.append(Measurement(step, tuple(samples_s.tolist()), floor_s=0.8 * true_s))
    measurements += [Measurement(step, problem="out of memory") for step in TOO_LARGE]
    cost = scaled(TRUE, scale)
    return Profile(
        name=name,
        method="torch",
        cost=cost,
        kv_tokens=200_000,
        kv_source="measured free memory",
        discipline="chunked",
        date="2026-01-31",
        model={
            "name": "qwen2.5-coder-3b",
            "dtype": "bf16",
            "weight_bytes": 6_000_000_000,
            "kv_bytes_per_token": 40_000,
        },
        device={
            "name": "Some GPU",
            "memory_bytes": 24_000_000_000,
            "activation_reserve_bytes": 1_000_000_000,
            "copy_bytes_per_s": 1.5e12,
            "matmul_flop_per_s": 3e14,
            "launch_s": 4e-6,
        },
        fit={"held_out": {"decode": FitError(1.5, 3.5, 4.5)}},
        measured_batch=(1, 256),
        measured_prefill_tokens=(16, 8192),
        measured_context_tokens=(128, 8192),
        intervals={
            table: tuple((0.97 * value, 1.05 * value) for value in values)
            for table, values in coefficients(cost).items()
        },
        raw=tuple(measurement.to_raw() for measurement in measurements),
    )


def scaled(cost: StepCost, factor: float) -> StepCost:
    """Return the cost with every step `factor` times as slow."""

    def table(one: PiecewiseLinear) -> PiecewiseLinear:
        return PiecewiseLinear(one.x, tuple(factor * y for y in one.y))

    return replace(
        cost,
        decode_fixed=table(cost.decode_fixed),
        decode_context=table(cost.decode_context),
        prefill=table(cost.prefill),
        attention_token2_s=factor * cost.attention_token2_s,
    )
