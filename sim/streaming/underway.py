"""The requests of a streamed run: taken in as they come, accounted for and let go as they end."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING

import numpy as np

from policies.protocol import PS_PER_S
from sim.intake import instants, pending, refusals_of
from sim.ledger import UNSET, OpenLedger
from sim.result import Result
from sim.setup import overhead_ps
from sim.streaming.running import RunningSummary
from sim.warn import Tally, tally_of
from traces.request import Trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from policies.protocol import Pending
    from sim.cluster.fleet import Replica
    from sim.ledger import ReplicaLedger
    from sim.options import EngineLimits, RunOptions

SETTLE_ROWS = 1 << 13
"""After so many requests have come, those that have ended are accounted for."""


class Underway:
    """What is known of the requests that have come and are not accounted for, by id.

    Attributes
    ----------
    prompt_tokens, output_tokens : dict of int to int
        Lengths, for the engines.
    ledger : OpenLedger
        What has become of them so far.
    """

    def __init__(self, max_model_len: int | None) -> None:
        self.prompt_tokens: dict[int, int] = {}
        self.output_tokens: dict[int, int] = {}
        self.ledger = OpenLedger()
        self._arrival_ps: dict[int, int] = {}
        self._sla_ps: dict[int, int] = {}  # of those that have one
        self._task: dict[int, int] = {}  # of those that have one, as a code of `_tasks`
        self._tasks: dict[str, int] = {}
        self._max_model_len = max_model_len
        self._refusals: list[tuple[EngineLimits, dict[int, str]]] = []

    def refusals(self, limits: EngineLimits) -> dict[int, str]:
        """Return the requests that an engine can never serve: as they come, until they end."""
        found: dict[int, str] = {}
        self._refusals.append((limits, found))
        return found

    def take_in(
        self, part: Trace, first_id: int, arrival_ps: NDArray[np.int64], sla_ps: NDArray[np.int64]
    ) -> None:
        """Take in the requests that come next."""
        ids = range(first_id, first_id + len(part))
        self.prompt_tokens.update(zip(ids, part.prompt_tokens.tolist(), strict=True))
        self.output_tokens.update(zip(ids, part.output_tokens.tolist(), strict=True))
        self._arrival_ps.update(zip(ids, arrival_ps.tolist(), strict=True))
        promised = np.flatnonzero(sla_ps >= 0)
        if len(promised):
            keys = (first_id + promised).tolist()
            self._sla_ps.update(zip(keys, sla_ps[promised].tolist(), strict=True))
        if part.tasks:
            codes = np.array([self._tasks.setdefault(t, len(self._tasks)) for t in part.tasks])
            rows = np.flatnonzero(part.task_code >= 0)
            keys = (first_id + rows).tolist()
            self._task.update(zip(keys, codes[part.task_code[rows]].tolist(), strict=True))
        for limits, found in self._refusals:
            found.update(refusals_of(part, limits, self._max_model_len, first_id))

    def ended(self) -> list[int]:
        """Return the requests that have ended, ascending."""
        return sorted(self.ledger.status)

    def left(self) -> list[int]:
        """Return the requests that were sent and are not accounted for, ascending."""
        return sorted(self.ledger.attempts)

    def take_out(
        self, ids: Sequence[int], fleet: tuple[Replica, ...], options: RunOptions
    ) -> Result:
        """Let requests go; return them as the result of a run of no others, by row."""

        def column(known: dict[int, int], missing: int) -> NDArray[np.int64]:
            return np.fromiter(map(known.pop, ids, repeat(missing)), np.int64, len(ids))

        arrival_ps, sla_ps = column(self._arrival_ps, UNSET), column(self._sla_ps, UNSET)
        part = Trace.trusted(
            arrival_ps / PS_PER_S,
            column(self.prompt_tokens, 0),
            column(self.output_tokens, 0),
            sla_s=np.where(sla_ps < 0, np.nan, sla_ps / PS_PER_S),
            task_code=column(self._task, -1).astype(np.int32),
            tasks=tuple(self._tasks),
        )
        for _, found in self._refusals:
            for request in ids if found else ():
                found.pop(request, None)
        overheads_ps = [
            overhead_ps(kind.profile, options) for kind in fleet for _ in range(kind.count)
        ]
        return Result(
            trace=part,
            policy="",
            fleet=fleet,
            seed=0,
            options=options,
            warnings=(),
            arrival_ps=arrival_ps,
            sla_ps=sla_ps,
            overheads_ps=np.array(overheads_ps, dtype=np.int64),
            ledger=self.ledger.take(ids),
            accounts=(),
        )


class Clerk:
    """Accounts for what has ended: in the summary, for the warnings, and row by row.

    Parameters
    ----------
    underway : Underway
        The requests.
    accounts : sequence of ReplicaLedger
        What the replicas do.
    fleet, options
        Of the run.
    warmup_ps : int
        What comes before is left out of the summary [ps].
    write : callable or None
        Takes the rows of requests, as `Result.requests` has them.

    Attributes
    ----------
    summary : RunningSummary
    tally : Tally
    """

    def __init__(
        self,
        underway: Underway,
        accounts: Sequence[ReplicaLedger],
        fleet: tuple[Replica, ...],
        options: RunOptions,
        warmup_ps: int,
        write: Callable[[pd.DataFrame], None] | None,
    ) -> None:
        self._underway = underway
        self._fleet = fleet
        self._options = options
        self._write = write
        self.summary = RunningSummary(accounts, warmup_ps)
        self.tally = Tally(stored_tokens=(0,) * len(fleet))

    def requests(self, batches: Iterable[Trace]) -> Iterator[Pending]:
        """Yield the requests of a trace, each known from the moment it comes."""
        first_id = 0
        for batch in batches:
            for start in range(0, len(batch), SETTLE_ROWS):
                part = batch[start : start + SETTLE_ROWS]
                self._settle(self._underway.ended())
                arrival_ps, sla_ps = instants(part)
                self._underway.take_in(part, first_id, arrival_ps, sla_ps)
                self.summary.began(arrival_ps)
                yield from pending(part, arrival_ps, sla_ps, first_id)
                first_id += len(part)

    def close(self) -> None:
        """Account for everything that is left when the run is over."""
        self._settle(self._underway.ended())
        left = self._underway.left()
        for start in range(0, len(left), SETTLE_ROWS):
            self._settle(left[start : start + SETTLE_ROWS])

    def _settle(self, ids: Sequence[int]) -> None:
        if ids:
            part = self._underway.take_out(ids, self._fleet, self._options)
            self.summary.take_requests(part.columns, part.ledger)
            self.tally += tally_of(part.trace, self._fleet, part.ledger, ids)
            if self._write is not None:
                self._write(part.requests.assign(id=np.array(ids)))
        self.summary.take_steps()
