"""Pairs of runs whose true difference is known: the same policy, and losses that are planted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from calibrate.library import load_profile
from calibrate.steptime import PiecewiseLinear
from policies.saber import Saber
from sim.simulation import simulate
from traces.workloads import workload

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from calibrate.profile import Profile
    from policies.protocol import Choice, Decider, Policy, View

    Values = NDArray[np.float64]

PROFILE = "paper-qwen2.5-coder-3b"


@dataclass(frozen=True)
class Refusing:
    """SABER, but a share of what it would release on arrival is refused instead."""

    share: float

    @property
    def label(self) -> str:
        return f"refusing({self.share})"

    def start(self, rng: np.random.Generator, profile: Profile) -> Decider:
        return RefusingDecider(Saber().start(rng, profile), self.share, rng.spawn(1)[0])


@dataclass
class RefusingDecider:
    saber: Decider
    share: float
    rng: np.random.Generator

    def decide(self, view: View) -> Choice:
        choice = self.saber.decide(view)
        if view.arrived is None or view.arrived.id not in choice.release:
            return choice
        spoilt = view.arrived.id
        if self.rng.random() >= self.share:
            return choice
        return choice._replace(
            release=[each for each in choice.release if each != spoilt],
            refuse=[*choice.refuse, spoilt],
        )


def slower(by: float) -> Profile:
    """Return the profile with every step longer by a share."""
    profile = load_profile(PROFILE)

    def longer(table: PiecewiseLinear) -> PiecewiseLinear:
        return PiecewiseLinear(table.x, tuple((1 + by) * y for y in table.y))

    cost = profile.cost
    return replace(
        profile,
        cost=replace(
            cost,
            decode_fixed=longer(cost.decode_fixed),
            decode_context=longer(cost.decode_context),
            prefill=longer(cost.prefill),
            attention_token2_s=(1 + by) * cost.attention_token2_s,
        ),
    )


@cache
def goodput(seeds: range, policy: Policy | None = None, slower_by: float = 0.0) -> Values:
    """Return the goodput of SABER, or another policy, on W3 at 10 rps by seed [%]."""
    profile = slower(slower_by) if slower_by else load_profile(PROFILE)
    return np.array(
        [
            simulate(
                workload("W3", rps=10, n=100, seed=seed),
                profile,
                policy=policy or Saber(),
                seed=seed,
            ).summary()["goodput_pct"]
            for seed in seeds
        ]
    )


PLANTED: dict[str, Callable[[range], Values]] = {
    "every step 0.79 % longer": lambda seeds: goodput(seeds, Saber(), 0.0079),
    "SABER polls every 83 ms": lambda seeds: goodput(seeds, Saber(interval=0.083)),
    "a tenth refused, steps longer": lambda seeds: goodput(seeds, Refusing(0.1), 0.0256),
}
"""Losses of 3 points of goodput, from the one that shakes up a run least to the worst."""
