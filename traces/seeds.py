"""Random streams, one a purpose, from one seed."""

from __future__ import annotations

from typing import Literal

import numpy as np

from traces.errors import TraceError

Purpose = Literal["arrivals", "mix", "blocks", "tenants"]
_KEYS: dict[Purpose, int] = {"arrivals": 0, "mix": 1, "blocks": 2, "tenants": 3}


def stream(seed: int | np.random.SeedSequence, purpose: Purpose) -> np.random.Generator:
    """Return the generator of one purpose: what one purpose draws never shifts another.

    A `SeedSequence` is left as it was (its `spawn` would count), so equal calls give equal streams.
    """
    if not isinstance(seed, np.random.SeedSequence):
        if seed < 0:
            raise TraceError(f"seed is {seed}; expected a whole number >= 0")
        seed = np.random.SeedSequence(seed)
    key = (*seed.spawn_key, _KEYS[purpose])
    return np.random.default_rng(
        np.random.SeedSequence(seed.entropy, spawn_key=key, pool_size=seed.pool_size)
    )
