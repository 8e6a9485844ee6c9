"""One request, and a trace: the columns of many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, overload

import numpy as np
import numpy.typing as npt

from traces.checks import (
    float_column,
    hash_id_column,
    int_column,
    label_column,
    parent_column,
    refuse_disorder,
    refuse_rows,
    sla_column,
)
from traces.columns import (
    CodeColumn,
    FloatColumn,
    HashIds,
    IntColumn,
    Labels,
    absent,
    is_absent,
    same_labels,
    take_column,
)
from traces.errors import TraceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

__all__ = ["Request", "Trace", "TraceError", "UnloadedLatency"]

LabelsLike = Labels | str | Iterable[str | None]

_NUMBERS = ("arrival_s", "prompt_tokens", "output_tokens", "max_tokens", "sla_s", "parent")
_LABELS = {
    "task": ("task_code", "tasks"),
    "session": ("session_code", "sessions"),
    "tenant": ("tenant_code", "tenants"),
}
_ARRAYS = (*_NUMBERS, *(codes for codes, _ in _LABELS.values()))
_SLOTS = (*_ARRAYS, *(names for _, names in _LABELS.values()), "hash_ids", "meta", "warnings")


class UnloadedLatency(Protocol):
    """Whatever can say how long a request takes alone on an idle engine."""

    def unloaded_s(self, prompt_tokens: IntColumn, output_tokens: IntColumn) -> FloatColumn:
        """Return the seconds from arrival to last token of each request, int64[n] to float64[n]."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """One row of a trace.

    `output_tokens` is what the model will generate and no policy may know; `max_tokens` is what
    the client asked for. `parent` is the row, in the same trace, of the turn this one follows.
    """

    arrival_s: float
    prompt_tokens: int
    output_tokens: int
    max_tokens: int
    task: str | None = None
    sla_s: float | None = None
    session: str | None = None
    parent: int | None = None
    tenant: str | None = None


class Trace:
    """An immutable sequence of requests in order of arrival, held as read-only columns.

    Parameters
    ----------
    arrival_s : float[n], seconds >= 0, ascending
    prompt_tokens, output_tokens : int[n], at least 1
    max_tokens : int[n], what the client asked for, at least `output_tokens` (the default)
    task, session, tenant : a label (or None) for each row, one label for all rows, or `Labels`
    sla_s : float[n] or one number, seconds from arrival to last token; NaN means no SLA
    parent : int[n], an earlier row of this trace, -1 for none
    hash_ids : `HashIds`, the content blocks of the prompts
    meta : what is known of the trace as a whole (source, format, ...)
    warnings : what a reader of results should be told about the trace

    Attributes
    ----------
    arrival_s, sla_s : float64[n]
    prompt_tokens, output_tokens, max_tokens, parent : int64[n]
    task_code, session_code, tenant_code : int32[n], -1 for no label
    tasks, sessions, tenants : the names the codes stand for; a part of a trace keeps them all
    hash_ids, meta, warnings : as given

    Raises
    ------
    TraceError
        A value breaks the rules above; the message names row (from 0), column and value.

    Notes
    -----
    `t[3]` is a `Request`; a slice, a boolean mask or an array of rows gives a `Trace`, always in
    order of arrival. A parent outside the part becomes -1. Traces are equal when all their
    requests are; `meta` and `warnings` do not count.
    """

    __slots__ = _SLOTS
    __hash__ = None  # type: ignore[assignment]  # typeshed declares it callable on object

    arrival_s: FloatColumn
    prompt_tokens: IntColumn
    output_tokens: IntColumn
    max_tokens: IntColumn
    sla_s: FloatColumn
    task_code: CodeColumn
    tasks: tuple[str, ...]
    session_code: CodeColumn
    sessions: tuple[str, ...]
    tenant_code: CodeColumn
    tenants: tuple[str, ...]
    parent: IntColumn
    hash_ids: HashIds | None
    meta: Mapping[str, Any]
    warnings: tuple[str, ...]

    def __init__(
        self,
        arrival_s: npt.ArrayLike,
        prompt_tokens: npt.ArrayLike,
        output_tokens: npt.ArrayLike,
        *,
        max_tokens: npt.ArrayLike | None = None,
        task: LabelsLike | None = None,
        sla_s: npt.ArrayLike | None = None,
        session: LabelsLike | None = None,
        parent: npt.ArrayLike | None = None,
        tenant: LabelsLike | None = None,
        hash_ids: HashIds | None = None,
        meta: Mapping[str, Any] | None = None,
        warnings: Sequence[str] = (),
    ) -> None:
        arrival = float_column("arrival_s", arrival_s)
        n = len(arrival)
        refuse_disorder(arrival)
        output = int_column("output_tokens", output_tokens, n)
        longest = output if max_tokens is None else int_column("max_tokens", max_tokens, n)
        refuse_rows(
            longest < output,
            lambda i: f"max_tokens is {longest[i]}; expected at least output_tokens, {output[i]}",
        )
        given = {"task": task, "session": session, "tenant": tenant}
        labels = {kind: label_column(kind, values, n) for kind, values in given.items()}
        self._fill(
            arrival_s=arrival,
            prompt_tokens=int_column("prompt_tokens", prompt_tokens, n),
            output_tokens=output,
            max_tokens=longest,
            sla_s=sla_column(sla_s, n),
            parent=parent_column(parent, n),
            hash_ids=hash_id_column(hash_ids, n),
            meta={} if meta is None else meta,
            warnings=tuple(warnings),
            **{name: labels[kind].codes for kind, (name, _) in _LABELS.items()},
            **{name: labels[kind].names for kind, (_, name) in _LABELS.items()},
        )

    @classmethod
    def trusted(
        cls,
        arrival_s: FloatColumn,
        prompt_tokens: IntColumn,
        output_tokens: IntColumn,
        **columns: Any,
    ) -> Trace:
        """Return a trace of columns already known to be right: nothing is checked or copied.

        `columns` are further attributes of `Trace` by name; what is left out is absent. The
        arrays are made read-only.
        """
        n = len(arrival_s)
        unlabelled = absent(n, np.int32)
        values: dict[str, Any] = {
            "max_tokens": output_tokens,
            "sla_s": absent(n, np.float64),
            "parent": absent(n, np.int64),
            "task_code": unlabelled,
            "session_code": unlabelled,
            "tenant_code": unlabelled,
            "tasks": (),
            "sessions": (),
            "tenants": (),
            "hash_ids": None,
            "meta": {},
            "warnings": (),
        }
        trace = object.__new__(cls)
        trace._fill(
            arrival_s=arrival_s,
            prompt_tokens=prompt_tokens,
            output_tokens=output_tokens,
            **(values | columns),
        )
        return trace

    def _fill(self, **values: Any) -> None:
        for name, value in values.items():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
            elif name == "hash_ids" and value is not None:
                value.offsets.setflags(write=False)
                value.ids.setflags(write=False)
            elif name == "meta":
                value = MappingProxyType(dict(value))
            object.__setattr__(self, name, value)

    def replace(self, **columns: Any) -> Trace:
        """Return a trace with these attributes in place of its own; like `trusted`, unchecked."""
        return Trace.trusted(**({name: getattr(self, name) for name in _SLOTS} | columns))

    def labels(self, kind: str) -> Labels:
        """Return the labels of `kind`: "task", "session" or "tenant"."""
        codes, names = _LABELS[kind]
        return Labels(getattr(self, codes), getattr(self, names))

    @property
    def span_s(self) -> float:
        """Seconds from the first arrival to the last; 0 for fewer than two requests."""
        return float(self.arrival_s[-1] - self.arrival_s[0]) if len(self) else 0.0

    def with_sla(
        self,
        sla: float | str | Mapping[str, float | str],
        *,
        profile: UnloadedLatency | None = None,
    ) -> Trace:
        """Return the same trace with other SLAs.

        Parameters
        ----------
        sla : seconds for every request; an expression over `unloaded`, `prompt`, `output`,
            `max_tokens`, numbers, + - * / ( ) min max, in seconds; or {task: either of these}
        profile : answers `unloaded`, the seconds the request takes alone on an idle engine

        Raises
        ------
        TraceError
            The expression is not one, a task is unknown or left out, `unloaded` is used without
            a profile, or an SLA comes out non-finite or not above zero.
        """
        from traces.sla import sla_seconds  # it needs this module

        return self.replace(sla_s=sla_seconds(self, sla, profile))

    def to_frame(self) -> pd.DataFrame:
        """Return a DataFrame, a row per request; labels are categorical, `parent` -1 for none."""
        import pandas as pd

        columns: dict[str, Any] = {name: getattr(self, name).copy() for name in _NUMBERS}
        for kind in _LABELS:
            codes, names = self.labels(kind)
            columns[kind] = pd.Categorical.from_codes(codes.copy(), categories=list(names))  # type: ignore[call-overload]  # the stubs know lists of codes only
        order = ("arrival_s", "prompt_tokens", "output_tokens", "max_tokens", "task", "sla_s")
        return pd.DataFrame(
            {name: columns[name] for name in (*order, "session", "parent", "tenant")}
        )

    def take(self, index: IntColumn) -> Trace:
        """Return the rows `index` (int64, all >= 0) in that order, which must be one of arrival."""
        columns: dict[str, Any] = {n: take_column(getattr(self, n), index) for n in _ARRAYS}
        if not is_absent(self.parent):
            place = np.full(len(self) + 1, -1, dtype=np.int64)
            # Backwards, so that the first of several copies of a row is the one children follow.
            place[index[::-1]] = np.arange(len(index) - 1, -1, -1)
            columns["parent"] = place[columns["parent"]]
        if self.hash_ids is not None:
            columns["hash_ids"] = self.hash_ids.take(index)
        return self._part(columns)

    def _slice(self, start: int, stop: int) -> Trace:
        columns: dict[str, Any] = {name: getattr(self, name)[start:stop] for name in _ARRAYS}
        if not is_absent(self.parent):
            columns["parent"] = np.maximum(columns["parent"] - start, -1)
        if self.hash_ids is not None:
            columns["hash_ids"] = self.hash_ids.slice(start, stop)
        return self._part(columns)

    def _part(self, columns: dict[str, Any]) -> Trace:
        if self.max_tokens is self.output_tokens:
            columns["max_tokens"] = columns["output_tokens"]
        return self.replace(**columns)

    @overload
    def __getitem__(self, key: int | np.integer[Any]) -> Request: ...
    @overload
    def __getitem__(self, key: slice | npt.NDArray[Any] | Sequence[int]) -> Trace: ...
    def __getitem__(
        self, key: int | np.integer[Any] | slice | npt.NDArray[Any] | Sequence[int]
    ) -> Request | Trace:
        """Return the request at a row, or the part of the trace a slice, mask or array names."""
        n = len(self)
        if isinstance(key, slice):
            start, stop, step = key.indices(n)
            if step == 1:
                return self._slice(start, max(start, stop))
            return self.take(np.sort(np.arange(start, stop, step)))
        if not isinstance(key, int | np.integer):
            # Numpy's own rules for masks and negative rows, then back into order of arrival.
            return self.take(
                np.sort(np.arange(n)[np.asarray(key, dtype=None if len(key) else int)])
            )
        row = int(key)
        if not -n <= row < n:
            raise IndexError(f"row {row} of a trace of {n} requests")
        row %= n
        sla, parent = float(self.sla_s[row]), int(self.parent[row])
        task, session, tenant = (
            None if codes[row] < 0 else names[codes[row]]
            for codes, names in map(self.labels, _LABELS)
        )
        return Request(
            arrival_s=float(self.arrival_s[row]),
            prompt_tokens=int(self.prompt_tokens[row]),
            output_tokens=int(self.output_tokens[row]),
            max_tokens=int(self.max_tokens[row]),
            task=task,
            sla_s=None if np.isnan(sla) else sla,
            session=session,
            parent=None if parent < 0 else parent,
            tenant=tenant,
        )

    def __len__(self) -> int:
        """Return the number of requests."""
        return len(self.arrival_s)

    def __iter__(self) -> Iterator[Request]:
        """Yield the requests in order of arrival."""
        return map(
            Request,
            self.arrival_s.tolist(),
            self.prompt_tokens.tolist(),
            self.output_tokens.tolist(),
            self.max_tokens.tolist(),
            self.labels("task").decode(),
            (None if s != s else s for s in self.sla_s.tolist()),
            self.labels("session").decode(),
            (None if p < 0 else p for p in self.parent.tolist()),
            self.labels("tenant").decode(),
        )

    def __eq__(self, other: object) -> bool:
        """Whether both hold the same requests."""
        if not isinstance(other, Trace):
            return NotImplemented
        if self.hash_ids is None or other.hash_ids is None:
            same_blocks = self.hash_ids is other.hash_ids
        else:
            same_blocks = self.hash_ids.same(other.hash_ids)
        return (
            same_blocks
            and all(
                np.array_equal(getattr(self, name), getattr(other, name), equal_nan=name == "sla_s")
                for name in _NUMBERS
            )
            and all(same_labels(self.labels(kind), other.labels(kind)) for kind in _LABELS)
        )

    def __repr__(self) -> str:
        """Return size, span and source."""
        source = f" from {self.meta['source']}" if "source" in self.meta else ""
        return f"<Trace: {len(self)} requests over {self.span_s:.6g} s{source}>"

    def __setattr__(self, name: str, value: object) -> NoReturn:
        """Refuse: a trace is immutable."""
        raise AttributeError(f"a Trace is immutable; t.replace({name}=...) returns another")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what is there; what is absent costs nothing in a pickle either."""
        values = {name: getattr(self, name) for name in _SLOTS}
        missing = [name for name in _ARRAYS if is_absent(values[name])]
        missing += ["max_tokens"] if self.max_tokens is self.output_tokens else []
        kept = {name: value for name, value in values.items() if name not in missing}
        return _unpickled, (kept | {"meta": dict(self.meta)},)


def _unpickled(columns: dict[str, Any]) -> Trace:
    return Trace.trusted(**columns)
