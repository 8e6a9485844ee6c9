"""From the account of a run to the numbers of its summary; the definitions are model.md's.

Latencies are over finished requests, goodput is over all submitted ones that have an objective.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from policies.protocol import PS_PER_S
from sim.gaps import gap_rows, pooled_mean, pooled_percentiles
from sim.ledger import FINISHED, STATUSES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from sim.ledger import Ledger, ReplicaLedger
    from traces.request import Trace

PERCENTILES = (50, 90, 95, 99)


@dataclass(frozen=True, eq=False)
class Columns:
    """The submitted requests of a run as arrays, in trace order.

    Attributes
    ----------
    id, prompt_tokens, output_tokens : ndarray of int64
        Position in the trace, and lengths.
    arrival_ps, ttft_ps, e2e_ps, sla_ps : ndarray of int64
        Arrival; latencies as the client sees them, -1 where they did not come; -1 for no SLA.
    status : ndarray of uint8
        Codes of `sim.ledger.STATUSES`.
    has_objective, met : ndarray of bool
        Whether the request counts for goodput, and whether it met what it was promised.
    """

    id: NDArray[np.int64]
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    arrival_ps: NDArray[np.int64]
    ttft_ps: NDArray[np.int64]
    e2e_ps: NDArray[np.int64]
    sla_ps: NDArray[np.int64]
    status: NDArray[np.uint8]
    has_objective: NDArray[np.bool_]
    met: NDArray[np.bool_]

    def tpot_ps(self) -> NDArray[np.float64]:
        """Return mean time per output token after the first [ps]; NaN for one-token outputs."""
        after_first = self.output_tokens - 1
        tpot = np.full(len(self.id), np.nan)
        np.divide(self.e2e_ps - self.ttft_ps, after_first, out=tpot, where=after_first > 0)
        return tpot

    def where(self, mask: NDArray[np.bool_]) -> Columns:
        """Return the requests that `mask` selects."""
        return Columns(**{name: getattr(self, name)[mask] for name in self.__dataclass_fields__})


def columns_of(
    trace: Trace,
    ledger: Ledger,
    arrival_ps: NDArray[np.int64],
    sla_ps: NDArray[np.int64],
    overheads_ps: NDArray[np.int64],
    goodput_ms: Mapping[str, float] | None,
) -> Columns:
    """Return the submitted requests with their latencies and whether they met their objective.

    `overheads_ps` is the client overhead of each replica.
    """
    ids = np.flatnonzero(np.frombuffer(ledger.attempts, dtype=np.int32))
    status = np.frombuffer(ledger.status, dtype=np.uint8)[ids]
    arrival = arrival_ps[ids]
    # -1, sent nowhere, picks the last one's: such a request has no latencies.
    overhead_ps = overheads_ps[np.frombuffer(ledger.replica, dtype=np.int16)[ids]]

    def latency(instants: Sequence[int]) -> NDArray[np.int64]:
        instant = np.frombuffer(instants, dtype=np.int64)[ids]  # type: ignore[call-overload]
        return np.where(instant < 0, -1, instant - arrival + overhead_ps)

    columns = Columns(
        id=ids,
        prompt_tokens=trace.prompt_tokens[ids],
        output_tokens=trace.output_tokens[ids],
        arrival_ps=arrival,
        ttft_ps=latency(ledger.first_token_ps),
        e2e_ps=latency(ledger.finished_ps),
        sla_ps=sla_ps[ids],
        status=status,
        has_objective=sla_ps[ids] >= 0,
        met=np.zeros(len(ids), dtype=bool),
    )
    finished = status == FINISHED
    if goodput_ms is None:
        columns.met[:] = finished & columns.has_objective & (columns.e2e_ps <= columns.sla_ps)
        return columns
    columns.has_objective[:] = True
    met = finished.copy()
    observed = {"ttft": columns.ttft_ps, "tpot": columns.tpot_ps(), "e2el": columns.e2e_ps}
    for key, limit_ms in goodput_ms.items():
        # A one-token output has no TPOT and satisfies any limit on it, as in vLLM.
        met &= ~(observed[key] > np.rint(limit_ms * (PS_PER_S / 1000)))
    columns.met[:] = met
    return columns


def summarise(
    columns: Columns,
    accounts: Sequence[ReplicaLedger],
    ledger: Ledger,
    warmup_ps: int,
    prices_per_h: Sequence[float | None],
) -> dict[str, Any]:
    """Return the summary of a run; what is not defined is None."""
    if warmup_ps:
        columns = columns.where(columns.arrival_ps >= warmup_ps)
    finished = columns.where(columns.status == FINISHED)
    objectives = int(columns.has_objective.sum())
    met = int(columns.met.sum())
    start_ps = int(columns.arrival_ps.min()) if len(columns.id) else 0
    end_ps = int((finished.arrival_ps + finished.e2e_ps).max()) if len(finished.id) else start_ps
    duration_s = (end_ps - start_ps) / PS_PER_S
    tpot = finished.tpot_ps()
    has_sla = finished.sla_ps > 0
    ratio = finished.e2e_ps[has_sla] / finished.sla_ps[has_sla]
    rows = gap_rows(accounts, warmup_ps)
    return {
        "requests": len(columns.id),
        "goodput_pct": 100 * met / objectives if objectives else None,
        "goodput_rps": met / duration_s if objectives and duration_s else None,
        "ttft_s": _distribution(finished.ttft_ps),
        "tpot_s": _distribution(tpot[~np.isnan(tpot)]),
        "itl_s": named(pooled_mean(rows), pooled_percentiles(rows, PERCENTILES)),
        "e2e_s": _distribution(finished.e2e_ps),
        "sla_ratio": _ratio(ratio),
        "throughput_tok_s": int(finished.output_tokens.sum()) / duration_s if duration_s else None,
        "utilisation": _utilisation(accounts, start_ps, end_ps),
        "duration_s": duration_s,
        "statuses": {
            name: int((columns.status == code).sum()) for code, name in enumerate(STATUSES)
        },
        "preemptions": int(_of(ledger.preemptions, np.int32)[columns.id].sum()),
        "demoted": int(_of(ledger.demoted, np.uint8)[columns.id].sum()),
        "prefix_hit_pct": prefix_hit_pct(accounts),
        "attempts": int(_of(ledger.attempts, np.int32)[columns.id].sum()),
        "wasted_tokens": ledger.wasted_tokens,
        **costs(accounts, prices_per_h, start_ps, end_ps),
    }


def _of(buffer: Any, dtype: type[np.generic]) -> NDArray[Any]:
    return np.frombuffer(buffer, dtype=dtype)


def _distribution(values_ps: NDArray[Any]) -> dict[str, float | None]:
    if not len(values_ps):
        return named(float("nan"), [float("nan")] * len(PERCENTILES))
    return named(float(values_ps.mean()), np.percentile(values_ps, PERCENTILES).tolist())


def named(mean_ps: float, percentiles_ps: Sequence[float]) -> dict[str, float | None]:
    """Return a mean and the `PERCENTILES` by name [s]; NaN becomes None."""
    named = {"mean": mean_ps}
    named |= {f"p{p}": value for p, value in zip(PERCENTILES, percentiles_ps, strict=True)}
    return {key: None if np.isnan(ps) else float(ps) / PS_PER_S for key, ps in named.items()}


def _ratio(ratio: NDArray[np.float64]) -> dict[str, float | None]:
    """Return mean, population standard deviation and coefficient of variation of E2E / SLA."""
    if not len(ratio):
        return {"mean": None, "std": None, "cv": None}
    mean, std = float(ratio.mean()), float(ratio.std())
    return {"mean": mean, "std": std, "cv": std / mean}


def _utilisation(accounts: Sequence[ReplicaLedger], start_ps: int, end_ps: int) -> float | None:
    """Return busy replica-seconds over available ones between two instants."""
    busy_ps = sum(periods_within(account.busy_ps, start_ps, end_ps) for account in accounts)
    up_ps = sum(periods_within(account.up_ps, start_ps, end_ps) for account in accounts)
    return busy_ps / up_ps if up_ps else None


def prefix_hit_pct(accounts: Sequence[ReplicaLedger]) -> float | None:
    """Return the share of prompt tokens found in the prefix cache; None without one."""
    queried = sum(account.prefix_query_tokens for account in accounts)
    hit = sum(account.prefix_hit_tokens for account in accounts)
    return 100 * hit / queried if queried else None


def costs(
    accounts: Sequence[ReplicaLedger],
    prices_per_h: Sequence[float | None],
    start_ps: int,
    end_ps: int,
) -> dict[str, float | None]:
    """Return the hours that were paid for, and what they cost if every price is known."""
    hours = [
        periods_within(account.paid_ps, start_ps, end_ps) / PS_PER_S / 3600 for account in accounts
    ]
    cost: float | None = 0.0
    for each, price in zip(hours, prices_per_h, strict=True):
        cost = None if cost is None or price is None else cost + each * price
    return {"replica_hours": sum(hours), "cost": cost}


def periods_within(periods: Any, start_ps: int, end_ps: int) -> int:
    """Return how much of the periods, pairs of start and end, lies between two instants."""
    overlap = np.clip(_of(periods, np.int64).reshape(-1, 2), start_ps, end_ps)
    return int((overlap[:, 1] - overlap[:, 0]).sum())
