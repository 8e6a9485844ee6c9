"""What the replies of one session say about the engine's steps."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from calibrate.endpoint.timeline import Timeline, coherence, merge

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from calibrate.endpoint.session import Exchange, Session

WINDOW_STEPS = 48
LEAST_WINDOW_STEPS = 4
AT_ONCE = 0.5
"""A prompt's first token that arrives within this share of a decode step of the other streams'
tokens came from their step; after a step of its own they are a whole one apart."""


@dataclass(frozen=True)
class Pure:
    """Decode steps of one batch with no prompt at work, a window of them on average.

    Parameters
    ----------
    context_tokens : float
        Mean context of a sequence.
    step_s : float
    """

    context_tokens: float
    step_s: float


@dataclass(frozen=True)
class Insert:
    """A prompt that was sent while streams were being generated.

    Parameters
    ----------
    prompt_tokens : int
    context_tokens : float
        Mean context of the streams.
    decode_s : float
        A step of the streams without the prompt.
    gaps_s : tuple of float
        Those between the streams' tokens from its sending on: the last one ends nearest to its
        first token. NaN where late tokens hide it.
    apart_s : float
        Its first token came so long before the streams' nearest one.
    took_s : float
        From its sending to its first token.
    """

    prompt_tokens: int
    context_tokens: float
    decode_s: float
    gaps_s: tuple[float, ...]
    apart_s: float
    took_s: float

    @property
    def chunks(self) -> int:
        """In how many steps it was prefilled: those as stretched as the most stretched, and one.

        Assumes that all but the last take as many tokens as there is room for.
        """
        stretch_s = np.array(self.gaps_s) - self.decode_s
        if np.isnan(stretch_s).all() or np.nanmax(stretch_s) < self.decode_s:
            return 1  # too short to tell
        return 1 + int((stretch_s[:-1] > np.nanmax(stretch_s) / 2).sum())

    @property
    def is_clear(self) -> bool:
        """Whether none of its gaps is hidden."""
        return not np.isnan(self.gaps_s).any()

    @property
    def at_once(self) -> bool:
        """Whether its first token came with tokens of the streams: of one step with them."""
        return abs(self.apart_s) < AT_ONCE * self.decode_s


@dataclass(frozen=True)
class Observed:
    """What one session showed.

    Parameters
    ----------
    pure : tuple of Pure
        Of the session's level.
    inserts : tuple of Insert
    together : int
        The most streams that were being generated at once.
    incoherence : float
        See `calibrate.endpoint.timeline.coherence`.
    held_back : float
        Share of the steps whose tokens arrived together with those of the next.
    """

    pure: tuple[Pure, ...]
    inserts: tuple[Insert, ...]
    together: int
    incoherence: float
    held_back: float


def observe(session: Session, exchanges: Sequence[Exchange]) -> Observed:
    """Return what the exchanges of a session, all finished, say about the engine's steps."""
    streams = [e for e in exchanges if not e.inserted]
    instants = [e.reply.token_s for e in streams]
    timeline = merge(instants)
    working = _prompts_at_work(timeline, exchanges)
    runs = list(_runs(timeline, session.level, working))
    pure = [found for run in runs for found in _windows(timeline, streams, *run)]
    # One that waited until a stream ended was not among them all.
    over_s = min(e.reply.token_s[-1] for e in streams)
    inserts = [
        _insert(timeline, streams, e, pure)
        for e in exchanges
        if e.inserted and pure and e.reply.token_s[0] < over_s
    ]
    return Observed(
        pure=tuple(pure),
        inserts=tuple(inserts),
        together=_together(streams),
        incoherence=coherence(timeline, instants),
        held_back=1 - len(timeline.fresh(0, len(timeline.ends_s))) / len(timeline.ends_s),
    )


def _prompts_at_work(timeline: Timeline, exchanges: Sequence[Exchange]) -> np.ndarray:
    """Return for each step whether a prompt was sent before its end and had no token before it."""
    working = np.zeros(len(timeline.ends_s), dtype=bool)
    for e in exchanges:
        first = int(np.searchsorted(timeline.ends_s, e.reply.sent_s))
        working[first : timeline.step_at(e.reply.token_s[0]) + 1] = True
    return working


