"""How well a profile's cost is known: the errors of its fit, the intervals of its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from calibrate.schema import ProfileError, block, number, sequence, wrong
from calibrate.steps import KINDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from calibrate.steptime import StepCost

HELD_OUT_LIMIT_PCT = 5.0
INTERVAL_LEVEL_PCT = 95
DECODE_STEP = "cost.decode.step_s"
DECODE_CONTEXT = "cost.decode.context_token_s"
PREFILL_STEP = "cost.prefill.step_s"
PREFILL_ATTENTION = "cost.prefill.attention_token2_s"
# A [low, high] for each number of a table, by the table's place in the file.
Intervals = Mapping[str, tuple[tuple[float, float], ...]]


@dataclass(frozen=True)
class FitError:
    """How far a fitted cost is from measured points: absolute errors in percent."""

    mape: float
    p95: float
    max: float

    @classmethod
    def of(cls, off_pct: NDArray[np.float64]) -> FitError:
        """Return the mean, 95th percentile and largest of absolute errors in percent."""
        return cls(
            float(np.mean(off_pct)), float(np.quantile(off_pct, 0.95)), float(np.max(off_pct))
        )


def coefficients(cost: StepCost) -> dict[str, tuple[float, ...]]:
    """Return the numbers of a cost's tables, by their place in a profile's file."""
    return {
        DECODE_STEP: cost.decode_fixed.y,
        DECODE_CONTEXT: cost.decode_context.y,
        PREFILL_STEP: cost.prefill.y,
        PREFILL_ATTENTION: (cost.attention_token2_s,),
    }


def over_limit(held_out: Mapping[str, FitError]) -> dict[str, float]:
    """Return the mean held-out errors over 5 %, in percent by region."""
    return {
        region: error.mape for region, error in held_out.items() if error.mape > HELD_OUT_LIMIT_PCT
    }


def read_fit(data: object) -> dict[str, dict[str, FitError]]:
    """Return a file's `fit` block as errors by sample and region, or raise ProfileError."""
    keys = ("mape", "p95", "max")
    result: dict[str, dict[str, FitError]] = {}
    for sample, regions in block("fit", data, optional=("held_out", "in_sample")).items():
        path = f"fit.{sample}"
        result[sample] = {}
        for region, errors in block(path, regions, optional=KINDS).items():
            here = f"{path}.{region}"
            values = block(here, errors, required=keys)
            numbers = (number(f"{here}.{key}", values[key], at_least=0) for key in keys)
            result[sample][region] = FitError(*numbers)
    return result


def read_intervals(data: object, cost: StepCost) -> Intervals:
    """Return a file's `intervals` block without its level, or raise ProfileError."""
    known = tuple(coefficients(cost))
    tables = dict(block("intervals", data, required=("level_pct",), optional=known))
    level = tables.pop("level_pct")
    if isinstance(level, bool) or level != INTERVAL_LEVEL_PCT:
        raise wrong("intervals.level_pct", level, str(INTERVAL_LEVEL_PCT))
    return checked_intervals(tables, cost)


def checked_intervals(intervals: Mapping[str, object], cost: StepCost) -> Intervals:
    """Return 95 % intervals as tuples, or raise ProfileError unless they fit the cost's tables."""
    known = coefficients(cost)
    result = {}
    for table, pairs in block("intervals", intervals, optional=tuple(known)).items():
        path = f"intervals.{table}"
        items = sequence(path, pairs, "a list of [low, high] pairs")
        if len(items) != len(known[table]):
            raise ProfileError(
                f"{path} has {len(items)} pairs, expected {len(known[table])}: one for each "
                f"number of {table}"
            )
        result[table] = tuple(_pair(f"{path}[{i}]", item) for i, item in enumerate(items))
    return result


def _pair(path: str, value: object) -> tuple[float, float]:
    pair = sequence(path, value, "a pair [low, high]")
    if len(pair) != 2:
        raise wrong(path, value, "a pair [low, high]")
    low = number(f"{path}[0]", pair[0], at_least=0)
    return low, number(f"{path}[1]", pair[1], at_least=low)
