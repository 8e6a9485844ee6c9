"""What one run says about a target: a few numbers that travel well between processes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from policies.protocol import PS_PER_S
from sim.ledger import FINISHED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from sim.feasible import Unloaded
    from sim.plan.target import Condition, Target
    from sim.result import Result
    from sim.summary import Columns

CAUSES = ("unfinished", "preempted", "held back", "first token", "between tokens")
"""Where a late request lost its time: it never ended; it was preempted; before the policy let it
into the engine; from there to its first token; from its first token to its last."""


@dataclass(frozen=True)
class Sample:
    """What one run measured.

    Attributes
    ----------
    values : tuple of float
        For each condition of the target, in percent or seconds.  A request that did not finish is
        later than any limit, so that a latency may be infinite; NaN where nothing could be
        measured.
    by_task : mapping of str to tuple of float
        The same for the requests of each task.
    goodput_pct, goodput_rps, utilisation : float or None
        As in `Result.summary`.
    preemptions : int
        As in `Result.summary`.
    peak_batch : int
        Largest running set of a replica.
    passed : bool
        Whether the policy let every request into the engine as it came.
    late : mapping of str to int
        How many requests are late for each of `CAUSES`.
    warnings : tuple of str
        The run's.
    """

    values: tuple[float, ...]
    by_task: Mapping[str, tuple[float, ...]]
    goodput_pct: float | None
    goodput_rps: float | None
    utilisation: float | None
    preemptions: int
    peak_batch: int
    passed: bool
    late: Mapping[str, int]
    warnings: tuple[str, ...]


def measure(result: Result, target: Target, engine: Unloaded) -> Sample:
    """Return what `result` says about `target`.

    `engine` answers how long requests take alone, to tell lost time from time that was needed.
    """
    summary = result.summary()
    columns = result.columns
    counted = columns.where(columns.arrival_ps >= result.options.warmup_s * PS_PER_S)
    task_code = result.trace.task_code[counted.id]
    return Sample(
        values=_values(counted, target),
        by_task={
            task: _values(counted.where(task_code == code), target)
            for code, task in enumerate(result.trace.tasks)
            if (task_code == code).any()
        },
        goodput_pct=summary["goodput_pct"],
        goodput_rps=summary["goodput_rps"],
        utilisation=summary["utilisation"],
        preemptions=summary["preemptions"],
        peak_batch=max(account.peak_batch for account in result.accounts),
        passed=bool((_admitted_ps(result)[columns.id] == columns.arrival_ps).all()),
        late=_late(result, counted, target, engine),
        warnings=result.warnings,
    )


def _values(columns: Columns, target: Target) -> tuple[float, ...]:
    return tuple(_value(columns, condition) for condition in target.conditions)


def _value(columns: Columns, condition: Condition) -> float:
    if condition.is_goodput:
        objectives = int(columns.has_objective.sum())
        return 100 * int(columns.met.sum()) / objectives if objectives else math.nan
    latency_s = latencies_s(columns, condition.metric)
    latency_s = latency_s[~np.isnan(latency_s)]
    if not len(latency_s):
        return math.nan
    if condition.percentile is None:
        return float(latency_s.mean())
    with np.errstate(invalid="ignore"):  # between two infinities the interpolation has no number
        value = float(np.percentile(latency_s, condition.percentile))
    return math.inf if math.isnan(value) else value


def latencies_s(columns: Columns, metric: str) -> NDArray[np.float64]:
    """Return a latency of every request [s]: infinite where it did not finish, NaN without one."""
    observed = {"ttft": columns.ttft_ps, "e2e": columns.e2e_ps}
    latency_ps = columns.tpot_ps() if metric == "tpot" else observed[metric].astype(np.float64)
    return np.where(columns.status == FINISHED, latency_ps / PS_PER_S, np.inf)


def _late(result: Result, columns: Columns, target: Target, engine: Unloaded) -> dict[str, int]:
    """Count late requests by where they lost most of their time."""
    late = columns.where(_is_late(columns, target.conditions[0]))
    ids, alone = late.id, engine.unloaded_s
    admitted_ps = _admitted_ps(result)[ids]
    preempted = np.frombuffer(result.ledger.preemptions, dtype=np.int32)[ids] > 0
    finished = late.status == FINISHED
    first_s = alone(late.prompt_tokens, np.ones_like(late.output_tokens))
    decode_s = alone(late.prompt_tokens, late.output_tokens) - first_s
    held_s = (admitted_ps - late.arrival_ps) / PS_PER_S
    lost_s = np.stack(
        [
            held_s,
            late.ttft_ps / PS_PER_S - first_s - held_s,
            (late.e2e_ps - late.ttft_ps) / PS_PER_S - decode_s,
        ]
    )
    cause = np.where(preempted, 1, 2 + lost_s.argmax(axis=0))
    cause[~finished] = 0
    return dict(zip(CAUSES, np.bincount(cause, minlength=len(CAUSES)).tolist(), strict=True))


def _is_late(columns: Columns, condition: Condition) -> NDArray[np.bool_]:
    if condition.is_goodput:
        return np.asarray(columns.has_objective & ~columns.met)
    return np.asarray(latencies_s(columns, condition.metric) > condition.limit)


def _admitted_ps(result: Result) -> NDArray[np.int64]:
    return np.frombuffer(result.ledger.admitted_ps, dtype=np.int64)
