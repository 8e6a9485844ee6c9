"""Which of the ways to ask a server takes, found with a few tiny completions."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from calibrate.endpoint.client import APIS, TURNED_AWAY
from calibrate.endpoint.events import StreamError, told
from calibrate.endpoint.exchange import Ask
from calibrate.schema import ProfileError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from calibrate.endpoint.client import Client, Endpoint

    Text = Callable[[int, np.random.Generator], str]

VOCABULARIES = ((1000, 2000), (100, 250))
"""Ranges of token ids that are plain text in about every vocabulary, even one of a thousand
special tokens; and one for tiny vocabularies."""
PROBED_TOKENS = 4
WORDS_PROBED = (16, 80)
ASSUMED_TOKENS_PER_WORD = 1.0
MOST_WAITS, LONGEST_WAIT_S = 3, 30.0
MOST_PROBES = 10 + MOST_WAITS

RUNNING = {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}
AT_END: dict[str, Any] = {}  # what is asked for anyway
NO_COUNTS = {"stream_options": None}


@dataclass(frozen=True)
class Found:
    """How a server can be asked; the fields of the same names of `Server`."""

    endpoint: Endpoint
    takes_ids: bool
    vocabulary: tuple[int, int]
    tokens_per_word: float
    tokens_fixed: int
    keeps_length: bool
    counts_tokens: str
    requests: int


@dataclass(frozen=True)
class _Told:
    """What came of one probe: `problem` is empty for a sound answer."""

    problem: str
    http_status: int
    output_tokens: int = 0
    prompt_tokens: int | None = None
    counts: str = "no"


class _Probes:
    """Sends probes, one after the other, and counts them."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.sent = 0
        self._waits = 0

    async def ask(self, endpoint: Endpoint, prompt: tuple[int, ...] | str) -> _Told:
        """Return what came of a completion; waits and asks anew when it is turned away."""
        body = json.loads(endpoint.body(Ask(prompt, PROBED_TOKENS)))
        while True:
            self.sent += 1
            answer = await self.client.post(APIS[endpoint.api], body)
            said = endpoint.without_key(answer.said)
            if answer.http_status not in TURNED_AWAY:
                break
            if self._waits == MOST_WAITS:
                raise ConnectionError(
                    f"{endpoint.url} turned {MOST_WAITS + 1} requests away, the last with {said}"
                )
            wished_s = answer.retry_after_s
            wait_s = 2.0**self._waits if wished_s is None else wished_s
            self._waits += 1
            await asyncio.sleep(min(wait_s, LONGEST_WAIT_S))
        if answer.http_status != 200:
            return _Told(said, answer.http_status)
        try:
            found = told([(0.0, answer.body)])
        except StreamError as error:
            return _Told(endpoint.without_key(str(error)), 200)
        if not found.done or not found.token_s:
            return _Told("its answer is no stream of tokens", 200)
        counts = ("each message" if _runs(answer.body) else "at the end") if found.counted else "no"
        return _Told("", 200, len(found.token_s), found.prompt_tokens, counts)


async def probe(client: Client, text_of: Text, rng: np.random.Generator) -> Found:
    """Return how the server behind `client` can be asked.

    First all wishes at once: token ids as prompts, answers of the length asked for, tokens counted
    in every message. A server that refuses is asked without any, then each wish is tried alone.

    Raises ConnectionError or ProfileError, in one line, for a server that gives no completions.
    """
    probes = _Probes(client)
    plain = replace(client.endpoint, extra={**client.endpoint.extra, **NO_COUNTS})
    may_take_ids = plain.api == "completions"
    ids = _ids(VOCABULARIES[0], rng) if may_take_ids else text_of(WORDS_PROBED[0], rng)
    wished = _with(plain, {"ignore_eos": True, **RUNNING})
    first = await probes.ask(wished, ids)
    if not first.problem and (not may_take_ids or _are_ids(first, ids)):
        endpoint, vocabulary = wished, VOCABULARIES[0] if may_take_ids else None
        keeps, counts = first.output_tokens == PROBED_TOKENS, first.counts
    else:
        await _must_answer(probes, plain, text_of(WORDS_PROBED[0], rng))
        endpoint, counts = await _counting(probes, plain, text_of, rng)
        endpoint, keeps = await _keeping(probes, endpoint, text_of, rng)
        vocabulary = await _vocabulary(probes, endpoint, rng) if may_take_ids else None
    per_word, fixed = ASSUMED_TOKENS_PER_WORD, 0
    if vocabulary is None:
        per_word, fixed = await _text_length(probes, endpoint, text_of, rng)
    return Found(
        endpoint=endpoint,
        takes_ids=vocabulary is not None,
        vocabulary=vocabulary or VOCABULARIES[0],
        tokens_per_word=per_word,
        tokens_fixed=fixed,
        keeps_length=keeps,
        counts_tokens=counts,
        requests=probes.sent,
    )


