"""From the values a file holds to numpy columns.

Values come as a list (JSON) or a pyarrow array (CSV: text; Parquet: typed). A decoder returns the
column and a mask of the rows where the value is missing; what cannot be understood becomes NaN.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from traces.columns import BoolColumn, FloatColumn, IntColumn

# A list of whatever JSON holds, or a pyarrow array.
Values: TypeAlias = Any

_ZONE = r"(Z|[+-]\d\d:?\d\d)$"


def value_at(values: Values, i: int) -> object:
    """Return the value of one row as Python has it, for a message."""
    return values[i] if isinstance(values, list) else values[i].as_py()


def numbers(values: Values) -> tuple[FloatColumn, BoolColumn]:
    """Return float64 numbers and where they are missing."""
    if not isinstance(values, list):
        return _arrow_numbers(values)
    if set(map(type, values)) <= {int, float}:
        try:
            return np.array(values, dtype=np.float64), np.zeros(len(values), dtype=np.bool_)
        except OverflowError:
            pass
    missing = np.array([v is None or v == "" for v in values], dtype=np.bool_)
    return np.array([_number(v) for v in values], dtype=np.float64), missing


def _arrow_numbers(values: Values) -> tuple[FloatColumn, BoolColumn]:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type
    if pa.types.is_dictionary(kind):
        values, kind = values.dictionary_decode(), kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        values = pc.if_else(pc.equal(values, ""), None, values)
        try:
            values = values.cast(pa.float64())
        except pa.ArrowInvalid:
            return numbers(values.to_pylist())
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        values = values.cast(pa.float64(), safe=False)
    else:
        return numbers(values.to_pylist())
    return _to_numpy(values), _to_numpy(values.is_null())


def offsets(
    values: Values, origin: int | None
) -> tuple[FloatColumn, FloatColumn, BoolColumn, int | None]:
    """Return numbers less `origin`, the numbers, where they are missing, the origin.

    The origin is a whole number near the first valid one when None is given. Whole numbers are
    subtracted before they become float64, which is too coarse for nanoseconds since 1970.
    """
    column, missing = numbers(values)
    whole, is_whole = _whole_numbers(values)
    valid = np.isfinite(column) & (np.abs(column) < 2**62)
    if origin is None and valid.any():
        origin = int(column[valid.argmax()])
    # Those outside `valid` are not times; their differences would overflow.
    near = np.where(is_whole & valid, whole, origin or 0) - (origin or 0)
    return np.where(is_whole & valid, near, column - (origin or 0)), column, missing, origin


def _whole_numbers(values: Values) -> tuple[IntColumn, BoolColumn]:
    """Return int64 numbers and which rows hold one; the others are 0."""
    if isinstance(values, list):
        is_whole = np.array([type(v) is int and abs(v) < 2**63 for v in values], dtype=np.bool_)
        whole = [v if w else 0 for v, w in zip(values, is_whole.tolist(), strict=True)]
        return np.array(whole, dtype=np.int64), is_whole
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        # Up to 18 digits fit in any case, 19 where the first is below 9.
        digits = pc.match_substring_regex(values, r"^-?([0-8]?\d{1,18})$")
        values = pc.if_else(digits, values, None).cast(pa.int64())
    elif pa.types.is_integer(values.type):
        values = values.cast(pa.int64(), safe=False)  # what overflows is no valid time
    else:
        return np.zeros(len(values), dtype=np.int64), np.zeros(len(values), dtype=np.bool_)
    return _to_numpy(values.fill_null(0)), _to_numpy(values.is_valid())


def _to_numpy(values: Values) -> Any:
    return values.to_numpy(zero_copy_only=False)


def _number(value: object) -> float:
    # float() alone would take True and "1_0".
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return np.nan
    try:
        return float(value) if "_" not in str(value) else np.nan
    except (ValueError, OverflowError):
        return np.nan


def instants(values: Values, origin_ns: int | None) -> tuple[FloatColumn, BoolColumn, int | None]:
    """Return dates and times as seconds after `origin_ns`, where they are missing, the origin.

    Times without a zone are read as UTC. The origin (nanoseconds since 1970) is the first valid
    time when None is given: differences stay exact where a float64 of the date would not be.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(values, list):
        values = pa.array([v if isinstance(v, str) else None for v in values], pa.string())
    nanoseconds = pa.timestamp("ns", "UTC")
    if pa.types.is_timestamp(values.type):
        missing = _to_numpy(values.is_null())
        times = values.cast(pa.timestamp("ns", values.type.tz))
    else:
        values = values.cast(pa.string())
        missing = _to_numpy(pc.or_(values.is_null(), pc.equal(values, "")).fill_null(True))
        zoned = pc.match_substring_regex(values, _ZONE)
        times = pc.if_else(zoned, values, pc.binary_join_element_wise(values, "Z", ""))
        times = pc.if_else(pa.array(missing), None, times)
        try:
            times = times.cast(nanoseconds)
        except pa.ArrowInvalid:
            times = pa.array([_instant(v, nanoseconds) for v in times], nanoseconds)
    unclear = _to_numpy(times.is_null())
    ticks = _to_numpy(times.cast(pa.int64()).fill_null(0))
    if origin_ns is None and not unclear.all():
        origin_ns = int(ticks[unclear.argmin()])
    seconds = np.where(unclear, np.nan, (ticks - (origin_ns or 0)) / 1e9)
    return seconds, missing, origin_ns


def _instant(value: Values, kind: Any) -> Any:
    import pyarrow as pa

    try:
        return value.cast(kind)
    except pa.ArrowInvalid:
        return None


class LabelCoder:
    """Turns labels to codes, batch after batch, names numbered in the order they appear."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def codes(self, values: Values) -> Any:
        """Return the codes of `values`, int32, -1 for missing or empty."""
        if isinstance(values, list):
            return np.array([self._code(value) for value in values], dtype=np.int32)
        import pyarrow as pa

        coded = values.cast(pa.string()).dictionary_encode()
        table = np.array([*map(self._code, coded.dictionary.to_pylist()), -1], dtype=np.int32)
        return table[_to_numpy(coded.indices.fill_null(-1))]

    @property
    def names(self) -> tuple[str, ...]:
        """The names so far, in the order of their codes."""
        return tuple(self._known)

    def _code(self, value: object) -> int:
        if value is None or value == "":
            return -1
        return self._known.setdefault(str(value), len(self._known))


def ragged(values: Values) -> tuple[IntColumn, IntColumn, BoolColumn]:
    """Return the length of each row's list of ids, all ids in a row, and which rows are unclear.

    A list may be written as text, its ids separated by blanks; missing means empty.
    """
    rows = values if isinstance(values, list) else values.to_pylist()
    lists = [_ids(row) for row in rows]
    unclear = np.array([ids is None for ids in lists], dtype=np.bool_)
    lengths = np.array([len(ids or ()) for ids in lists], dtype=np.int64)
    flat = np.fromiter((i for ids in lists for i in ids or ()), np.int64, int(lengths.sum()))
    return lengths, flat, unclear


def _ids(value: object) -> list[int] | None:
    if value is None or value == "":
        return []
    if isinstance(value, str):
        if not re.fullmatch(r"\d+( \d+)*", value):
            return None
        value = [int(word) for word in value.split(" ")]
    if not isinstance(value, list) or not set(map(type, value)) <= {int}:
        return None
    if value and not 0 <= min(value) <= max(value) < 2**63:
        return None
    return value
