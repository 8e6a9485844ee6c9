"""What imported runs say of a server beside its steps: speeds over loads, tokens in use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from calibrate.imported.decodes import means_of
from calibrate.imported.loads import Lives

if TYPE_CHECKING:
    from collections.abc import Sequence

    from calibrate.imported.result import Imported
    from calibrate.schema import Pairs

MOST_SPEEDS = 2000
LEAST_SPEED_TOKENS = 8
"""Of an answer of fewer tokens the speed is mostly when they happened to arrive."""


def speed_points(runs: Sequence[Imported]) -> Pairs:
    """Return (load, tokens/s) of each request, for SABER's estimator.

    As in the study its tokens over the time from its first to its last one, in which prompts of
    others held it up; the load is the mean number of open requests in that time. Of closed loops
    without known loads it is the concurrency, and of statistics there is one point a run. Evenly
    thinned out to `MOST_SPEEDS`.
    """
    points: list[tuple[float, float]] = []
    for run in runs:
        if run.has_loads:
            lives = Lives.of(run.requests)
            loads = lives.open()
            for i, request in enumerate(run.requests):
                seconds = request.generating_s
                if request.error or request.output_tokens < LEAST_SPEED_TOKENS or not seconds:
                    continue
                load = max(loads.mean(lives.first_s[i], lives.end_s[i]), 1.0)
                points.append((load, request.output_tokens / seconds))
        elif run.is_closed_loop and run.concurrency is not None:
            speeds = [
                request.output_tokens / request.generating_s
                for request in run.requests
                if not request.error
                and request.output_tokens >= LEAST_SPEED_TOKENS
                and request.generating_s
            ]
            means = means_of(run)
            if not run.requests and means is not None and means[1] >= LEAST_SPEED_TOKENS:
                speeds = [means[1] / ((means[1] - 1) * means[3])] if means[3] > 0 else []
            points += [(float(run.concurrency), speed) for speed in speeds]
    points.sort()
    if len(points) > MOST_SPEEDS:
        kept = np.linspace(0, len(points) - 1, MOST_SPEEDS).round().astype(int)
        points = [points[i] for i in kept]
    return tuple((round(load, 3), round(speed, 4)) for load, speed in points)


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
