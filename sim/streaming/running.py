"""The summary of a run taken while it goes on, from requests and token gaps that are then dropped.

The definitions are those of `sim.summary`; percentiles are from histograms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from policies.protocol import PS_PER_S
from sim.gaps import GAP, GROWTH, STEPS, TOKENS, gap_rows
from sim.ledger import FINISHED, STATUSES
from sim.streaming.histogram import Histogram
from sim.summary import PERCENTILES, costs, named, periods_within, prefix_hit_pct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sim.ledger import Ledger, ReplicaLedger
    from sim.summary import Columns


class RunningSummary:
    """Takes in requests that have ended and what replicas did, in any order of ending.

    Parameters
    ----------
    accounts : sequence of ReplicaLedger
        Of every replica; their gaps and busy periods are emptied as they are taken in.
    warmup_ps : int
        Requests that arrived and tokens that came before this instant [ps] are left out.
    """

    def __init__(self, accounts: Sequence[ReplicaLedger], warmup_ps: int) -> None:
        self._accounts = accounts
        self._warmup_ps = warmup_ps
        self._ttft, self._tpot, self._itl, self._e2e = (Histogram() for _ in range(4))
        self._ratio = _Moments()
        self._statuses = np.zeros(len(STATUSES), dtype=np.int64)
        self._objectives = self._met = 0
        self._output_tokens = 0
        self._preemptions = self._demoted = self._attempts = 0
        self._start_ps: int | None = None
        self._end_ps = 0
        self._busy_ps = 0

    def began(self, arrival_ps: NDArray[np.int64]) -> None:
        """Note requests that come next; the first of the run that counts is where time begins."""
        if self._start_ps is None and arrival_ps[-1] >= self._warmup_ps:
            self._start_ps = int(arrival_ps[np.searchsorted(arrival_ps, self._warmup_ps)])

    def take_requests(self, columns: Columns, ledger: Ledger) -> None:
        """Count requests that have ended, or that the end of the run leaves undone."""
        rows = np.flatnonzero(columns.arrival_ps >= self._warmup_ps)
        columns = columns.where(columns.arrival_ps >= self._warmup_ps)
        finished = columns.where(columns.status == FINISHED)
        self._statuses += np.bincount(columns.status, minlength=len(STATUSES))
        self._objectives += int(columns.has_objective.sum())
        self._met += int(columns.met.sum())
        self._ttft.add(finished.ttft_ps)
        self._e2e.add(finished.e2e_ps)
        tpot_ps = finished.tpot_ps()
        self._tpot.add(tpot_ps[~np.isnan(tpot_ps)])
        has_sla = finished.sla_ps > 0
        self._ratio.add(finished.e2e_ps[has_sla] / finished.sla_ps[has_sla])
        self._output_tokens += int(finished.output_tokens.sum())
        self._end_ps = max(
            self._end_ps, int((finished.arrival_ps + finished.e2e_ps).max(initial=0))
        )
        self._preemptions += _sum(ledger.preemptions, np.int32, rows)
        self._demoted += _sum(ledger.demoted, np.uint8, rows)
        self._attempts += _sum(ledger.attempts, np.int32, rows)

    def take_steps(self) -> None:
        """Count the token gaps and busy periods that have come, and empty them."""
        rows = gap_rows(self._accounts, self._warmup_ps)
        rising = (rows[:, GROWTH] > 0) & (rows[:, STEPS] > 1)
        flat = rows[~rising]
        self._itl.add(flat[:, GAP], flat[:, STEPS] * flat[:, TOKENS])
        up = rows[rising]
        self._itl.add_rising(up[:, GAP], up[:, GROWTH], up[:, STEPS], up[:, TOKENS])
        for account in self._accounts:
            del account.gaps[:]
            if self._start_ps is None:
                # Nothing that counts has come yet, so what is over is over before it.
                del account.busy_ps[:]
                continue
            # What ends after the last finish so far may have to be cut at the last of all.
            done = 2 * int(np.searchsorted(np.array(account.busy_ps[1::2]), self._end_ps, "right"))
            self._busy_ps += periods_within(account.busy_ps[:done], self._start_ps, self._end_ps)
            del account.busy_ps[:done]

    def summary(self, prices_per_h: Sequence[float | None]) -> dict[str, Any]:
        """Return the numbers of `sim.summary.summarise`; what is not defined is None."""
        requests = int(self._statuses.sum())
        start_ps = 0 if self._start_ps is None else self._start_ps
        end_ps = max(self._end_ps, start_ps)
        duration_s = (end_ps - start_ps) / PS_PER_S
        busy_ps = self._busy_ps + sum(
            periods_within(account.busy_ps, start_ps, end_ps) for account in self._accounts
        )
        up_ps = sum(periods_within(each.up_ps, start_ps, end_ps) for each in self._accounts)
        objectives, met = self._objectives, self._met
        return {
            "requests": requests,
            "goodput_pct": 100 * met / objectives if objectives else None,
            "goodput_rps": met / duration_s if objectives and duration_s else None,
            "ttft_s": _spread(self._ttft),
            "tpot_s": _spread(self._tpot),
            "itl_s": _spread(self._itl),
            "e2e_s": _spread(self._e2e),
            "sla_ratio": self._ratio.summary(),
            "throughput_tok_s": self._output_tokens / duration_s if duration_s else None,
            "utilisation": busy_ps / up_ps if up_ps else None,
            "duration_s": duration_s,
            "statuses": dict(zip(STATUSES, self._statuses.tolist(), strict=True)),
            "preemptions": self._preemptions,
            "demoted": self._demoted,
            "prefix_hit_pct": prefix_hit_pct(self._accounts),
            "attempts": self._attempts,
            "wasted_tokens": 0,  # requests only come and go
            **costs(self._accounts, prices_per_h, start_ps, end_ps),
        }


class _Moments:
    """Mean and population variance of numbers that come in parts.

    T. F. Chan, G. H. Golub and R. J. LeVeque, "Algorithms for Computing the Sample Variance", The
    American Statistician 37(3), 1983.
    """

    def __init__(self) -> None:
        self._count, self._mean, self._squares = 0, 0.0, 0.0

    def add(self, values: NDArray[np.float64]) -> None:
        """Take in a part."""
        if not len(values):
            return
        mean = float(values.mean())
        count = self._count + len(values)
        apart = mean - self._mean
        self._squares += float(((values - mean) ** 2).sum())
        self._squares += apart * apart * self._count * len(values) / count
        self._mean += apart * len(values) / count
        self._count = count

    def summary(self) -> dict[str, float | None]:
        """Return mean, population standard deviation and coefficient of variation."""
        if not self._count:
            return {"mean": None, "std": None, "cv": None}
        std = float((self._squares / self._count) ** 0.5)
        return {"mean": self._mean, "std": std, "cv": std / self._mean}


def _spread(histogram: Histogram) -> dict[str, float | None]:
    return named(histogram.mean, histogram.percentiles(PERCENTILES))


def _sum(buffer: Any, dtype: type[np.generic], rows: NDArray[np.int64]) -> int:
    return int(np.frombuffer(buffer, dtype=dtype)[rows].sum())
