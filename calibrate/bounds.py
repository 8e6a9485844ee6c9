"""What the intervals of a profile's numbers mean for its step times."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from calibrate.quality import (
    DECODE_CONTEXT,
    DECODE_STEP,
    PREFILL_ATTENTION,
    PREFILL_STEP,
    coefficients,
)

if TYPE_CHECKING:
    from calibrate.profile import Profile
    from calibrate.steptime import StepCost

TINY = 1e-6


def widths_pct(profile: Profile) -> dict[str, dict[str, float]]:
    """Return half the width of the intervals, in percent of the number, for each table.

    Returns
    -------
    dict
        By the table's place in the file: `numbers`, how many have an interval and are not 0;
        the `median` and the `worst` of them. Tables without intervals are left out.
    """
    found = {}
    for table, values in coefficients(profile.cost).items():
        pairs = zip(profile.intervals.get(table, ()), values, strict=False)
        shares = [(high - low) / 2 / value * 100 for (low, high), value in pairs if value]
        if shares:
            found[table] = {
                "numbers": len(shares),
                "median": float(np.median(shares)),
                "worst": max(shares),
            }
    return found


def bounds(profile: Profile) -> tuple[StepCost, StepCost] | None:
    """Return the costs with every number at its low and at its high end; None without intervals.

    Wider than an interval of a step time would be: the numbers of one fit do not err together.
    """
    if not profile.intervals:
        return None
    return _at_end(profile, 0), _at_end(profile, 1)


def _at_end(profile: Profile, end: int) -> StepCost:
    cost = profile.cost
    known = coefficients(cost)

    def values(table: str) -> tuple[float, ...]:
        if table not in profile.intervals:
            return known[table]
        return tuple(pair[end] for pair in profile.intervals[table])

    # A cost insists on steps that take time and on prefills that do not fall.
    decode_s = np.maximum(values(DECODE_STEP), TINY * np.array(known[DECODE_STEP])).tolist()
    return replace(
        cost,
        decode_fixed=replace(cost.decode_fixed, y=tuple(decode_s)),
        decode_context=replace(cost.decode_context, y=values(DECODE_CONTEXT)),
        prefill=replace(cost.prefill, y=tuple(accumulate(values(PREFILL_STEP), max))),
        attention_token2_s=values(PREFILL_ATTENTION)[0],
    )
