"""Traces that are larger than memory: a file read batch by batch, as often as it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from traces.assemble import Assembly
from traces.containers import one_line_errors, open_container
from traces.errors import TraceError, unknown
from traces.formats import recognised
from traces.layouts import FORMATS

if TYPE_CHECKING:
    import os

    from traces.containers import Table
    from traces.layouts import Layout
    from traces.request import Trace, UnloadedLatency

Change: TypeAlias = Callable[["Iterator[Trace]"], "Iterator[Trace]"]


@dataclass(frozen=True)
class Batches:
    """A trace file as batches of requests in order of arrival; iterating reads it anew.

    Attributes
    ----------
    path : Path
        The file.
    rows : int
        The most requests in a batch.
    format : str or None
        One of `traces.layouts.FORMATS`; None detects it.
    skip_bad : bool
        Drop bad rows instead of refusing the file.
    changes : tuple of callable
        What is done to the batches as they are read.
    """

    path: Path
    rows: int
    format: str | None = None
    skip_bad: bool = False
    changes: tuple[Change, ...] = ()

    def __iter__(self) -> Iterator[Trace]:
        """Yield the requests, `rows` at a time; the last batch carries the file's warnings.

        Raises
        ------
        TraceError
            When the row is reached that is wrong, or arrives before the batches ahead of it.
        """
        batches = self._read()
        for change in self.changes:
            batches = change(batches)
        yield from batches

    def with_sla(
        self,
        sla: float | str | Mapping[str, float | str],
        *,
        profile: UnloadedLatency | None = None,
    ) -> Batches:
        """Return the same batches with other SLAs, as `traces.request.Trace.with_sla` gives them.

        A task that occurs in no batch is found when the last has been read.
        """

        def change(batches: Iterator[Trace]) -> Iterator[Trace]:
            met: dict[str, None] = {}
            for batch in batches:
                if isinstance(sla, Mapping):
                    met.update(dict.fromkeys(batch.tasks))
                    here = {task: each for task, each in sla.items() if task in batch.tasks}
                    yield batch.with_sla(here, profile=profile)
                else:
                    yield batch.with_sla(sla, profile=profile)
            for task in sla if isinstance(sla, Mapping) else ():
                if task not in met:
                    raise unknown("task", str(task), tuple(met))

        return self._changed(change)

    def at_rate(self, factor: float) -> Batches:
        """Return the same batches played `factor` times as fast."""
        from traces.transform import scale_rate

        return self._changed(lambda batches: (scale_rate(batch, factor) for batch in batches))

    def _changed(self, change: Change) -> Batches:
        return replace(self, changes=(*self.changes, change))

    def _read(self) -> Iterator[Trace]:
        with one_line_errors(self.path):
            table, layout = self.opened()
            assembly = Assembly(self.path, table, layout, skip_bad=self.skip_bad)
            for part in assembly.traces():
                for start in range(0, len(part), self.rows):
                    last = start + self.rows >= len(part)
                    batch = part[start : start + self.rows]
                    yield batch if last else batch.replace(warnings=())

    def opened(self) -> tuple[Table, Layout]:
        """Return the rows of the file and their layout.

        Raises
        ------
        TraceError
            It is no trace that can be read in batches.
        """
        container = open_container(self.path)
        try:
            table, layout, _ = recognised(container, self.format, None)
        except TraceError as e:
            raise TraceError(f"{self.path}: {e}") from e
        if layout.arrival is None:
            raise TraceError(
                f"{self.path}: has no arrival times ({layout.name}), which a trace read in batches "
                "needs; make them and write the result with saber trace convert"
            )
        if layout.chain is not None and layout.chain[0] is not None:
            raise TraceError(
                f"{self.path}: names its sessions by chains through the whole file "
                f"({layout.name}), which batches cannot follow; expected our own format, as saber "
                "trace convert writes it"
            )
        # Turns wait for no others in a trace that is read in batches.
        return table, replace(layout, chain=None)


def load_batches(
    path: str | os.PathLike[str],
    *,
    rows: int = 1 << 16,
    format: str | None = None,
    skip_bad: bool = False,
) -> Batches:
    """Return the trace in a file as batches of at most `rows` requests, for those beyond memory.

    The batches hold the same requests as `traces.formats.load` returns, at the same instants, but
    for `parent`.  Memory holds two pieces of the file, about two megabytes of text each or 65,536
    rows, whatever its length; a JSON list or a compressed Parquet file is read whole all the same.

    Parameters
    ----------
    path : as for `load`; rows are in order of arrival, at least from piece to piece
    rows : the most requests in a batch
    format : one of `traces.layouts.FORMATS`; detected if None
    skip_bad : drop bad rows and count them in the warnings of the last batch

    Returns
    -------
    Batches
        To be iterated over as often as wanted.

    Raises
    ------
    TraceError
        The file has no arrival times or is no trace; what is wrong further down is found when it
        is read.
    """
    if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
        raise TraceError(f"rows is {rows!r}; expected a whole number of at least 1")
    if format is not None and format not in FORMATS:
        raise unknown("trace format", format, FORMATS)
    batches = Batches(Path(path), rows, format, skip_bad)
    with one_line_errors(batches.path):
        batches.opened()
    return batches
