"""What imported runs say of a server beside its steps: speeds over loads, tokens in use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from calibrate.imported.arrivals import together_s
from calibrate.imported.decodes import means_of
from calibrate.imported.loads import Lives

if TYPE_CHECKING:
    from collections.abc import Sequence

    from calibrate.imported.result import Imported, ImportedRequest
    from calibrate.schema import Pairs

MOST_SPEEDS = 2000
LEAST_SPEED_TOKENS = 8
"""Of an answer of fewer tokens the speed is mostly when they happened to arrive."""


def speed_points(runs: Sequence[Imported]) -> Pairs:
    """Return (load, tokens/s) of each request, for SABER's estimator.

    The gaps between its tokens over the time from its first to its last one, in which prompts of
    others held it up: answers of all lengths then have one speed. The load is the mean number of
    open requests in that time; of closed loops without known loads it is the concurrency. Of
    statistics there is one point a run. Without requests whose first token came together with the
    second. Evenly thinned out to `MOST_SPEEDS`.
    """
    points: list[tuple[float, float]] = []
    for run in runs:
        near_s = together_s(run.requests)
        speeds = [_speed(request, near_s) for request in run.requests]
        if run.has_loads:
            lives = Lives.of(run.requests)
            open_now = lives.open()
            for speed, first_s, end_s in zip(speeds, lives.first_s, lives.end_s, strict=True):
                if speed is not None:
                    points.append((max(open_now.mean(first_s, end_s), 1.0), speed))
        elif run.is_closed_loop and run.concurrency is not None:
            means = means_of(run)
            if not run.requests and means is not None and means[3] > 0:
                speeds = [1 / means[3]]
            points += [(float(run.concurrency), speed) for speed in speeds if speed is not None]
    points.sort()
    if len(points) > MOST_SPEEDS:
        kept = np.linspace(0, len(points) - 1, MOST_SPEEDS).round().astype(int)
        points = [points[i] for i in kept]
    return tuple((round(load, 3), round(speed, 4)) for load, speed in points)


def _speed(request: ImportedRequest, near_s: float) -> float | None:
    """Return a request's tokens a second, None where it has none that means something."""
    seconds = request.generating_s
    if request.error or request.output_tokens < LEAST_SPEED_TOKENS or not seconds:
        return None
    if request.gaps_s and request.gaps_s[0] < near_s:
        return None  # its first token was held up: there is no telling since when it went on
    return (request.output_tokens - 1) / seconds


def most_tokens_held(runs: Sequence[Imported]) -> int:
    """Return the most tokens, prompts and answers, that open requests had together."""
    most = 0.0
    for run in runs:
        if run.has_loads:
            lives = Lives.of(run.requests)
            changes = [
                (instant_s, change * (request.prompt_tokens + request.output_tokens))
                for request, start_s, end_s in zip(
                    run.requests, lives.start_s, lives.end_s, strict=True
                )
                for instant_s, change in ((start_s, 1), (end_s, -1))
            ]
            most = max(most, *np.cumsum([tokens for _, tokens in sorted(changes)]).tolist())
        elif run.concurrency is not None:
            means = means_of(run)
            most = max(most, run.concurrency * (means[0] + means[1])) if means else most
    return round(most)
