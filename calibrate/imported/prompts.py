"""What prompts take that were alone on a server, by when their first token came."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from calibrate.imported.arrivals import together_s
from calibrate.steps import Measurement, Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from calibrate.imported.loads import Lives
    from calibrate.imported.result import Imported

    Prompts = dict[int, list[float]]

LEAST_SAMPLES = 3
"""Fewer of one length are no measurement: one of them may be a cold start."""
MOST_LENGTHS = 24
"""More different lengths are taken together within `PROMPT_RATIO`."""
PROMPT_RATIO = 2**0.5
SHORT_TOKENS = 64
"""A prompt so short that what it takes beyond a decode step is not its computation."""


def prompts_alone(runs: Sequence[Imported], lives: dict[int, Lives]) -> dict[int, list[float]]:
    """Return seconds to the first token of prompts alone on the server, by their length."""
    found: dict[int, list[float]] = defaultdict(list)
    for i, run in enumerate(runs):
        if i in lives:
            near_s = together_s(run.requests)
            for k in lives[i].alone():
                request = run.requests[k]
                held_up = bool(request.gaps_s) and request.gaps_s[0] < near_s
                if not request.error and request.ttft_s and not held_up:
                    found[request.prompt_tokens].append(request.ttft_s)
        elif run.concurrency == 1:
            for request in run.requests:
                if not request.error and request.ttft_s:
                    found[request.prompt_tokens].append(request.ttft_s)
            if run.summary is not None and run.summary.ttft_s > 0:
                # The median of many: as good as as many as it takes.
                found[round(run.summary.prompt_tokens)] += [run.summary.ttft_s] * LEAST_SAMPLES
    if len(found) > MOST_LENGTHS:
        found = _grouped(found)
    return {
        tokens: found[tokens] for tokens in sorted(found) if len(found[tokens]) >= LEAST_SAMPLES
    }


def _grouped(found: dict[int, list[float]]) -> dict[int, list[float]]:
    """Return the lengths within `PROMPT_RATIO` taken together, at their middle."""
    cells: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for tokens, seconds in found.items():
        cell = round(math.log(max(tokens, 1)) / math.log(PROMPT_RATIO))
        cells[cell] += [(tokens, each) for each in seconds]
    return {
        round(float(np.median([tokens for tokens, _ in rows]))): [each for _, each in rows]
        for rows in cells.values()
    }


def client_overhead_s(
    prompts: dict[int, list[float]], decodes: Iterable[Measurement]
) -> float | None:
    """Return what a prompt of a token would take beyond a decode step of one sequence."""
    single_s = [m.median_s for m in decodes if m.step.batch == 1]
    if len(prompts) < 2 or not single_s or min(prompts) > SHORT_TOKENS:
        return None
    (shortest, seconds), (next_one, next_seconds) = list(prompts.items())[:2]
    shortest_s, next_s = float(np.median(seconds)), float(np.median(next_seconds))
    slope = max((next_s - shortest_s) / (next_one - shortest), 0.0)
    return max(shortest_s - slope * (shortest - 1) - min(single_s), 0.0)


def prefills(prompts: dict[int, list[float]], overhead_s: float) -> Iterator[Measurement]:
    """Yield what prompts of each length took, less the client overhead."""
    for tokens, seconds in prompts.items():
        left_s = tuple(each - overhead_s for each in seconds if each > overhead_s)
        if tokens and left_s:
            yield Measurement(Step(prompt_tokens=tokens), left_s)


class Stall:
    """How long a prompt holds up those that are being generated.

    Parameters
    ----------
    prompts : mapping of int to list of float
        Seconds to the first token of requests alone, by the length of their prompts.
    discipline : str
    """

    def __init__(self, prompts: dict[int, list[float]], discipline: str) -> None:
        lengths = sorted(prompts)
        self._tokens = np.array(lengths, dtype=np.float64)
        seconds = [float(np.median(prompts[tokens])) for tokens in lengths]
        self._seconds = np.maximum.accumulate(seconds) if seconds else np.zeros(0)
        self._whole = discipline == "prefill-first"

    def __bool__(self) -> bool:
        return len(self._tokens) > 1

    def seconds(self, prompt_tokens: float, step_s: float) -> float:
        """Return what a prompt adds to decode steps of others that take `step_s`."""
        slope = float((self._seconds[-1] - self._seconds[0]) / (self._tokens[-1] - self._tokens[0]))
        alone_s = float(np.interp(prompt_tokens, self._tokens, self._seconds))
        beyond = prompt_tokens - float(np.clip(prompt_tokens, self._tokens[0], self._tokens[-1]))
        alone_s += slope * beyond
        # What a prompt of no length takes is the client's time and the step's; a prompt that
        # shares a step with decodes adds neither.
        fixed_s = max(float(self._seconds[0] - slope * self._tokens[0]), 0.0)
        added_s = max(alone_s - fixed_s, 0.0)
        own_s = min(step_s, fixed_s) if self._whole else 0.0
        return added_s + own_s
