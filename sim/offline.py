"""SABER's offline phase, simulated: how fast one request is generated beside others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from policies.protocol import PS_PER_S
from policies.static import Static
from sim.ledger import FINISHED
from sim.options import OptionError
from sim.simulation import simulate
from traces.request import Trace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from calibrate.profile import Profile
    from calibrate.schema import Pairs

STUDY_LOADS = (*range(1, 11), 20, 30, 40, 50, 60)
"""The loads of the study: S. Chang et al., arXiv 2506.19677, replication package."""


def offline_speeds(
    profile: Profile,
    requests: Trace,
    loads: Sequence[int] = STUDY_LOADS,
    seed: int = 0,
    on_done: Callable[[int], None] = lambda done: None,
) -> Pairs:
    """Return (load, tokens/s) points of requests that run together on a simulated engine.

    For each load L, L of the requests drawn at random (each once before any is drawn again) start
    at one instant on an idle engine that runs them all together. Each gives a
    point, as in the study: its generated tokens over the time from its first to its last token,
    which includes the prefills of the others that come in between. Shorter ones leave earlier, so
    that the load is L at the start and falls from there. Requests of one token have no speed.

    Parameters
    ----------
    profile : Profile
    requests : Trace
        Where lengths are drawn from; arrival times do not matter.
    loads : sequence of int
        How many run together.
    seed : int
        Of the draw.
    on_done : callable
        Called with the number of loads that are done.

    Raises
    ------
    OptionError
        For a load below 1, requests that the KV cache can never hold, or none with two tokens.
    """
    rng = np.random.default_rng(seed)
    points: list[tuple[float, float]] = []
    for done, load in enumerate(loads, start=1):
        if load < 1:
            raise OptionError(f"load {load}: expected at least 1 request")
        rounds = -(-load // len(requests))
        chosen = np.concatenate([rng.permutation(len(requests)) for _ in range(rounds)])[:load]
        together = Trace.trusted(
            np.zeros(load), requests.prompt_tokens[chosen], requests.output_tokens[chosen]
        )
        points += [(float(load), speed) for speed in _speeds(profile, together, load)]
        on_done(done)
    if not points:
        raise OptionError("no request generates a second token: there is no speed to measure")
    return tuple(points)


def _speeds(profile: Profile, together: Trace, load: int) -> list[float]:
    columns = simulate(together, profile, policy=Static(load)).columns
    if (columns.status != FINISHED).any():
        raise OptionError(
            f"a request of load {load} never fits the KV cache of {profile.kv_tokens} tokens: "
            "take shorter requests, or a profile with a larger cache"
        )
    generating_ps = columns.e2e_ps - columns.ttft_ps
    has_speed = columns.output_tokens > 1
    tokens = columns.output_tokens[has_speed]
    return [round(float(speed), 4) for speed in tokens * PS_PER_S / generating_ps[has_speed]]


def apart_by_load(simulated: Pairs, measured: Pairs) -> dict[float, float]:
    """Return how far simulated speeds are from measured ones, for the loads that both have.

    By load: the mean simulated speed over the mean measured one, less 1.
    """
    ours, theirs = _means(simulated), _means(measured)
    return {load: ours[load] / theirs[load] - 1 for load in ours if load in theirs}


def _means(points: Pairs) -> dict[float, float]:
    by_load: dict[float, list[float]] = {}
    for load, speed in points:
        by_load.setdefault(load, []).append(speed)
    return {load: float(np.mean(speeds)) for load, speeds in sorted(by_load.items())}
