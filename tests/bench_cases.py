"""A bench without hardware: it says what a known cost says, with noise if asked to."""

from __future__ import annotations

import numpy as np

from calibrate.measure import Memory, OutOfMemory
from calibrate.predict import predict_s
from calibrate.steptime import PiecewiseLinear, StepCost
from calibrate.work import Hardware

COST = StepCost(
    PiecewiseLinear((1.0, 8.0, 64.0), (0.010, 0.011, 0.020)),
    PiecewiseLinear((1.0,), (2e-8,)),
    PiecewiseLinear((1.0, 64.0, 512.0, 2048.0), (0.010, 0.0105, 0.040, 0.150)),
    3e-10,
    None,
)


class CostBench:
    """A `calibrate.measure.Bench` whose steps take what `cost` says.

    `noise` is the relative standard deviation of a repeat, `fits` the tokens of KV cache there
    are. `calls` lists the steps prepared; `before` is called ahead of each.
    """

    def __init__(self, cost=COST, *, noise=0.0, fits=10**9, seed=0, before=lambda step: None):
        self.cost, self.noise, self.fits = cost, noise, fits
        self.rng = np.random.default_rng(seed)
        self.before = before
        self.calls = []
        self.closed = False

    def hardware(self):
        return Hardware(bytes_per_s=1e11, flop_per_s=1e13, launch_s=1e-6)

    def prepare(self, step):
        self.before(step)
        self.calls.append(step)
        if step.total_context_tokens + step.past_tokens + step.prompt_tokens > self.fits:
            raise OutOfMemory("no room")
        seconds = predict_s(self.cost, step)
        return lambda n: [seconds * max(0.1, 1 + self.noise * self.rng.normal()) for _ in range(n)]

    def memory(self, largest):
        return Memory(total_bytes=80 * 10**9, free_bytes=60 * 10**9, reserve_bytes=10**9)

    def device_facts(self):
        return {"name": "Bench 1", "count": 1, "memory_bytes": 80 * 10**9}

    def software_facts(self):
        return {"torch": "0"}

    def close(self):
        self.closed = True
