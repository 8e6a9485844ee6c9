"""The columns a trace is made of: what each may hold, labels as codes, ragged block ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

FloatColumn: TypeAlias = npt.NDArray[np.float64]
IntColumn: TypeAlias = npt.NDArray[np.int64]
CodeColumn: TypeAlias = npt.NDArray[np.int32]
BoolColumn: TypeAlias = npt.NDArray[np.bool_]

# Beyond this a float64 no longer tells neighbouring whole numbers apart.
_LARGEST_EXACT = 2**53


class Rule(NamedTuple):
    """What a column may hold: the test of its values, and the same in words for an error."""

    ok: Callable[[npt.NDArray[Any]], BoolColumn]
    expected: str


def _is_count(values: npt.NDArray[Any]) -> BoolColumn:
    ok: BoolColumn = (values >= 1) & (values <= _LARGEST_EXACT)
    if values.dtype.kind == "f":
        ok &= values == np.floor(values)
    return ok


def _is_instant(values: npt.NDArray[Any]) -> BoolColumn:
    ok: BoolColumn = (values >= 0) & (values < np.inf)
    return ok


def _is_sla(values: npt.NDArray[Any]) -> BoolColumn:
    ok: BoolColumn = ((values > 0) & (values < np.inf)) | np.isnan(values)
    return ok


_COUNT = Rule(_is_count, "a whole number of tokens >= 1")
RULES = {
    "arrival_s": Rule(_is_instant, "a finite time >= 0"),
    "prompt_tokens": _COUNT,
    "output_tokens": _COUNT,
    "max_tokens": _COUNT,
    "sla_s": Rule(_is_sla, "a finite number of seconds > 0, or nothing for no SLA"),
}


def absent(n: int, dtype: type[np.float64 | np.int64 | np.int32]) -> npt.NDArray[Any]:
    """Return a read-only column of `n` missing values (NaN or -1) in the memory of one."""
    # Stride 0 over an immutable buffer: what a million-row trace lacks costs it nothing.
    value = np.array(np.nan if dtype is np.float64 else -1, dtype)
    return np.ndarray((n,), dtype, buffer=value.tobytes(), strides=(0,))


def is_absent(column: npt.NDArray[Any]) -> bool:
    """Whether `column` came from `absent`, perhaps by way of `take_column` or a slice."""
    return column.strides == (0,) and (
        not len(column) or bool(column[0] == -1 or np.isnan(column[0]))
    )


def take_column(column: npt.NDArray[Any], index: IntColumn) -> npt.NDArray[Any]:
    """Return `column[index]`; an absent column stays one."""
    if column.strides == (0,) and len(index):
        return np.broadcast_to(column[0], len(index))
    taken: npt.NDArray[Any] = column[index]
    return taken


class Labels(NamedTuple):
    """A column of labels: `names[codes[i]]`, where code -1 stands for no label."""

    codes: CodeColumn
    names: tuple[str, ...]

    def decode(self) -> list[str | None]:
        """Return the label of every row, None where there is none."""
        names = (*self.names, None)
        return [names[code] for code in self.codes.tolist()]


def no_labels(n: int) -> Labels:
    """Return `n` rows without a label."""
    return Labels(absent(n, np.int32), ())


def encode_labels(values: Iterable[str | None]) -> Labels:
    """Return `values` as codes and names, the names in the order they first appear."""
    known: dict[str, int] = {}
    codes = [-1 if v is None else known.setdefault(v, len(known)) for v in values]
    return Labels(np.array(codes, dtype=np.int32), tuple(known))


def join_labels(parts: Sequence[Labels]) -> Labels:
    """Return `parts` one after the other; equal names become one."""
    known: dict[str, int] = {}
    columns = []
    for codes, names in parts:
        # The last entry serves code -1.
        table = np.array([*(known.setdefault(v, len(known)) for v in names), -1], dtype=np.int32)
        columns.append(table[codes])
    if not known:
        return no_labels(sum(len(p.codes) for p in parts))
    return Labels(np.concatenate(columns), tuple(known))


def same_labels(a: Labels, b: Labels) -> bool:
    """Whether two columns say the same of every row, however they are coded."""
    if a.names == b.names:
        return bool(np.array_equal(a.codes, b.codes))
    both = join_labels([a, b])
    return bool(np.array_equal(both.codes[: len(a.codes)], both.codes[len(a.codes) :]))


class HashIds(NamedTuple):
    """Ids of the content blocks of each prompt; equal ids mean equal content (prefix caching).

    Attributes
    ----------
    offsets : int64[n + 1], row i owns `ids[offsets[i]:offsets[i + 1]]`
    ids : int64[offsets[-1]]
    block_tokens : tokens in one block
    """

    offsets: IntColumn
    ids: IntColumn
    block_tokens: int

    def row(self, i: int) -> IntColumn:
        """Return the block ids of row `i`."""
        return self.ids[self.offsets[i] : self.offsets[i + 1]]

    def take(self, index: IntColumn) -> HashIds:
        """Return the rows `index`, in that order."""
        starts = self.offsets[:-1][index]
        lengths = self.offsets[1:][index] - starts
        offsets = offsets_of(lengths)
        where = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
        return HashIds(offsets, self.ids[where], self.block_tokens)

    def slice(self, start: int, stop: int) -> HashIds:
        """Return the rows `start` to `stop` without copying the ids."""
        offsets = self.offsets[start : stop + 1]
        ids = self.ids[offsets[0] : offsets[-1]]
        return HashIds(offsets - offsets[0], ids, self.block_tokens)

    def same(self, other: HashIds) -> bool:
        """Whether both hold the same ids in the same rows."""
        return (
            self.block_tokens == other.block_tokens
            and np.array_equal(self.offsets, other.offsets)
            and np.array_equal(self.ids, other.ids)
        )


def offsets_of(lengths: npt.NDArray[np.integer[Any]]) -> IntColumn:
    """Return the offsets (n + 1 of them, from 0) of rows with these lengths."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def join_hash_ids(parts: Sequence[HashIds], *, fresh: bool) -> HashIds:
    """Return `parts` (of one block size) one after the other.

    With `fresh`, the ids of each part are moved past those before it, so that content of one
    part never counts as content of another.
    """
    columns, moved = [], 0
    for part in parts:
        columns.append(part.ids + moved if fresh else part.ids)
        if fresh and len(part.ids):
            moved += int(part.ids.max()) + 1
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    return HashIds(offsets_of(lengths), np.concatenate(columns), parts[0].block_tokens)
