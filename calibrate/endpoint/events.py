"""The messages of a completion's stream, heard as they come."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_GENERATED, MOST_PROMPTED = 2**20, 2**30
"""A server that counts more tokens in one stream is not believed."""

CONTENT = ("content", "reasoning", "reasoning_content", "refusal", "tool_calls")
_SPOKEN, _SILENT, _LAST = range(3)  # with content; without; without, and with the reason to end


class StreamError(ValueError):
    """A stream that is not what a completion's stream is."""


@dataclass(frozen=True)
class Told:
    """What a stream told.

    Parameters
    ----------
    token_s : tuple of float
        When each token arrived.
    prompt_tokens : int or None
    counted : bool
        Whether the server said how many tokens there were.
    finish_reason : str
        As the server gave it; empty where it did not.
    done : bool
        Whether it was closed as it should be: by a finish reason or by "[DONE]".
    """

    token_s: tuple[float, ...]
    prompt_tokens: int | None
    counted: bool
    finish_reason: str
    done: bool


def told(chunks: Sequence[tuple[float, bytes]]) -> Told:
    """Return what a whole stream told, from its bytes and their instants; see `Stream`."""
    stream = Stream()
    for arrived_s, chunk in chunks:
        stream.hear(arrived_s, chunk)
    stream.end()
    return stream.told()


class Stream:
    """A completion's stream of server-sent events, heard piece by piece.

    Tokens are counted by the running `usage` of the messages where they have one. Otherwise a
    message with content is a token, and the final `usage` corrects it: where that counts more,
    messages without content are tokens too (of those whose text is empty), and what is still
    missing came with the last message; where it counts less, the last ones are dropped.

    Parameters
    ----------
    most_bytes : int, optional
        A stream longer than this is given up: a server may send no end of it.

    Attributes
    ----------
    tokens : int
        As far as they can be counted yet.
    first_s : float or None
        When the first of them arrived.
    closed : bool
        Whether "[DONE]" was heard; what follows is not looked at.
    events : int
        Messages so far: none in an answer that is no such stream.
    """

    def __init__(self, most_bytes: int | None = None) -> None:
        self._left = math.inf if most_bytes is None else most_bytes
        self.tokens = 0
        self.first_s: float | None = None
        self.closed = False
        self.events = 0
        self._rest = bytearray()
        self._rest_s = 0.0
        self._seen: list[tuple[float, int]] = []
        self._total: int | None = None
        self._prompt_tokens: int | None = None
        self._finish_reason = ""

    def hear(self, arrived_s: float, chunk: bytes) -> None:
        """Hear the next bytes, which arrived at `arrived_s`.

        Raises
        ------
        StreamError
            If a message is no JSON object or tells of an error, or the stream is too long; what
            came before it counts all the same.
        """
        if self.closed:
            return
        self._rest_s = arrived_s
        self._left -= len(chunk)
        if self._left < 0:
            raise StreamError("the stream is longer than its tokens can be")
        if b"\r" in chunk:  # a line may end with it too, and JSON has none
            chunk = chunk.replace(b"\r", b"\n")
        first, newline, others = chunk.partition(b"\n")
        self._rest += first
        if not newline:
            return
        line = bytes(self._rest)
        self._rest.clear()
        *lines, rest = others.split(b"\n")
        self._rest += rest
        self._line(arrived_s, line)
        for line in lines:
            self._line(arrived_s, line)

    def end(self) -> None:
        """Hear that there is no more: a last line need not be closed; raises as `hear`."""
        line = bytes(self._rest)
        self._rest.clear()
        self._line(self._rest_s, line)

    def told(self) -> Told:
        """Return what was heard so far."""
        instants = tuple(instant for instant, kind in self._seen if kind == _SPOKEN)
        total = self._total
        if total:
            for most in (_LAST, _SILENT, _SPOKEN):
                instants = tuple(instant for instant, kind in self._seen if kind <= most)
                if len(instants) <= total:
                    break
            instants = (instants + instants[-1:] * (total - len(instants)))[:total]
        return Told(
            token_s=instants,
            prompt_tokens=self._prompt_tokens,
            counted=bool(total),
            finish_reason=self._finish_reason,
            done=self.closed or bool(self._finish_reason),
        )

    def _line(self, arrived_s: float, line: bytes) -> None:
        if self.closed or not line.startswith(b"data:"):
            return
        data = line[5:].strip()
        if data == b"[DONE]":
            self.closed = True
        elif data:
            self._message(arrived_s, _object(data))
        self.events += 1

    def _message(self, arrived_s: float, message: dict[str, Any]) -> None:
        counts = message.get("usage")
        running = 0
        if isinstance(counts, dict):
            running = _count(counts.get("completion_tokens"), MOST_GENERATED)
            prompted = _count(counts.get("prompt_tokens"), MOST_PROMPTED)
            self._prompt_tokens = prompted or self._prompt_tokens
            self._total = running or self._total
        choices = message.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            return
        reason = choice.get("finish_reason")
        ends = isinstance(reason, str) and bool(reason)
        if ends:
            self._finish_reason = str(reason)
        if running:
            self._add(arrived_s, _SPOKEN, running - self.tokens)
        elif _has_content(choice):
            self._add(arrived_s, _SPOKEN, 1)
        elif not _is_greeting(choice):
            self._seen.append((arrived_s, _LAST if ends else _SILENT))

    def _add(self, arrived_s: float, kind: int, tokens: int) -> None:
        if tokens > 0:
            self._seen.extend([(arrived_s, kind)] * tokens)
            self.tokens += tokens
            if self.first_s is None:
                self.first_s = arrived_s


def _object(data: bytes) -> dict[str, Any]:
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise _broken("a message of the stream is no JSON object", data)
    if message.get("error") or message.get("object") == "error":
        raise _broken("the stream ended with an error", data)
    return message


def _broken(problem: str, data: bytes) -> StreamError:
    return StreamError(f"{problem}: {data.decode('utf-8', 'replace')}")


def _has_content(choice: dict[str, Any]) -> bool:
    """Whether a message carries generated text; of a chat, more than the role."""
    delta = choice.get("delta")
    if isinstance(delta, dict):
        return any(isinstance(delta.get(name), str | list) and delta[name] for name in CONTENT)
    return isinstance(choice.get("text"), str) and bool(choice["text"])


def _is_greeting(choice: dict[str, Any]) -> bool:
    """Whether a message says no more than who speaks, as the first of a chat does."""
    delta = choice.get("delta")
    return isinstance(delta, dict) and bool(delta.get("role"))


def _count(value: object, most: int) -> int:
    """Return a number of tokens; 0 where none is told that can be believed."""
    return value if type(value) is int and 0 < value <= most else 0
