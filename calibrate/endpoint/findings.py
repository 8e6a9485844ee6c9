"""What many sessions together say of a server: how it forms its steps, and how many it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from calibrate.endpoint.observe import observe

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from calibrate.endpoint.observe import Insert, Observed
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