def _decoding(timeline: Timeline) -> np.ndarray:
    """Return for each step how many streams it decoded: all that had a token before."""
    batch = np.zeros(len(timeline.ends_s) + 1, dtype=int)
    for begin, tokens in zip(timeline.begins, timeline.tokens, strict=True):
        batch[begin + 1] += 1
        batch[begin + tokens] -= 1
    return np.cumsum(batch)[:-1]


def _runs(timeline: Timeline, level: int, working: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield the first and last step of each run of decode steps of `level` streams alone."""
    sound = (_decoding(timeline) == level) & ~working
    sound[0] = False  # there is no telling when the first step began
    edges = np.flatnonzero(np.diff(np.concatenate(([0], sound.astype(int), [0]))))
    for first, after in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        yield first, after - 1


def _windows(
    timeline: Timeline, streams: Sequence[Exchange], first: int, last: int
) -> Iterator[Pure]:
    """Yield the windows of a run of steps: about `WINDOW_STEPS` long, or all of a short run.

    The mean over a window, not the single gaps: a token that arrives late makes one gap longer
    and the next one shorter, and of several that arrive together all gaps but one are nothing. A
    long window, as users wait for the sum of all steps, with those now and then that take longer:
    the median over short ones would leave these out.
    """
    ends = timeline.fresh(first - 1, last)
    if not ends or ends[-1] - ends[0] < LEAST_WINDOW_STEPS:
        return
    marks = [ends[0]]
    for end in ends[1:]:
        if end - marks[-1] >= WINDOW_STEPS:
            marks.append(end)
    if len(marks) == 1:
        marks.append(ends[-1])
    for left, right in pairwise(marks):
        alive = [
            (e, e.prompt_tokens + (left + 1 + right) / 2 - begin)
            for e, begin, tokens in zip(streams, timeline.begins, timeline.tokens, strict=True)
            if begin <= left and right < begin + tokens
        ]
        if len({e.asked_tokens for e, _ in alive}) > 1:
            continue  # clients that have come apart: one context is no longer that of all
        contexts = [context for _, context in alive]
        step_s = float(timeline.ends_s[right] - timeline.ends_s[left]) / (right - left)
        yield Pure(float(np.mean(contexts)), step_s)


def _insert(
    timeline: Timeline, streams: Sequence[Exchange], inserted: Exchange, pure: Sequence[Pure]
) -> Insert:
    ends_s = timeline.ends_s
    first_s = inserted.reply.token_s[0]
    last = timeline.step_at(first_s)
    begin = min(int(np.searchsorted(ends_s, inserted.reply.sent_s)) + 1, last)
    fresh = set(timeline.fresh(max(begin - 1, 0), last))
    gaps_s = [
        float(ends_s[k] - ends_s[k - 1]) if {k - 1, k} <= fresh else float("nan")
        for k in range(max(begin, 1), last + 1)
    ]
    contexts = [
        e.prompt_tokens + last - stream_begin
        for e, stream_begin in zip(streams, timeline.begins, strict=True)
    ]
    return Insert(
        prompt_tokens=inserted.prompt_tokens,
        context_tokens=float(np.mean(contexts)),
        decode_s=float(np.median([each.step_s for each in pure])),
        gaps_s=tuple(gaps_s),
        apart_s=float(ends_s[last] - first_s),
        took_s=first_s - inserted.reply.sent_s,
    )


def _together(streams: Sequence[Exchange]) -> int:
    """Return the most streams that were between their first and last token at once."""
    changes = [(e.reply.token_s[0], 1) for e in streams] + [
        (e.reply.token_s[-1], -1) for e in streams
    ]
    # At one instant the ends first: the place of one that ends is given to the next.
    running = np.cumsum([change for _, change in sorted(changes)])
    return int(running.max())
