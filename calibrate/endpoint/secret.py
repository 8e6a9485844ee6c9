"""A key is shown nowhere, however a server repeats it."""

from __future__ import annotations

import re
from string import ascii_lowercase, ascii_uppercase

HIDDEN = "***"
SHORTEST = 4
"""Letters of a key's beginning that are taken for it at the end of a message."""

_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)
_NAMES = {"quot": '"', "amp": "&", "apos": "'", "lt": "<", "gt": ">"}
_SPELLINGS = re.compile(
    r"\\+(?:u00|x)(?P<escape>[0-9a-f]{2})|%(?P<percent>[0-9a-f]{2})"
    r"|&#x0*(?P<hex>[0-9a-f]{2});|&#0*(?P<decimal>[0-9]{2,3});"
    rf"|&(?P<name>{'|'.join(_NAMES)});|\\+",
    re.IGNORECASE,
)


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
    wanted, _ = _plain(key)
    plain, places = _plain(message)
    parts, at = [], 0
    found = plain.find(wanted)
    while found >= 0:
        parts += [message[at : places[found]], HIDDEN]
        after = found + len(wanted)
        at = places[after]
        found = plain.find(wanted, after)
    for length in range(len(wanted) - 1, SHORTEST - 1, -1):
        start = len(plain) - length
        if plain.endswith(wanted[:length]) and places[start] >= at:
            return "".join([*parts, message[at : places[start]], HIDDEN])
    return "".join([*parts, message[at:]])


def bytes_without(key: str, message: bytes) -> bytes:
    """Return bytes, the key in them made unreadable."""
    return without(key, message.decode("latin-1")).encode("latin-1") if key else message


def _plain(message: str) -> tuple[str, list[int]]:
    """Return a message in small letters, nothing in it escaped, and where each letter was.

    One more place is that of the end.
    """
    parts: list[str] = []
    places: list[int] = []
    at = 0
    for match in _SPELLINGS.finditer(message):
        start, end = match.span()
        parts.append(message[at:start])
        places.extend(range(at, start))
        letter = _letter(match)
        if letter:
            parts.append(letter)
            places.append(start)
        at = end
    parts.append(message[at:])
    places.extend(range(at, len(message) + 1))
    return "".join(parts).translate(_LOWER), places


def _letter(match: re.Match[str]) -> str:
    """Return what an escape stands for: nothing for a lone backslash."""
    kind, code = match.lastgroup, match[match.lastgroup or 0]
    if kind is None:
        return ""
    if kind == "name":
        return _NAMES[code.lower()]
    return chr(int(code, 10 if kind == "decimal" else 16))