async def _must_answer(probes: _Probes, endpoint: Endpoint, prompt: str) -> None:
    found = await probes.ask(endpoint, prompt)
    if not found.problem:
        return
    where = endpoint.url + APIS[endpoint.api]
    advice = {
        401: "name the variable that holds its key with --api-key-env",
        403: "name the variable that holds its key with --api-key-env",
        404: f"expected the address of an API such as http://HOST:PORT/v1 that has the model "
        f"{endpoint.model!r}, or another --api",
        405: "try another --api",
    }.get(found.http_status, "expected completions as OpenAI's API gives them")
    raise ProfileError(f"{where} gives no completions ({found.problem}): {advice}")


async def _counting(
    probes: _Probes, plain: Endpoint, text_of: Text, rng: np.random.Generator
) -> tuple[Endpoint, str]:
    """Return how tokens are counted, and the endpoint that asks for it."""
    usual = replace(plain, extra={k: v for k, v in plain.extra.items() if k != "stream_options"})
    for wish in (RUNNING, AT_END):
        endpoint = _with(usual, wish)
        found = await probes.ask(endpoint, text_of(WORDS_PROBED[0], rng))
        if not found.problem and found.counts != "no":
            return endpoint, found.counts
    return plain, "no"


async def _keeping(
    probes: _Probes, plain: Endpoint, text_of: Text, rng: np.random.Generator
) -> tuple[Endpoint, bool]:
    """Return whether answers can be held to their length, and the endpoint that asks for it."""
    for endpoint in (_with(plain, {"ignore_eos": True}), replace(plain, min_tokens=True)):
        found = await probes.ask(endpoint, text_of(WORDS_PROBED[0], rng))
        if not found.problem and found.output_tokens == PROBED_TOKENS:
            return endpoint, True
    return plain, False


async def _vocabulary(
    probes: _Probes, endpoint: Endpoint, rng: np.random.Generator
) -> tuple[int, int] | None:
    """Return the token ids that it takes as prompts, or None."""
    for vocabulary in VOCABULARIES:
        ids = _ids(vocabulary, rng)
        if _are_ids(await probes.ask(endpoint, ids), ids):
            return vocabulary
    return None


def _are_ids(found: _Told, ids: tuple[int, ...] | str) -> bool:
    """Whether ids were taken for the tokens: a list may be taken for many prompts, or a text."""
    return not found.problem and found.prompt_tokens == len(ids)


async def _text_length(
    probes: _Probes, endpoint: Endpoint, text_of: Text, rng: np.random.Generator
) -> tuple[float, int]:
    """Return the tokens of one more word in a prompt, and those beside its words."""
    few, many = WORDS_PROBED
    counts = []
    for words in WORDS_PROBED:
        counts.append((await probes.ask(endpoint, text_of(words, rng))).prompt_tokens)
        if counts[-1] is None:
            return ASSUMED_TOKENS_PER_WORD, 0
    low, high = counts[0] or 0, counts[1] or 0
    per_word = (high - low) / (many - few)
    if per_word <= 0:
        return ASSUMED_TOKENS_PER_WORD, 0
    return per_word, max(round(low - per_word * few), 0)


def _ids(vocabulary: tuple[int, int], rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(rng.integers(*vocabulary, size=WORDS_PROBED[0]).tolist())


def _with(endpoint: Endpoint, entries: dict[str, Any]) -> Endpoint:
    return replace(endpoint, extra={**endpoint.extra, **entries})


def _runs(body: bytes) -> bool:
    """Whether a message with content also counts the tokens so far."""
    for line in body.splitlines():
        if line.startswith(b"data:") and line[5:].strip() != b"[DONE]":
            message = json.loads(line[5:])
            if message.get("choices") and message.get("usage"):
                return True
    return False
