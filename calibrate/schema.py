"""Checks that say in one line what is wrong in a profile, and its JSON text."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from difflib import get_close_matches
from numbers import Real
from typing import Any

Pairs = tuple[tuple[float, float], ...]


class ProfileError(ValueError):
    """A profile, its file or its speed points cannot be used; the message is one line."""


def wrong(path: str, value: object, expected: str) -> ProfileError:
    """Return the error "`path` is `value`, expected ..." with a long value cut short."""
    shown = " ".join(repr(value).split())
    if len(shown) > 60:
        shown = shown[:57] + "..."
    return ProfileError(f"{path} is {shown}, expected {expected}")


def number(
    path: str, value: object, *, at_least: float | None = None, above: float | None = None
) -> float:
    """Return `value` as a finite float within the bounds, or raise ProfileError."""
    bound = ""
    if at_least is not None:
        bound = f" >= {at_least:g}"
    elif above is not None:
        bound = f" > {above:g}"
    expected = f"a finite number{bound}"
    # Real covers numpy's numbers too; a bool is an int, but no number anybody meant to write.
    if isinstance(value, bool) or not isinstance(value, Real):
        raise wrong(path, value, expected)
    try:
        result = float(value)
    except OverflowError:
        raise wrong(path, value, expected) from None
    if (
        not math.isfinite(result)
        or (at_least is not None and result < at_least)
        or (above is not None and result <= above)
    ):
        raise wrong(path, value, expected)
    return result


def integer(path: str, value: object, *, at_least: int) -> int:
    """Return `value` as an int of at least `at_least`, or raise ProfileError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise wrong(path, value, f"an integer >= {at_least}")
    return value


def text(path: str, value: object) -> str:
    """Return `value` if it is a text with something in it, or raise ProfileError."""
    if not isinstance(value, str) or not value.strip():
        raise wrong(path, value, "a text that is not empty")
    return value


def iso_date(path: str, value: object) -> str:
    """Return `value` if it is an ISO date, or raise ProfileError."""
    try:
        date.fromisoformat(text(path, value))
    except ValueError:
        raise wrong(path, value, "a date as 2026-01-31") from None
    return str(value)


def token_range(path: str, value: object) -> tuple[int, int]:
    """Return [low, high] with integers 0 <= low <= high as a tuple, or raise ProfileError."""
    items = sequence(path, value, "[low, high]")
    if len(items) != 2:
        raise wrong(path, value, "[low, high]")
    low = integer(f"{path}[0]", items[0], at_least=0)
    return low, integer(f"{path}[1]", items[1], at_least=low)


def sequence(path: str, value: object, expected: str) -> Sequence[Any]:
    """Return `value` if it is a list or tuple, or raise ProfileError."""
    if not isinstance(value, (list, tuple)):
        raise wrong(path, value, expected)
    return value


def numbers(path: str, value: object) -> tuple[float, ...]:
    """Return a non-empty list of finite numbers as floats, or raise ProfileError."""
    items = sequence(path, value, "a list of numbers")
    if not items:
        raise wrong(path, value, "at least one number")
    return tuple(number(f"{path}[{i}]", item) for i, item in enumerate(items))


def pairs(path: str, value: object) -> Pairs:
    """Return [[load, speed], ...] as tuples of floats with load >= 1 and speed > 0."""
    result = []
    for i, item in enumerate(sequence(path, value, "a list of [load, tokens_per_s] pairs")):
        pair = sequence(f"{path}[{i}]", item, "a pair [load, tokens_per_s]")
        if len(pair) != 2:
            raise wrong(f"{path}[{i}]", item, "a pair [load, tokens_per_s]")
        load = number(f"{path}[{i}][0]", pair[0], at_least=1)
        result.append((load, number(f"{path}[{i}][1]", pair[1], above=0)))
    return tuple(result)


def one_of(path: str, value: object, allowed: Collection[str]) -> str:
    """Return `value` if it is one of `allowed`, or raise ProfileError with the nearest one."""
    if not isinstance(value, str) or value not in allowed:
        raise wrong(path, value, f"one of {', '.join(allowed)}{nearest(value, allowed)}")
    return value


def block(
    path: str,
    value: object,
    *,
    required: Sequence[str] = (),
    optional: Sequence[str] = (),
) -> Mapping[str, Any]:
    """Return a JSON object that has every required key and no unknown one.

    An empty `path` is the top level of the file. Raises ProfileError that names the key.
    """
    here = path or "the profile"
    if not isinstance(value, Mapping):
        raise wrong(here, value, "a JSON object")
    known = (*required, *optional)
    for key in value:
        if key not in known:
            raise ProfileError(
                f"{here} has the unknown key {key!r}, expected one of "
                f"{', '.join(known)}{nearest(key, known)}"
            )
    for key in required:
        if key not in value:
            raise ProfileError(f"{here} lacks the key {key!r}")
    return value


def free_block(path: str, value: object) -> dict[str, Any]:
    """Return a JSON object whose keys are free, as a dict, or raise ProfileError."""
    if not isinstance(value, Mapping):
        raise wrong(path, value, "a JSON object")
    return dict(value)


def nearest(value: object, allowed: Iterable[str]) -> str:
    """Return "; did you mean X?" for the closest of `allowed`, or an empty text."""
    typed, names = str(value), list(allowed)
    matches = get_close_matches(typed, names, n=1)
    # A beginning is what people remember of a long name, and too short to be a close match.
    matches += [name for name in names if len(typed) > 2 and name.startswith(typed)]
    return f"; did you mean {matches[0]!r}?" if matches else ""


def plain(value: float) -> float | int:
    """Return a whole float as an int, so that a file says 16 and not 16.0."""
    return int(value) if value.is_integer() else value


def parse_json(data: str) -> Any:
    """Return the JSON value in `data`; ProfileError for anything else, NaN included."""

    def no_constant(name: str) -> float:
        raise ValueError(f"{name} is not a JSON number")

    try:
        return json.loads(data, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise ProfileError(f"not a JSON file: {error}") from None


def json_text(value: object, *, indent: int = 0, lead: int = 0, width: int = 100) -> str:
    """Return `value` as JSON whose short parts stay on one line and long lists are packed.

    `lead` is the number of characters already on the line. The text reads back to an equal
    value; a number that JSON does not have (NaN, infinity) raises ValueError.
    """
    flat = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if indent + lead + len(flat) <= width or not isinstance(value, (Mapping, list, tuple)):
        return flat
    inner = indent + 2
    if isinstance(value, Mapping):
        entries = []
        for key, item in value.items():
            name = json.dumps(key, ensure_ascii=False) + ": "
            entries.append(name + json_text(item, indent=inner, lead=len(name) + 1, width=width))
        opening, closing = "{", "}"
    else:
        items = (json_text(item, indent=inner, lead=1, width=width) for item in value)
        entries = _packed(items, width - inner)
        opening, closing = "[", "]"
    body = (",\n" + " " * inner).join(entries)
    return f"{opening}\n{' ' * inner}{body}\n{' ' * indent}{closing}"


def _packed(items: Iterable[str], width: int) -> list[str]:
    """Return the items joined into lines of at most `width`, a multi-line item on its own."""
    lines: list[str] = []
    for item in items:
        fits = lines and len(lines[-1]) + len(item) + 3 <= width
        if fits and "\n" not in item and "\n" not in lines[-1]:
            lines[-1] += ", " + item
        else:
            lines.append(item)
    return lines
