"""A replay on a real server as a `Result`, so that every summary, file and report takes it."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import numpy as np

from policies.protocol import PS_PER_S
from sim.intake import instants
from sim.ledger import FINISHED, Ledger, ReplicaLedger
from sim.result import Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sim.cluster.fleet import Replica
    from sim.options import RunOptions
    from sim.validate.record import Record, Replayed
    from traces.request import Trace


def as_served(trace: Trace, records: Sequence[Record]) -> Trace:
    """Return the requests of a replay as they arrived and as the server counted them.

    Those that were submitted, at the instants at which they arrived. Prompts have the tokens that
    the server counted where it said; answers that finished have the tokens that came.
    """
    served = trace[: len(records)]
    prompts, outputs = served.prompt_tokens.copy(), served.output_tokens.copy()
    for record in records:
        reply = record.reply
        if reply is None:
            continue
        prompts[record.id] = reply.prompt_tokens or prompts[record.id]
        if record.status == FINISHED:
            outputs[record.id] = reply.output_tokens
    arrival_s = np.array([record.arrival_ps for record in records]) / PS_PER_S
    return served.replace(
        arrival_s=arrival_s,
        prompt_tokens=prompts,
        output_tokens=outputs,
        max_tokens=np.maximum(served.max_tokens, outputs),
    )


def measured_result(
    served: Trace,
    replayed: Replayed,
    policy: str,
    kind: Replica,
    options: RunOptions,
    seed: int,
    warnings: Iterable[str] = (),
) -> Result:
    """Return a replay as a result.

    Instants are those of the client: what the simulator adds as client overhead is in them.  The
    replica counts as busy while any exchange was open, and as up all the time.

    Parameters
    ----------
    served : Trace
        What `as_served` returned.
    replayed : Replayed
    policy : str
        Canonical text of the policy.
    kind : Replica
        The server as the simulation takes it: its profile.
    options : RunOptions
        Those of the simulation.
    seed : int
    warnings : iterable of str
    """
    arrival_ps, sla_ps = instants(served)
    account = ReplicaLedger()
    account.gaps = _gaps(replayed)
    account.busy_ps, account.peak_batch = _busy(replayed)
    account.up_ps.extend((0, replayed.end_ps))
    account.paid_ps.extend((0, replayed.end_ps))
    return Result(
        trace=served,
        policy=policy,
        fleet=(kind,),
        seed=seed,
        options=options,
        warnings=tuple(warnings),
        arrival_ps=arrival_ps,
        sla_ps=sla_ps,
        overheads_ps=np.zeros(1, dtype=np.int64),
        ledger=_ledger(replayed.records),
        accounts=(account,),
    )


def _ledger(records: Sequence[Record]) -> Ledger:
    ledger = Ledger(len(records))
    for record in records:
        id = record.id
        ledger.attempts[id] = 1
        ledger.replica[id] = 0
        ledger.admitted_ps[id] = record.admitted_ps
        ledger.first_token_ps[id] = record.first_token_ps
        ledger.finished_ps[id] = record.finished_ps
        ledger.status[id] = record.status
        ledger.demoted[id] = record.demoted
        if record.reason:
            ledger.reason[id] = record.reason
        if record.gone_ps >= 0:
            ledger.gone_ps[id] = record.gone_ps
        if record.status != FINISHED and record.reply is not None:
            ledger.wasted_tokens += record.reply.output_tokens
    return ledger


def _gaps(replayed: Replayed) -> array[int]:
    """Return a row for each token after a request's first."""
    rows = [np.zeros((0, 5), dtype=np.int64)]
    for record in replayed.records:
        if record.reply is None or len(record.reply.token_s) < 2:
            continue
        since_s = np.array(record.reply.token_s) - replayed.origin_s
        token_ps = np.rint(since_s * PS_PER_S).astype(np.int64)
        own = np.zeros((len(token_ps) - 1, 5), dtype=np.int64)
        own[:, 0], own[:, 1] = token_ps[1:], np.diff(token_ps)
        own[:, 3:] = 1  # one step, one token
        rows.append(own)
    return array("q", np.concatenate(rows).tobytes())


def _busy(replayed: Replayed) -> tuple[array[int], int]:
    """Return the periods in which an exchange was open, and the most that were at a time."""
    changes: list[tuple[int, int]] = []
    for record in replayed.records:
        if record.admitted_ps < 0:
            continue
        over_ps = record.finished_ps if record.finished_ps >= 0 else record.gone_ps
        changes.append((record.admitted_ps, 1))
        changes.append((over_ps if over_ps >= 0 else replayed.end_ps, -1))
    periods, open_now, most = array("q"), 0, 0
    for at_ps, change in sorted(changes, key=lambda each: (each[0], -each[1])):
        if open_now == 0:
            periods.append(at_ps)
        open_now += change
        most = max(most, open_now)
        if open_now == 0:
            periods.append(at_ps)
    return periods, most
