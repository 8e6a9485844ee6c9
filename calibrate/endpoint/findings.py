"""What many sessions together say of a server: how it forms its steps, and what they cost."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from calibrate.endpoint.observe import observe
from calibrate.steps import Measurement, Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from calibrate.endpoint.observe import Insert, Observed
    from calibrate.endpoint.plan import Facts
    from calibrate.endpoint.session import Exchange, Session
    from calibrate.schema import Pairs

LIKELY_SHARE = 0.2
"""A power of two within this share of the estimate is taken for the server's setting."""
WAITED_SHARE = 0.5
"""Of the time of an answer, by which it ends after others that had a seat before it."""
INSERTED_SHARE = 2 / 3
"""Prompts that must agree on the discipline."""


@dataclass(frozen=True)
class Seen:
    """A session that was sent, and what it showed."""

    session: Session
    exchanges: tuple[Exchange, ...]
    observed: Observed

    @classmethod
    def of(cls, session: Session, exchanges: Sequence[Exchange]) -> Seen:
        """Return what the exchanges of a session, all finished, showed."""
        return cls(session, tuple(exchanges), observe(session, exchanges))


@dataclass(frozen=True)
class Discipline:
    """How a server forms its steps.

    Parameters
    ----------
    name : str
        "chunked" or "prefill-first".
    source : str
        Why; begins with "assumed" where the evidence is unclear.
    """

    name: str
    source: str


def discipline(seen: Iterable[Seen]) -> Discipline:
    """Return how a server forms its steps, by the prompts that were sent among streams.

    A prompt that shares its last step with the streams' decodes has its first token when they have
    theirs, and one that is cut into chunks lets them have tokens in between; a prompt with a step
    of its own has neither.
    """
    inserts = [each for one in seen for each in one.observed.inserts]
    together = sum(each.at_once or each.chunks > 1 for each in inserts)
    counted = f"{together} of {len(inserts)} prompts sent among streams"
    if inserts and together >= INSERTED_SHARE * len(inserts):
        return Discipline("chunked", f"found: {counted} shared their steps with decodes")
    if inserts and together <= (1 - INSERTED_SHARE) * len(inserts):
        return Discipline("prefill-first", f"found: only {counted} shared their steps with decodes")
    return Discipline(
        "chunked", f"assumed: {counted} shared their steps with decodes, which is unclear"
    )


@dataclass(frozen=True)
class Budget:
    """The most tokens of a step.

    Parameters
    ----------
    tokens : int or None
        None where no prompt was longer.
    source : str
    """

    tokens: int | None
    source: str


def batched_tokens(seen: Iterable[Seen]) -> Budget:
    """Return how many tokens a step holds at most, by the chunks of prompts sent among streams.

    The number of a prompt's chunks bounds it from both sides; their lengths in time say where in
    between it lies. A power of two near there, the usual setting, is taken for it where most
    prompts were cut as it would cut them.
    """
    sent = [(one.session.level, each) for one in seen for each in one.observed.inserts]
    inserts = [(level, each) for level, each in sent if each.is_clear]
    if sent and not inserts:
        return Budget(None, "unknown: tokens arrived too unevenly to tell the steps of a prompt")
    estimates = [level + _chunk_tokens(each) for level, each in inserts if each.chunks > 1]
    if not estimates:
        largest = max((level + each.prompt_tokens for level, each in inserts), default=0)
        return Budget(None, f"unknown: no prompt was cut, up to {largest:,} tokens in a step")
    estimate = float(np.median(estimates))
    power = 2 ** round(np.log2(estimate))
    cut_so = sum(
        each.chunks == -(-each.prompt_tokens // max(power - level, 1)) for level, each in inserts
    )
    by_length = f"about {estimate:,.0f} by the lengths of {len(estimates)} prompts' chunks"
    if abs(estimate / power - 1) <= LIKELY_SHARE and 2 * cut_so > len(inserts):
        by_number = f"{cut_so} of {len(inserts)} prompts were cut as by {power:,}"
        return Budget(power, f"found: {by_length}, and {by_number}")
    return Budget(round(estimate), f"estimated: {by_length}")


def _chunk_tokens(each: Insert) -> float:
    """Return the tokens of a whole chunk, taking a token's time to be the same in all."""
    stretch_s = np.array(each.gaps_s) - each.decode_s
    whole_s = stretch_s[:-1][stretch_s[:-1] > stretch_s.max() / 2]
    last = max(float(stretch_s[-1] / whole_s.mean()), 0.0)
    return each.prompt_tokens / (len(whole_s) + min(last, 1.0))


def most_together(seen: Iterable[Seen]) -> int | None:
    """Return how many requests a server runs together at most; None where it ran all.

    By the sessions in which some had their first token only when others had ended, though prompts
    taken one after the other would have had theirs long before.
    """
    limits = [_limit(one) for one in seen]
    return max((limit for limit in limits if limit is not None), default=None)


def _limit(one: Seen) -> int | None:
    """Return how many requests of a session had a seat before any left, if others had none.

    Those that waited for a seat have their last token about a whole answer after the first ones
    left. One whose first token came late but not its last was held back on its way.
    """
    clients = [e for e in one.exchanges if not e.inserted]
    wave = sorted(clients, key=lambda e: e.reply.sent_s)[: one.session.level]
    ended_s = min(e.reply.token_s[-1] for e in wave)
    started_s = sorted(e.reply.token_s[0] for e in wave if e.reply.token_s[0] < ended_s)
    if not started_s:
        return None
    answer_s = ended_s - started_s[0]
    waited = sum(
        e.reply.token_s[0] >= ended_s and e.reply.token_s[-1] - ended_s > WAITED_SHARE * answer_s
        for e in wave
    )
    # Those of the first seats came one after the other; then none did until somebody left.
    pause_s = ended_s - started_s[-1]
    return len(wave) - waited if waited and pause_s > started_s[-1] - started_s[0] else None


def _held_back(e: Exchange) -> bool:
    """Whether a request's first token arrived together with its second."""
    return e.reply.output_tokens > 1 and e.reply.token_s[0] == e.reply.token_s[1]


def speed_points(seen: Iterable[Seen], limit: int | None) -> Pairs:
    """Return (load, tokens/s) of each request that ran beside others of its session.

    As in the offline phase of SABER: the speed from its first token to its last one, with what
    prompts of others held it up. Without sessions of more requests than the server runs together,
    and those with prompts sent among streams.
    """
    points = []
    for one in seen:
        level = one.session.level
        if one.session.inserts or (limit is not None and level > limit):
            continue
        for e in one.exchanges:
            # Gaps, not tokens, over their time: answers of all lengths then have one speed.
            if e.reply.tokens_per_s is not None:
                points.append((float(level), round(e.reply.tokens_per_s, 4)))
    return tuple(points)


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
