"""The messages of a completion's stream, read once it is over."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


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
    """Return what a stream of server-sent events told, from its bytes and their instants.

    Tokens are counted by the running `usage` of the messages where they have one. Otherwise a
    message with content is a token, and where a final `usage` says that there were more or fewer,
    the surplus goes to the last message, or is dropped from there.

    Raises
    ------
    StreamError
        If a message is no JSON object or tells of an error; `partly_told` has what came before.
    """
    return _told(chunks, strict=True)


def partly_told(chunks: Sequence[tuple[float, bytes]]) -> Told:
    """Return what the sound messages of a broken stream told, up to the first that is not."""
    return _told(chunks, strict=False)


def _told(chunks: Sequence[tuple[float, bytes]], *, strict: bool) -> Told:
    instants: list[float] = []
    total: int | None = None
    prompt_tokens: int | None = None
    finish_reason = ""
    done = False
    try:
        for arrived_s, data in _data(chunks):
            if data == b"[DONE]":
                done = True
                break
            message = _message(data)
            counts = message.get("usage")
            running = None
            if isinstance(counts, dict):
                running = _count(counts.get("completion_tokens"))
                prompt_tokens = _count(counts.get("prompt_tokens")) or prompt_tokens
            choices = message.get("choices")
            choice = choices[0] if isinstance(choices, list) and choices else None
            if running is not None:
                total = running
            if isinstance(choice, dict):
                finish_reason = str(choice.get("finish_reason") or "") or finish_reason
                if running is not None:
                    instants.extend([arrived_s] * (running - len(instants)))
                elif _has_content(choice):
                    instants.append(arrived_s)
    except StreamError:
        if strict:
            raise
    if total is not None and instants:
        instants = (instants + [instants[-1]] * (total - len(instants)))[:total]
    return Told(
        token_s=tuple(instants),
        prompt_tokens=prompt_tokens,
        counted=total is not None,
        finish_reason=finish_reason,
        done=done or bool(finish_reason),
    )


def _data(chunks: Sequence[tuple[float, bytes]]) -> Iterator[tuple[float, bytes]]:
    """Yield the data of each message with the instant at which its line was complete."""
    rest = b""
    for arrived_s, chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield arrived_s, line[5:].strip()
    if rest.startswith(b"data:") and chunks:
        yield chunks[-1][0], rest[5:].strip()


def _message(data: bytes) -> dict[str, Any]:
    try:
        message = json.loads(data)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        raise StreamError(f"a message of the stream is no JSON object: {_shown(data)}")
    if message.get("error"):
        raise StreamError(f"the stream ended with an error: {_shown(json.dumps(message['error']))}")
    return message


def _has_content(choice: dict[str, Any]) -> bool:
    """Whether a message carries generated text; of a chat, more than the role."""
    delta = choice.get("delta")
    if isinstance(delta, dict):
        return any(delta.get(name) for name in ("content", "reasoning", "reasoning_content"))
    return bool(choice.get("text"))


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _shown(data: bytes | str) -> str:
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    return text if len(text) <= 80 else text[:77] + "..."
