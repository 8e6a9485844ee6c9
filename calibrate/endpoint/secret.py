"""A key is shown nowhere, however a server repeats it."""

from __future__ import annotations

import re

HIDDEN = "***"
SHORTEST = 4
"""Letters of a key's beginning that are taken for it at the end of a message."""

_NAMED = {'"': "quot", "&": "amp", "'": "apos", "<": "lt", ">": "gt"}


def is_visible(text: str) -> bool:
    """Whether a text can be sent in a header: printable ASCII without spaces."""
    return all("!" <= letter <= "~" for letter in text)


def without(key: str, message: str) -> str:
    """Return a message, the key in it made unreadable.

    Also a key that is escaped as in JSON, in an address, in HTML or in a representation, and the
    beginning of one with which the message breaks off.
    """
    if not key:
        return message
    message = re.sub(_pattern(key), HIDDEN, message, flags=re.IGNORECASE)
    for length in range(len(key) - 1, SHORTEST - 1, -1):
        if message.endswith(key[:length]):
            return message[:-length] + HIDDEN
    return message


def bytes_without(key: str, message: bytes) -> bytes:
    """Return bytes, the key in them made unreadable."""
    return without(key, message.decode("latin-1")).encode("latin-1") if key else message


def _pattern(key: str) -> str:
    return "".join(f"(?:{'|'.join(_spellings(letter))})" for letter in key)


def _spellings(letter: str) -> list[str]:
    code = ord(letter)
    named = f"|{_NAMED[letter]}" if letter in _NAMED else ""
    return [
        rf"\\*{re.escape(letter)}",
        rf"\\+u00{code:02x}",
        rf"\\+x{code:02x}",
        f"%{code:02x}",
        f"&(?:#0*{code}|#x0*{code:x}{named});",
    ]
