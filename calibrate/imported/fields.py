"""Values out of others' JSON: checked, with their place in the file where one is wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from calibrate.schema import ProfileError, integer, number, sequence, wrong

ERROR_LENGTH = 200
"""Of a traceback in place of an error only so much is kept, from its last line."""


def at(data: object, *path: str) -> Any:
    """Return what is at a path of keys, None where there is nothing."""
    for key in path:
        if not isinstance(data, Mapping):
            return None
        data = data.get(key)
    return data


def first_text(*values: object) -> str:
    """Return the first of the values that is a text with something in it, else an empty one."""
    return next((v.strip() for v in values if isinstance(v, str) and v.strip()), "")


def seconds(path: str, value: object) -> float:
    """Return a finite number of at least 0, or raise ProfileError."""
    return number(path, value, at_least=0)


def instant(path: str, value: object) -> float:
    """Return a finite number, or raise ProfileError."""
    return number(path, value)


def count(path: str, value: object, *, at_least: int = 0) -> int:
    """Return a whole number; some writers have it as a float."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return integer(path, value, at_least=at_least)


def optional_count(path: str, value: object, *, at_least: int = 1) -> int | None:
    """Return a whole number, or None for none."""
    return None if value is None else count(path, value, at_least=at_least)


def objects(path: str, value: object) -> Sequence[Mapping[str, Any]]:
    """Return a list of JSON objects, or raise ProfileError."""
    items = sequence(path, value, "a list of JSON objects")
    for i, item in enumerate(items):
        if not isinstance(item, Mapping):
            raise wrong(f"{path}[{i}]", item, "a JSON object")
    return items


def times(path: str, value: object, *, rising: bool) -> tuple[float, ...]:
    """Return a list of seconds: instants that never fall, or else durations of at least 0."""
    items = sequence(path, value, "a list of seconds")
    try:
        found = np.asarray(items, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        found = np.array([math.nan])
    if found.ndim == 1 and np.isfinite(found).all():
        steps = np.diff(found) if rising else found
        if not (steps < 0).any():
            return tuple(found.tolist())
    for i, item in enumerate(items):
        number(f"{path}[{i}]", item, **({} if rising else {"at_least": 0}))
    raise ProfileError(f"{path} goes back in time, expected instants in order")


def short_error(value: object) -> str:
    """Return an error as one line: the last one of a traceback."""
    lines = str(value).strip().splitlines()
    return " ".join(lines[-1].split())[:ERROR_LENGTH] if lines else ""
