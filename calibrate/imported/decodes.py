"""Decode steps of imported runs: from gaps between tokens, whole requests, or statistics."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from calibrate.imported.loads import Lives, Tokens

if TYPE_CHECKING:
    from calibrate.imported.prompts import Stall
    from calibrate.imported.result import Imported

GROUP = 16
"""Gaps in a row whose mean is one sample."""
LEAST_GROUP = 8
MOST_STALLED = 0.5
"""A request that others' prompts held up for a larger share of its time says nothing of a step."""


class Sample(NamedTuple):
    """One measured decode step, the mean of several as a rule."""

    batch: int
    context_tokens: float
    step_s: float


def from_gaps(lives: Lives, near_s: float) -> list[Sample]:
    """Return steps while the same requests were generated and none waited, `GROUP` on average."""
    samples = []
    tokens = {
        i: Tokens(request, lives.first_s[i])
        for i, request in enumerate(lives.requests)
        if request.ttft_s is not None
    }
    for from_s, to_s, who in lives.quiet():
        leader = next((i for i in who if lives.requests[i].is_token_by_token), None)
        if leader is None:
            continue
        instants = np.array(tokens[leader].instants_s)
        # Tokens that the next one did not come together with.
        last = np.append(np.diff(instants) >= near_s, True)
        marks = _marks(np.flatnonzero(last & (instants >= from_s) & (instants <= to_s)).tolist())
        if len(marks) < 2:
            continue
        # Contexts at the first of them; all grow by one a step.
        at_s = float(instants[marks[0]])
        begun = [lives.requests[i].prompt_tokens + tokens[i].by(at_s) for i in who if i in tokens]
        context = sum(begun) / len(who)
        for left, right in pairwise(marks):
            middle = context + (left + right - 1) / 2 - marks[0]
            step_s = float(instants[right] - instants[left]) / (right - left)
            samples.append(Sample(len(who), middle, step_s))
    return samples


def _marks(places: list[int]) -> list[int]:
    """Return every place that is about `GROUP` after the one before, the first and last included.

    Empty where they are less than `LEAST_GROUP` apart.
    """
    if not places or places[-1] - places[0] < LEAST_GROUP:
        return []
    marks = [places[0]]
    for place in places[1:]:
        if place - marks[-1] >= GROUP:
            marks.append(place)
    if places[-1] - marks[-1] >= LEAST_GROUP or len(marks) == 1:
        marks.append(places[-1])
    return marks


def from_requests(lives: Lives, stall: Stall) -> list[Sample]:
    """Return a step for each request: its time over its steps, less what held it up."""
    decoding = lives.decoding()
    firsts = sorted((s, i) for i, s in enumerate(lives.first_s) if lives.requests[i].ttft_s)
    at_s = np.array([s for s, _ in firsts])
    samples = []
    for i, request in enumerate(lives.requests):
        generating_s = request.generating_s
        if request.error or request.output_tokens <= LEAST_GROUP or not generating_s:
            continue
        from_s, to_s = lives.first_s[i], lives.end_s[i]
        steps = request.output_tokens - 1
        inside = range(
            int(np.searchsorted(at_s, from_s, "right")), int(np.searchsorted(at_s, to_s, "right"))
        )
        held_s = 0.0
        if inside:
            if not stall:
                continue
            step_s = generating_s / steps
            held_s = sum(
                stall.seconds(lives.requests[firsts[k][1]].prompt_tokens, step_s) for k in inside
            )
        if held_s <= MOST_STALLED * generating_s:
            batch = max(round(decoding.mean(from_s, to_s)), 1)
            context = request.prompt_tokens + request.output_tokens / 2
            samples.append(Sample(batch, context, (generating_s - held_s) / steps))
    return samples


def from_means(run: Imported, stall: Stall) -> list[Sample]:
    """Return the step of a closed loop of which only means are known, if that is what it is."""
    means = means_of(run)
    if means is None or run.concurrency is None or not run.is_closed_loop:
        return []
    prompt_tokens, output_tokens, ttft_s, tpot_s = means
    steps = output_tokens - 1
    generating_s = tpot_s * steps
    if steps <= LEAST_GROUP or generating_s <= 0:
        return []
    others = run.concurrency - 1
    held_s = 0.0
    if others:
        if not stall:
            return []
        # Each of the others begins once in the time of a request as a whole.
        prompts = others * generating_s / (generating_s + ttft_s)
        held_s = prompts * stall.seconds(prompt_tokens, tpot_s)
    if held_s > MOST_STALLED * generating_s:
        return []
    context = prompt_tokens + output_tokens / 2
    return [Sample(run.concurrency, context, (generating_s - held_s) / steps)]


def means_of(run: Imported) -> tuple[float, float, float, float] | None:
    """Return mean prompt and output tokens, median TTFT, mean TPOT; None without any of them."""
    if run.summary is not None:
        s = run.summary
        return s.prompt_tokens, s.output_tokens, s.ttft_s, s.tpot_s
    done = [r for r in run.requests if not r.error and r.generating_s and r.output_tokens > 1]
    if not done:
        return None
    return (
        float(np.mean([r.prompt_tokens for r in done])),
        float(np.mean([r.output_tokens for r in done])),
        float(np.median([r.ttft_s or 0.0 for r in done])),
        float(np.mean([(r.generating_s or 0.0) / (r.output_tokens - 1) for r in done])),
    )
