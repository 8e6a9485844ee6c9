"""From what sessions showed to measured steps of all kinds, and the overhead around them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from calibrate.steps import Measurement, Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from calibrate.endpoint.findings import Seen
    from calibrate.endpoint.plan import Facts
    from calibrate.endpoint.session import Exchange


@dataclass(frozen=True)
class Timed:
    """Measured steps and what is around them.

    Parameters
    ----------
    measurements : list of Measurement
    client_overhead_s : float
    rounds : dict
        By step, its samples by round: for the drift.
    """

    measurements: list[Measurement]
    client_overhead_s: float
    rounds: dict[Step, dict[int, list[float]]]


@dataclass(frozen=True)
class _Sample:
    kind: tuple[int, ...]  # what makes samples repeats of one step
    batch: int
    context_tokens: float
    prompt_tokens: int
    past_tokens: int
    seconds: float
    round: int


def timed(seen: Sequence[Seen], facts: Facts) -> Timed:
    """Return the measured steps of all kinds, repeats of one step together.

    Decode steps come from the gaps between tokens while no prompt was at work. A prompt alone
    gives the time to its first token, less the client overhead; one longer than a step gives, by
    its difference to the one shorter by a step, a chunk with a past. A prompt among streams gives
    the gaps that it stretched. The client overhead is what a prompt of a few tokens takes beyond a
    decode step of one sequence, whose work is about the same.
    """
    measured = [one for one in seen if one.session.round >= 0]
    samples = _decodes(measured)
    alone = _alone(measured)
    overhead_s = _client_overhead_s(samples, alone)
    samples += _prefills(alone, overhead_s, facts)
    if facts.chunked:
        samples += _mixed(measured, facts)
    groups: dict[tuple[int, ...], list[_Sample]] = defaultdict(list)
    for sample in samples:
        if sample.seconds > 0:
            groups[sample.kind].append(sample)
    measurements, rounds = [], {}
    for _, group in sorted(groups.items()):
        context = round(float(np.mean([s.context_tokens for s in group])))
        first = group[0]
        step = Step(first.batch, context, first.prompt_tokens, first.past_tokens)
        measurements.append(Measurement(step, tuple(s.seconds for s in group)))
        by_round: dict[int, list[float]] = defaultdict(list)
        for sample in group:
            by_round[sample.round].append(sample.seconds)
        rounds[step] = dict(by_round)
    return Timed(measurements, overhead_s, rounds)


def _decodes(seen: Iterable[Seen]) -> list[_Sample]:
    """Windows of decode steps; repeats are those of one batch with prompts of one length."""
    return [
        _Sample(
            (0, one.session.level, _nearest(one.session.prompts, pure.context_tokens)),
            one.session.level,
            pure.context_tokens,
            0,
            0,
            pure.step_s,
            one.session.round,
        )
        for one in seen
        for pure in one.observed.pure
    ]


def _nearest(prompts: Sequence[int], context_tokens: float) -> int:
    """Return the longest of a session's prompts that a context can hold, or the shortest."""
    return max((p for p in prompts if p <= context_tokens), default=min(prompts))


def _alone(seen: Iterable[Seen]) -> dict[int, list[tuple[int, float]]]:
    """Return (round, time to first token) by the tokens of prompts that were sent alone.

    Without those whose first token arrived together with the second: it was held back.
    """
    found: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for one in seen:
        if one.session.level == 1 and not one.session.inserts:
            for e in one.exchanges:
                if not _held_back(e):
                    ttft_s = e.reply.token_s[0] - e.reply.sent_s
                    found[e.prompt_tokens].append((one.session.round, ttft_s))
    return dict(sorted(found.items()))


def _client_overhead_s(
    samples: Sequence[_Sample], alone: dict[int, list[tuple[int, float]]]
) -> float:
    if not alone:
        return 0.0
    shortest, times = next(iter(alone.items()))
    steps_s = [s.seconds for s in samples if s.kind == (0, 1, shortest)]
    if not steps_s:
        return 0.0
    return max(float(np.median([ttft_s for _, ttft_s in times]) - np.median(steps_s)), 0.0)


def _prefills(
    alone: dict[int, list[tuple[int, float]]], overhead_s: float, facts: Facts
) -> list[_Sample]:
    """Whole prompts that fit a step, and chunks of longer ones."""
    step = facts.batched_tokens if facts.chunked else None
    samples = [
        _Sample((1, tokens), 0, 0.0, tokens, 0, ttft_s - overhead_s, number)
        for tokens, times in alone.items()
        if step is None or tokens <= step
        for number, ttft_s in times
    ]
    if step is not None:
        for past, tokens in pairwise([n for n in alone if n % step == 0]):
            if tokens - past == step:
                before_s = float(np.median([ttft_s for _, ttft_s in alone[past]]))
                samples += [
                    _Sample((2, past), 0, 0.0, step, past, ttft_s - before_s, number)
                    for number, ttft_s in alone[tokens]
                ]
    return samples


def _mixed(seen: Iterable[Seen], facts: Facts) -> list[_Sample]:
    """Return steps that prefilled prompts beside decodes, where all their work is known."""
    samples = []
    for one in seen:
        level = one.session.level
        for each in one.observed.inserts:
            room = facts.batched_tokens - level if facts.batched_tokens else each.prompt_tokens
            chunks = -(-each.prompt_tokens // room)
            if len(each.gaps_s) < chunks or (facts.batched_tokens is None and each.chunks > 1):
                continue
            for i, gap_s in enumerate(each.gaps_s[-chunks:]):
                part, past = min(room, each.prompt_tokens - i * room), i * room
                if not np.isnan(gap_s):
                    samples.append(
                        _Sample(
                            (3, level, part, past),
                            level,
                            each.context_tokens,
                            part,
                            past,
                            gap_s,
                            one.session.round,
                        )
                    )
    return samples


def _held_back(e: Exchange) -> bool:
    """Whether a request's first token arrived together with its second."""
    return e.reply.output_tokens > 1 and e.reply.token_s[0] == e.reply.token_s[1]
