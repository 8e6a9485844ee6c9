"""From the rows of a file and the layout they follow to a trace."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from traces.chains import chained, rows_of
from traces.checks import refuse_names
from traces.columns import RULES, BoolColumn, FloatColumn, HashIds, offsets_of
from traces.decode import LabelCoder, Values, instants, numbers, offsets, ragged, value_at
from traces.errors import TraceError, brief
from traces.request import Trace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from traces.columns import IntColumn
    from traces.containers import Batch, Table
    from traces.layouts import Layout

# Rows that break a rule, and what to say of one of them.
_Problem = tuple[BoolColumn, Callable[[int], str]]


class Assembly:
    """Collects the batches of one file, then makes the trace."""

    def __init__(self, path: Path, table: Table, layout: Layout, *, skip_bad: bool) -> None:
        self.path, self.table, self.layout, self.skip_bad = path, table, layout, skip_bad
        self.parts: dict[str, list[Any]] = defaultdict(list)
        self.coders = {kind: LabelCoder() for kind, f in layout.labels.items() if self._has(f)}
        # What arrivals are counted from until all are known, in the unit of the file.
        self.origin: int | None = None
        # The first arrival [s after the origin]: time 0 of the trace, unless it stays as written.
        self.first_s: float | None = None
        self.rows_met = 0
        self.without_response = self.bad = self.with_images = self.late = self.orphans = 0
        self.first_bad = ""

    def trace(self, arrivals: Callable[[int], FloatColumn] | None) -> Trace:
        """Return the trace of all rows; `arrivals(n)` makes arrival times where a file has none."""
        for batch in self._batches():
            self._add(batch)
        columns = self._collected()
        n = len(columns.get("output_tokens", ()))
        if not n:
            raise self._empty()
        if arrivals is not None:
            columns["arrival_s"] = arrivals(n)
        else:
            self._count_from_first(columns)
        trace = self._in_order(columns)
        return trace.replace(warnings=self._warnings(n))

    def traces(self) -> Iterator[Trace]:
        """Yield the rows of each batch as a trace, in order of arrival; the last has the warnings.

        Nothing of a batch is kept: labels are coded anew, and arrivals that lie before the batch
        before are an error.
        """
        held: Trace | None = None
        n = 0
        for batch in self._batches():
            self._add(batch)
            columns = self._collected()
            if not len(columns.get("output_tokens", ())):
                continue
            self._count_from_first(columns)
            part = self._in_order(columns)
            n += len(part)
            if held is not None:
                self._refuse_earlier(part, held, batch)
                yield held
            held = part
        if held is None:
            raise self._empty()
        yield held.replace(warnings=self._warnings(n))

    def _batches(self) -> Iterable[Batch]:
        return self.table.read([f for f in self.layout.knows if self._has(f)])

    def _collected(self) -> dict[str, Any]:
        """Return what was collected, as whole columns, and begin anew."""
        columns: dict[str, Any] = {n: np.concatenate(parts) for n, parts in self.parts.items()}
        self.parts.clear()
        for kind, coder in self.coders.items():
            refuse_names(f"{self.path}: {self.layout.labels[kind]}", coder.names)
            columns[f"{kind}s"] = coder.names
            self.coders[kind] = LabelCoder()
        return columns

    def _count_from_first(self, columns: dict[str, Any]) -> None:
        if self.layout.exact:
            return
        if self.first_s is None:
            self.first_s = columns["arrival_s"].min()
        columns["arrival_s"] -= self.first_s

    def _refuse_earlier(self, part: Trace, before: Trace, batch: Batch) -> None:
        if part.arrival_s[0] < before.arrival_s[-1]:
            raise TraceError(
                f"{self.path}: a request between {self.table.where(int(batch.rows[0]))} and "
                f"{self.table.where(int(batch.rows[-1]))} arrives "
                f"{before.arrival_s[-1] - part.arrival_s[0]:g} s before one ahead of it; expected "
                "rows in order of arrival to read batch by batch: saber trace convert writes the "
                "file sorted"
            )

    def _empty(self) -> TraceError:
        return TraceError(
            f"{self.path}: holds no requests{''.join(f'; {w}' for w in self._drops())}"
        )

    def _warnings(self, n: int) -> tuple[str, ...]:
        """Return what a reader of results should be told of the `n` requests read."""
        warnings = self._drops()
        if self.with_images:
            warnings.append(
                f"requests with images: {self.with_images}; images are not modelled, "
                "their tokens are taken as they stand"
            )
        if self.late:
            warnings.append(f"rows out of order, now sorted by arrival: {self.late} of {n}")
        if self.orphans:
            warnings.append(f"requests whose parent is not among those before them: {self.orphans}")
        return tuple(warnings)

    def _has(self, field: str) -> bool:
        return field in self.table.fields

    def _drops(self) -> list[str]:
        drops = []
        if self.without_response:
            drops.append(f"dropped requests without a response: {self.without_response}")
        if self.bad:
            drops.append(f"dropped bad rows: {self.bad}, the first {self.first_bad}")
        return drops

    def _add(self, batch: Batch) -> None:
        columns, problems = self._decoded(batch)
        output = columns["output_tokens"]
        dropped = np.zeros(len(output), dtype=np.bool_)
        if self.layout.failures:
            dropped = output == 0
            self.without_response += int(dropped.sum())
        bad = np.zeros(len(output), dtype=np.bool_)
        for mask, _ in problems:
            bad |= mask
        bad &= ~dropped
        if bad.any() or batch.broken:
            self._meet_bad(batch, bad, problems)
        keep = ~(bad | dropped)
        all_kept = bool(keep.all())
        lengths = columns.pop("block_lengths", None)
        if lengths is not None:
            ids = columns.pop("block_ids")
            self.parts["block_ids"].append(ids[np.repeat(keep, lengths)])
            columns["block_lengths"] = lengths
        if (images := columns.pop("images", None)) is not None:
            self.with_images += int((images[keep] > 0).sum())
        for name, column in columns.items():
            kept = column if all_kept else column[keep]
            whole = name not in ("arrival_s", "sla_s") and kept.dtype.kind == "f"
            self.parts[name].append(kept.astype(np.int64) if whole else kept)

    def _meet_bad(self, batch: Batch, bad: BoolColumn, problems: list[_Problem]) -> None:
        """Raise for the first bad row, or count all and remember the first."""
        row, message = min(batch.broken, default=(np.inf, ""))
        if bad.any() and batch.rows[i := int(bad.argmax())] < row:
            row = int(batch.rows[i])
            message = next(describe(i) for mask, describe in problems if mask[i])
        first = f"{self.table.where(int(row))}: {message}"
        if not self.skip_bad:
            raise TraceError(f"{self.path}: {first}")
        self.first_bad = self.first_bad or first
        self.bad += int(bad.sum()) + len(batch.broken)

    def _decoded(self, batch: Batch) -> tuple[dict[str, Any], list[_Problem]]:
        """Return the columns of a batch (NaN where a value is bad) and what is wrong with it."""
        layout, values = self.layout, batch.values
        columns: dict[str, Any] = {}
        problems: list[_Problem] = []

        def read(name: str, field: str, default: FloatColumn | float | None = None) -> None:
            column, missing = numbers(values[field])
            wrong = missing | ~RULES[name].ok(column)
            if default is not None:
                column = np.where(missing, default, column)
                wrong = ~missing & (~RULES[name].ok(column) | np.isnan(column))
            problems.append((wrong, _says(values, field, RULES[name].expected)))
            columns[name] = column

        if layout.arrival is not None and layout.exact:
            read("arrival_s", layout.arrival)
        elif layout.arrival is not None and layout.unit_s is None:
            seconds, _, self.origin = instants(values[layout.arrival], self.origin)
            expected = "a date and time such as 2023-11-16 18:17:03.9799600"
            problems.append((np.isnan(seconds), _says(values, layout.arrival, expected)))
            columns["arrival_s"] = seconds
        elif layout.arrival is not None and layout.unit_s is not None:
            units, column, _, self.origin = offsets(values[layout.arrival], self.origin)
            rule = RULES["arrival_s"]
            problems.append((~rule.ok(column), _says(values, layout.arrival, rule.expected)))
            columns["arrival_s"] = units * layout.unit_s
        read("prompt_tokens", layout.prompt)
        read("output_tokens", layout.output)
        output = columns["output_tokens"]
        for name, field in layout.options.items():
            if self._has(field):
                read(name, field, output if name == "max_tokens" else np.nan)
        if "max_tokens" in columns:
            say = _says(values, layout.options["max_tokens"], f"at least {layout.output}")
            problems.append((columns["max_tokens"] < output, say))
        for kind, coder in self.coders.items():
            columns[f"{kind}_code"] = coder.codes(values[layout.labels[kind]])
        self._read_extras(batch, columns, problems)
        return columns, problems

    def _read_extras(self, batch: Batch, columns: dict[str, Any], problems: list[_Problem]) -> None:
        layout, values = self.layout, batch.values
        for field in filter(self._has, layout.ones):
            column, missing = numbers(values[field])
            problems.append((~missing & (column != 1), _says(values, field, "1")))
        if layout.images is not None:
            columns["images"], missing = numbers(values[layout.images])
            unclear = ~(columns["images"] >= 0)
            problems.append((unclear, _says(values, layout.images, "a number >= 0")))
        if layout.chain is not None and self._has(layout.chain[1]):
            own, parent = layout.chain
            columns["own_id"] = self._ordinals(batch) if own is None else numbers(values[own])[0]
            column, missing = numbers(values[parent])
            columns["parent_id"] = np.where(missing, -1, column)
            for name, field in (("own_id", own or parent), ("parent_id", parent)):
                wrong = ~((columns[name] >= -1) & (columns[name] == np.floor(columns[name])))
                problems.append((wrong, _says(values, field, "a whole number, or -1 for none")))
        if layout.hash_ids is not None and self._has(layout.hash_ids):
            lengths, ids, wrong = ragged(values[layout.hash_ids])
            problems.append((wrong, _says(values, layout.hash_ids, "a list of whole numbers >= 0")))
            columns["block_lengths"], columns["block_ids"] = lengths, ids
            if isinstance(layout.block_tokens, str):
                column, _ = numbers(values[layout.block_tokens])
                rule = RULES["prompt_tokens"]
                problems.append(
                    (~rule.ok(column), _says(values, layout.block_tokens, rule.expected))
                )
                columns["block_tokens"] = column

    def _ordinals(self, batch: Batch) -> IntColumn:
        """Return the numbers of the batch's rows, bad ones counted and blank lines not."""
        met = np.sort(np.concatenate([batch.rows, [row for row, _ in batch.broken]]))
        first, self.rows_met = self.rows_met, self.rows_met + len(met)
        return first + np.searchsorted(met, batch.rows)

    def _in_order(self, columns: dict[str, Any]) -> Trace:
        layout = self.layout
        own_id, parent_id = columns.pop("own_id", None), columns.pop("parent_id", None)
        if parent_id is not None:
            columns["parent"] = rows_of(own_id, parent_id)
        lengths, sizes = columns.pop("block_lengths", None), columns.pop("block_tokens", None)
        if lengths is not None:
            size = layout.block_tokens if sizes is None else sizes[0]
            if sizes is not None and (sizes != size).any():
                raise TraceError(f"{self.path}: {layout.block_tokens} differs between rows")
            columns["hash_ids"] = HashIds(offsets_of(lengths), columns.pop("block_ids"), int(size))
        arrival = columns["arrival_s"]
        late = int((arrival < np.maximum.accumulate(arrival)).sum())
        self.late += late
        order = np.argsort(arrival, kind="stable")
        trace = Trace.trusted(**columns)
        if late:
            trace = trace.take(order)
        if parent_id is not None:
            trace, orphans = chained(trace, own_id[order], parent_id[order], layout)
            self.orphans += orphans
        stated = "as written" if layout.exact else "seconds from the first"
        meta = {"source": str(self.path), "format": layout.name, "arrivals": stated}
        return trace.replace(meta=meta)


def _says(values: dict[str, Values], field: str, expected: str) -> Callable[[int], str]:
    def describe(i: int) -> str:
        value = value_at(values[field], i)
        if value is None or value == "":
            return f"{field} is missing; expected {expected}"
        return f"{field} is {brief(value)}; expected {expected}"

    return describe
