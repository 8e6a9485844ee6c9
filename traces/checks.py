"""The checks a column passes before it becomes part of a trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from traces.columns import (
    RULES,
    BoolColumn,
    FloatColumn,
    HashIds,
    IntColumn,
    Labels,
    absent,
    encode_labels,
    no_labels,
)
from traces.errors import TraceError, brief

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def refuse_rows(bad: BoolColumn, message: Callable[[int], str]) -> None:
    """Raise for the first row of `bad`, in the words of `message(row)`."""
    if bad.any():
        i = int(bad.argmax())
        raise TraceError(f"row {i}: {message(i)}")


def _column(
    name: str, values: npt.ArrayLike, n: int | None, dtype: type[np.float64 | np.int64]
) -> npt.NDArray[Any]:
    try:
        given = np.asarray(values)
    except (ValueError, OverflowError) as e:
        raise TraceError(f"{name} is not a column of numbers: {e}") from e
    if given.ndim != 1 or (n is not None and len(given) != n):
        expected = "one dimension" if n is None else f"({n},), one value a request"
        raise TraceError(f"{name} has shape {given.shape}; expected {expected}")
    if not len(given):
        return np.empty(0, dtype)
    if given.dtype.kind not in "iuf":
        raise TraceError(f"{name} holds {given.dtype} values; expected numbers")
    rule = RULES[name]
    refuse_rows(~rule.ok(given), lambda i: f"{name} is {given[i].item()}; expected {rule.expected}")
    return given.astype(dtype)  # a copy: the caller's array stays the caller's


def float_column(name: str, values: npt.ArrayLike, n: int | None = None) -> FloatColumn:
    """Return `values` as a new float64 column that obeys the rule of `name`."""
    return _column(name, values, n, np.float64)


def int_column(name: str, values: npt.ArrayLike, n: int) -> IntColumn:
    """Return `values` as a new int64 column that obeys the rule of `name`."""
    return _column(name, values, n, np.int64)


def sla_column(values: npt.ArrayLike | None, n: int) -> FloatColumn:
    """Return SLAs in seconds: one a row, one for all, or none."""
    if values is None:
        return absent(n, np.float64)
    return float_column("sla_s", np.full(n, values) if np.ndim(values) == 0 else values, n)


def refuse_disorder(arrival_s: FloatColumn) -> None:
    """Raise unless `arrival_s` ascends."""
    refuse_rows(
        np.concatenate([[False], arrival_s[1:] < arrival_s[:-1]]),
        lambda i: (
            f"arrival_s is {arrival_s[i]}, before the row above ({arrival_s[i - 1]}); "
            "expected rows in order of arrival"
        ),
    )


def label_column(name: str, given: Labels | str | Iterable[str | None] | None, n: int) -> Labels:
    """Return `given` as the labels of `n` rows."""
    if given is None:
        return no_labels(n)
    if isinstance(given, Labels):
        codes = np.array(given.codes, dtype=np.int32)
        if len(codes) and not -1 <= codes.min() <= codes.max() < len(given.names):
            raise TraceError(f"{name} has codes outside -1..{len(given.names) - 1}, its names")
        labels = Labels(codes, tuple(given.names))
        if len(set(labels.names)) != len(labels.names):
            raise TraceError(f"{name} has a name twice among {brief(labels.names)}")
    else:
        labels = encode_labels([given] * n if isinstance(given, str) else given)
    if len(labels.codes) != n:
        raise TraceError(f"{name} has {len(labels.codes)} labels; expected {n}, one a request")
    refuse_names(name, labels.names)
    return labels


def refuse_names(name: str, names: Iterable[str]) -> None:
    """Raise unless every label is a printable, non-empty string, so that any file can hold it."""
    for label in names:
        if not isinstance(label, str) or not label or not label.isprintable():
            raise TraceError(f"{name} is {brief(label)}; expected a non-empty, printable text")


def parent_column(values: npt.ArrayLike | None, n: int) -> IntColumn:
    """Return the parents of `n` rows, each an earlier row or -1."""
    if values is None:
        return absent(n, np.int64)
    parent = np.asarray(values)
    if parent.shape != (n,) or (n and parent.dtype.kind not in "iu"):
        raise TraceError(f"parent is {parent.dtype}{parent.shape}; expected {n} row numbers")
    refuse_rows(
        (parent < -1) | (parent >= np.arange(n)),
        lambda i: f"parent is {parent[i]}; expected an earlier row, or -1 for none",
    )
    return parent.astype(np.int64)


def hash_id_column(given: HashIds | None, n: int) -> HashIds | None:
    """Return the block ids of `n` rows, checked and copied."""
    if given is None:
        return None
    offsets = np.array(given.offsets, dtype=np.int64)
    ids = np.array(given.ids, dtype=np.int64)
    if (
        offsets.shape != (n + 1,)
        or offsets[0] != 0
        or offsets[-1] != len(ids)
        or (np.diff(offsets) < 0).any()
    ):
        raise TraceError(f"hash_ids.offsets must rise from 0 to {len(ids)} in {n + 1} entries")
    if given.block_tokens < 1:
        raise TraceError(f"hash_ids.block_tokens is {given.block_tokens}; expected at least 1")
    return HashIds(offsets, ids, int(given.block_tokens))
