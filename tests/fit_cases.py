"""Grids of measured steps made from a known cost, for tests of the fit."""

from __future__ import annotations

import numpy as np

from calibrate.predict import predict_s
from calibrate.steps import Measurement, Step
from calibrate.steptime import PiecewiseLinear, StepCost

BATCHES = (1, 2, 4, 8, 16, 32)
CONTEXTS = (64, 512, 2048, 8192)
PROMPTS = (1, 16, 64, 128, 256, 512, 1024, 2048)
DECODES = tuple(Step(b, c) for b in BATCHES for c in CONTEXTS)
PREFILLS = tuple(Step(prompt_tokens=p) for p in PROMPTS)
CHUNKS = tuple(
    Step(prompt_tokens=p, past_tokens=past)
    for p in (64, 512, 1024)
    for past in (256, 1024, 4096, 8192)
)
MIXED = tuple(Step(b, 1024, prompt_tokens=p) for b in (1, 4, 16, 32) for p in (32, 256, 1024))
GRID = (*DECODES, *PREFILLS, *CHUNKS, *MIXED)

# Every value rises by far more than a percent from knot to knot.
CURVED = StepCost(
    PiecewiseLinear(tuple(map(float, BATCHES)), (0.005, 0.0052, 0.0056, 0.0065, 0.009, 0.014)),
    PiecewiseLinear(
        tuple(map(float, BATCHES)), (8e-8, 5e-8, 4e-8, 3.6e-8, 3.3e-8, 3.2e-8)
    ),
    PiecewiseLinear(
        tuple(map(float, PROMPTS)), (0.005, 0.0055, 0.007, 0.009, 0.014, 0.024, 0.045, 0.088)
    ),
    1.5e-9,
)  # fmt: skip
# Straight between any rows that are left out.
STRAIGHT = StepCost.affine(
    decode_s=0.005,
    sequence_s=1e-4,
    context_token_s=3e-8,
    prefill_s=0.004,
    prompt_token_s=4e-5,
    attention_token2_s=1.5e-9,
)


def measured(cost, steps=GRID, *, noise=0.0, repeats=15, seed=0):
    """Return measurements that scatter around `cost` by `noise`, a relative deviation."""
    rng = np.random.default_rng(seed)
    return [
        Measurement(
            step,
            tuple((predict_s(cost, step) * np.exp(noise * rng.standard_normal(repeats))).tolist()),
        )
        for step in steps
    ]
