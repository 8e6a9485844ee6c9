"""What was wrong with an answer or a connection, in one line."""

from __future__ import annotations

import json
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST_WAIT_S = 86_400.0
"""A server that asks to be left alone for longer means something else."""

_NAMES = {
    "ConnectError": "no connection",
    "ReadError": "the connection was lost",
    "WriteError": "the connection was lost while sending",
    "RemoteProtocolError": "the server broke off or does not speak HTTP",
    "ConnectTimeout": "no connection in time",
    "ReadTimeout": "no answer in time",
    "WriteTimeout": "the server took no more of the request",
}


def one_line(message: str, most: int) -> str:
    """Return a message in one line of at most `most` letters that a terminal can show."""
    words = "".join(letter if letter.isprintable() else " " for letter in message).split()
    line = " ".join(words)
    return line if len(line) <= most else line[: most - 3] + "..."


def json_of(body: bytes) -> Any:
    """Return the JSON value of a body, or None where it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def said(body: bytes) -> str:
    """Return the message in an error's body, in one line."""
    value = json_of(body)
    if value is None:
        value = body.decode("utf-8", "replace")
    for name in ("error", "message", "detail"):
        if isinstance(value, dict) and name in value:
            value = value[name]
    return one_line(str(value), 160)


def problem_of(error: Exception) -> str:
    """Return what was wrong with a connection, in a few words."""
    message = " ".join(str(error).split())
    kind = type(error).__name__
    return f"{_NAMES.get(kind, kind)}{f' ({message})' if message else ''}"


def retry_after_s(headers: Iterable[tuple[bytes, bytes]]) -> float | None:
    """Return how long a server wants to be left alone, told as seconds or as a date, or None."""
    found = {name.lower(): value.decode("ascii", "replace") for name, value in headers}
    value = found.get(b"retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        at_s = _instant_s(value)
        if at_s is None:
            return None
        now_s = _instant_s(found.get(b"date", ""))
        seconds = max(at_s - (time.time() if now_s is None else now_s), 0.0)
    return seconds if 0 <= seconds < LONGEST_WAIT_S else None


def _instant_s(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
