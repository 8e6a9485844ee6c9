"""What is sent to a server to be measured, and in which order."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from calibrate.endpoint.session import Session
from calibrate.schema import ProfileError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

SHORTEST_TOKENS = 8
"""A prompt so short that its step costs about what a decode step does."""
SHORT_TOKENS, LONG_TOKENS = 64, 2048
LONGEST_TOKENS = 16_384
ANSWER_TOKENS = 128
ALONE_ANSWER_TOKENS = 34
ALONE_TIMES = 3
MOST_LEVEL = 64
ROUNDS = 3
INSERTED_AT = (4, 16)
LARGE_SHARE = 1 / 8
"""A session of more of the requests than this waits for all that are smaller."""
FLOOR_REQUESTS = 40
"""Fewer cannot give a profile."""
UNKNOWN_MODEL_LEN = 4096
LIKELY_BATCHED_TOKENS = 512
"""Prompt tokens a step, where unknown: an engine that takes fewer is not common."""


@dataclass(frozen=True)
class Facts:
    """What is known of a server when a plan is made.

    Parameters
    ----------
    model_len : int or None
        The most tokens of a prompt and its answer.
    kv_tokens : int or None
        Of the KV cache.
    chunked : bool
        Whether prompts are prefilled in chunks beside decodes.
    batched_tokens : int or None
        Tokens of a step at most, where they are.
    most_together : int or None
        Requests it runs together at most.
    step_s, prompt_token_s : float
        About what a decode step, and a token of a prompt, take; 0 where unknown.
    """

    model_len: int | None = None
    kv_tokens: int | None = None
    chunked: bool = True
    batched_tokens: int | None = None
    most_together: int | None = None
    step_s: float = 0.0
    prompt_token_s: float = 0.0

    @property
    def longest_prompt(self) -> int:
        """The longest prompt that leaves room for an answer."""
        room = (self.model_len or UNKNOWN_MODEL_LEN) - ANSWER_TOKENS
        if self.kv_tokens is not None:
            room = min(room, self.kv_tokens - ANSWER_TOKENS)
        return min(room, LONGEST_TOKENS)

    def seconds(self, session: Session) -> float:
        """Return about how long a session takes: its prompts one after the other, then steps."""
        prompts = session.level * sum(session.prompts) + sum(session.inserts)
        steps = len(session.prompts) * session.output_tokens
        return prompts * self.prompt_token_s + steps * self.step_s * (1 + session.level / 32)


@dataclass(frozen=True)
class Bounds:
    """What a plan must keep to.

    Parameters
    ----------
    requests : int
        At most.
    seconds : float
        At most, about; infinite for no such bound.
    longest_s : float
        The prompts of one session take no longer, about.
    levels : tuple of int, optional
        How many requests run together; doubling from 1 when left out.
    """

    requests: int
    seconds: float
    longest_s: float
    levels: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Plan:
    """Sessions in the order of their sending, and what was left out, a line each."""

    sessions: tuple[Session, ...]
    cut: tuple[str, ...] = ()

    @property
    def requests(self) -> int:
        """Of all sessions together."""
        return sum(session.requests for session in self.sessions)

    @property
    def tokens(self) -> int:
        """Of all sessions together, prompts and answers."""
        return sum(session.tokens for session in self.sessions)


WARM_UP = Session(1, (SHORTEST_TOKENS,), ALONE_ANSWER_TOKENS, round=-1)
"""What a server does for the first time takes longer: its times are not used."""


def scouts(longest_prompt: int) -> list[Session]:
    """Return the sessions that show how a server takes long prompts, shorter ones first.

    Two streams, and prompts of doubling lengths among them.
    """
    lengths = []
    for power in count(9):
        if 2**power > longest_prompt:
            break
        lengths.append(2**power)
    if longest_prompt not in lengths:
        lengths.append(longest_prompt)
    groups = [lengths[:3], lengths[3:5], lengths[5:]]
    return [
        Session(2, (SHORT_TOKENS,), _among(tuple(group), None, 64), tuple(group), round=-1)
        for group in groups
        if group
    ]


def plan(facts: Facts, bounds: Bounds, done: Collection[Session] = ()) -> Plan:
    """Return what to send after the scouts.

    Round after round the same: prompts of increasing lengths, alone; levels of clients with short
    prompts and long ones; prompts among running streams. First what no profile can do without, and
    the first round as a whole before the others, so that a run that ends early has a bit of
    everything; last the levels that would take a large share of what may be sent.

    Parameters
    ----------
    facts : Facts
    bounds : Bounds
        On what is still to be sent.
    done : collection of Session
        What was sent already, and counts for nothing.

    Raises
    ------
    ProfileError
        When not even what no profile can do without fits the bounds.
    """
    rounds = [list(_round(facts, bounds, number)) for number in range(ROUNDS)]
    vital = _vital(rounds[0])
    ordered = [session for sessions in rounds for session in sessions]
    large = [s for s in ordered if s.requests > bounds.requests * LARGE_SHARE]
    usual = [s for s in ordered if s not in large]
    kept: list[Session] = []
    dropped: list[Session] = []
    requests, seconds = bounds.requests, bounds.seconds
    for session in dict.fromkeys([*vital, *usual, *large]):
        if session not in done:
            if session.requests > requests or facts.seconds(session) > seconds:
                dropped.append(session)
                continue
            requests -= session.requests
            seconds -= facts.seconds(session)
        kept.append(session)
    if not set(vital) <= set(kept):
        raise ProfileError(
            f"{bounds.requests:,} requests in {bounds.seconds:.0f} s are too few for a profile of "
            "this server: expected more with --max-requests or --budget"
        )
    return Plan(tuple(kept), tuple(_cuts(dropped, kept)))


def _vital(sessions: Sequence[Session]) -> list[Session]:
    """Return what a cost cannot be fitted without: two prompts alone, and a second level."""
    alone = [s for s in sessions if s.level == 1]
    return [alone[0], alone[-1], *[s for s in sessions if s.level > 1][:1]]


def _cuts(dropped: Sequence[Session], kept: Sequence[Session]) -> Iterator[str]:
    """Yield what is not sent, a line for each kind of session."""
    lost, whole = Counter(map(_label, dropped)), Counter(map(_label, kept))
    for label, n in lost.items():
        yield f"{label}: {whole[label]} of {whole[label] + n} sessions"


def _label(session: Session) -> str:
    if session.inserts:
        return f"prompts among {session.level} streams"
    return "prompts alone" if session.level == 1 else f"level {session.level}"


def levels_of(facts: Facts, bounds: Bounds) -> tuple[int, ...]:
    """Return how many clients there are at once, one level after the other, rising."""
    if bounds.levels is not None:
        return bounds.levels
    limit = facts.most_together or MOST_LEVEL
    doubling = [2**power for power in range(limit.bit_length()) if 2**power <= limit]
    return tuple(sorted({*doubling, limit}))


def _round(facts: Facts, bounds: Bounds, number: int) -> Iterator[Session]:
    for tokens in _alone_lengths(facts):
        yield Session(1, (tokens,) * ALONE_TIMES, ALONE_ANSWER_TOKENS, round=number)
    levels = [level for level in levels_of(facts, bounds) if level > 1]
    for level in levels:
        room = facts.longest_prompt
        if facts.kv_tokens is not None:  # one that is preempted is no measurement
            room = min(room, int(facts.kv_tokens * 0.9) // level - ANSWER_TOKENS)
        if facts.prompt_token_s:
            room = min(room, int(bounds.longest_s / facts.prompt_token_s / level))
        long = min(LONG_TOKENS, room)
        if long >= 2 * SHORT_TOKENS:
            yield Session(level, (SHORT_TOKENS, long), ANSWER_TOKENS, round=number)
        elif room >= SHORT_TOKENS:
            yield Session(level, (SHORT_TOKENS,), ANSWER_TOKENS, round=number)
    if facts.chunked:  # else prompts have steps of their own, the same as when alone
        for level in _insert_levels(facts, levels):
            inserts = _inserts(facts, level)
            output_tokens = _among(inserts, facts.batched_tokens, level)
            yield Session(level, (SHORT_TOKENS,), output_tokens, inserts, number)


def _insert_levels(facts: Facts, levels: Sequence[int]) -> list[int]:
    """Return how many streams prompts are sent among: a few and more, with a seat to spare.

    Well below the largest level: the noise of two batches side by side would be the slope of all
    larger ones.
    """
    most = max(max([*levels, facts.most_together or 0]) * 3 // 4, 1)
    return sorted({min(level, most) for level in INSERTED_AT})


def _alone_lengths(facts: Facts) -> list[int]:
    """Return the lengths of prompts that are sent alone: doubling, then whole chunks."""
    longest = facts.longest_prompt
    whole = min(longest, facts.batched_tokens or longest)
    lengths = {SHORTEST_TOKENS, whole}
    lengths |= {2**power for power in range(4, 15) if 2**power <= whole}
    if facts.batched_tokens:
        lengths |= {
            facts.batched_tokens * n for n in (2, 3, 4) if facts.batched_tokens * n <= longest
        }
    return sorted(lengths)


def _inserts(facts: Facts, level: int) -> tuple[int, ...]:
    """Return the lengths of prompts sent among streams: parts of a step, a step, and beyond."""
    step = facts.batched_tokens or min(facts.longest_prompt, LONG_TOKENS)
    lengths = [step // 8, step // 4, step // 2, step - level]
    if facts.batched_tokens:
        lengths.append(2 * (step - level))
    return tuple(n for n in dict.fromkeys(lengths) if 1 <= n <= facts.longest_prompt)


def _among(inserts: Sequence[int], batched_tokens: int | None, level: int) -> int:
    """Return the tokens that streams generate while prompts are sent among them, with room."""
    chunk = max((batched_tokens or LIKELY_BATCHED_TOKENS) - level, 1)
    chunks = sum(-(-tokens // chunk) for tokens in inserts)
    return 32 + 16 * len(inserts) + 2 * chunks
