"""What a run returns: its requests, its summary, its warnings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from policies.protocol import PS_PER_S
from sim.cluster.fleet import describe
from sim.ledger import STATUSES, UNSET
from sim.options import OptionError, to_ps
from sim.summary import Columns, columns_of, summarise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from sim.cluster.fleet import Replica
    from sim.ledger import Ledger, ReplicaLedger
    from sim.options import RunOptions
    from sim.timeline import Timeline
    from traces.request import Trace


@dataclass(frozen=True, eq=False)
class Result:
    """One trace, one policy, one run.

    Attributes
    ----------
    trace : Trace
        What was replayed.
    policy : str
        Canonical text of the policy.
    fleet : tuple of Replica
        Kinds of replicas, with everything a scaler could add.
    seed : int
        As given to `simulate`.
    options : RunOptions
        With the values the run used in place of None.
    warnings : tuple of str
        What a reader has to know before quoting a number.
    timeline : Timeline or None
        The replicas over time, where the option `timeline` asked for it.
    """

    trace: Trace
    policy: str
    fleet: tuple[Replica, ...]
    seed: int
    options: RunOptions
    warnings: tuple[str, ...]
    arrival_ps: NDArray[np.int64]
    sla_ps: NDArray[np.int64]
    overheads_ps: NDArray[np.int64]
    ledger: Ledger
    accounts: tuple[ReplicaLedger, ...]
    timeline: Timeline | None = None

    @property
    def profile(self) -> str:
        """Name of the profile, or of each kind with its count."""
        return describe(self.fleet)

    @property
    def replicas(self) -> int:
        """How many replicas there were, or could be."""
        return len(self.accounts)

    @property
    def submitted(self) -> int:
        """How many requests were sent: those of `requests`."""
        return len(self.columns.id)

    @cached_property
    def columns(self) -> Columns:
        """The submitted requests as arrays of integers, times in picoseconds."""
        return columns_of(
            self.trace,
            self.ledger,
            self.arrival_ps,
            self.sla_ps,
            self.overheads_ps,
            self.options.goodput_ms,
        )

    def summary(self) -> dict[str, Any]:
        """Return the numbers of the run; what is not defined is None.

        Requests that arrived before ``warmup_s`` are left out; itl_s is over the tokens that came
        from then on, whoever's they are.

        Returns
        -------
        dict
            goodput_pct, goodput_rps; ttft_s, tpot_s, itl_s, e2e_s with mean, p50, p90, p95, p99;
            sla_ratio with mean, std, cv; throughput_tok_s; utilisation; duration_s; requests,
            statuses (a count each), preemptions, demoted; prefix_hit_pct (of prompt tokens, all
            in the run); attempts (retries and failovers
            count), wasted_tokens (of attempts that did not finish, whenever they were made);
            replica_hours and cost, both between first arrival and last finish; warnings.
        """
        prices = [kind.price_per_h for kind in self.fleet for _ in range(kind.count)]
        numbers = summarise(
            self.columns, self.accounts, self.ledger, to_ps(self.options.warmup_s), prices
        )
        return {**numbers, "warnings": list(self.warnings)}

    @cached_property
    def requests(self) -> pd.DataFrame:
        """A row per submitted request, in trace order.

        Times are seconds on the trace's clock; first_token_s and finished_s are as the client sees
        them, so they include the client overhead, and are missing where they did not come.  `met`
        is missing for requests without an objective.  Where requests can be sent more than once,
        with clients or failures, there is also `attempts`.
        """
        import pandas as pd

        columns, ledger, ids = self.columns, self.ledger, self.columns.id

        def instant_s(latency_ps: NDArray[np.int64]) -> NDArray[np.float64]:
            seconds = (columns.arrival_ps + latency_ps) / PS_PER_S
            return np.where(latency_ps < 0, np.nan, seconds)

        admitted_ps = np.frombuffer(ledger.admitted_ps, dtype=np.int64)[ids]
        tasks = self.trace.task_code[ids]
        frame = pd.DataFrame(
            {
                "id": ids,
                "task": _labelled(tasks, self.trace.tasks),
                "arrival_s": columns.arrival_ps / PS_PER_S,
                "admitted_s": np.where(admitted_ps == UNSET, np.nan, admitted_ps / PS_PER_S),
                "first_token_s": instant_s(columns.ttft_ps),
                "finished_s": instant_s(columns.e2e_ps),
                "prompt_tokens": columns.prompt_tokens,
                "output_tokens": columns.output_tokens,
                "sla_s": np.where(columns.sla_ps < 0, np.nan, columns.sla_ps / PS_PER_S),
                "met": pd.arrays.BooleanArray(columns.met.copy(), ~columns.has_objective),
                "status": _labelled(columns.status, STATUSES),
                "replica": np.frombuffer(ledger.replica, dtype=np.int16)[ids],
                "preemptions": np.frombuffer(ledger.preemptions, dtype=np.int32)[ids],
                "demoted": np.frombuffer(ledger.demoted, dtype=np.uint8)[ids].astype(bool),
            }
        )
        if self.options.clients is not None or self.options.failures is not None:
            frame["attempts"] = np.frombuffer(ledger.attempts, dtype=np.int32)[ids]
        return frame

    def save(self, path: str | Path, configuration: Mapping[str, Any] | None = None) -> None:
        """Write `requests` to a ``.csv`` file, or the whole run to a ``.parquet`` file.

        The latter is what `sim.runfile.read_run` and ``saber report`` read.

        Parameters
        ----------
        path : path
        configuration : mapping, optional
            What was asked for besides the run's options, in JSON's types: kept with the run.

        Raises
        ------
        OptionError
            If the suffix is neither.
        """
        path = Path(path)
        if path.suffix == ".parquet":
            from sim.runfile import run_of, write_run

            write_run(run_of(self, configuration), path)
        elif path.suffix == ".csv":
            self.requests.to_csv(path, index=False)
        else:
            raise OptionError(f"{path}: cannot write {path.suffix!r}: expected .parquet or .csv")


def _labelled(codes: NDArray[np.integer[Any]], names: Sequence[str]) -> pd.Categorical[str]:
    """Return codes as a categorical column; -1 is a missing label."""
    import pandas as pd

    return pd.Categorical.from_codes(codes.astype(np.int64), pd.Index(list(names)))
