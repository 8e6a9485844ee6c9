"""One guard at one look: from the values by seed to a finding."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sim.check.report import Finding
from sim.check.verdict import judge
from sim.options import OptionError
from sim.sweep.inputs import digest_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sim.check.guard import Guard
    from sim.check.measure import Value
    from sim.check.verdict import Look, Verdict

    Column = NDArray[np.float64]

ROUNDING = 1e-9
"""Values that differ by less than this share are equal: another library rounds otherwise."""


def compared(
    guard: Guard, candidate: Sequence[Value], reference: Sequence[Value], first_seed: int
) -> tuple[Finding, Column, Column]:
    """Return the means of a guard's values without a verdict, and the values seed by seed.

    Seeds of which the reference has no value are left out.

    Parameters
    ----------
    guard : Guard
    candidate, reference : sequence of float or None
        By seed, from the first; what one of them has more of is left out.
    first_seed : int
        The first.

    Returns
    -------
    Finding, ndarray, ndarray
        "fail" where the candidate lacks a value that there should be, otherwise "incomplete";
        then candidate and reference.

    Raises
    ------
    OptionError
        If neither has any value, so that there is nothing to guard.
    """
    pairs = list(zip(candidate, reference, strict=False))
    if pairs and all(c is None and (r is None or guard.number is not None) for c, r in pairs):
        raise OptionError(
            f"scenario {guard.scenario!r}: {guard.metric} of {guard.policy} has no value on any "
            "seed: guard another metric, or give the scenario what it is made from"
        )
    both = [(c, r) for c, r in pairs if c is not None and r is not None]
    c = np.array([pair[0] for pair in both], dtype=np.float64)
    r = np.array([pair[1] for pair in both], dtype=np.float64)
    c = np.where(np.abs(c - r) <= ROUNDING * np.abs(r), r, c)
    found = Finding(guard, "incomplete", len(both))
    if both:
        found = replace(found, reference=float(r.mean()), candidate=float(c.mean()))
    lacks = [seed for seed, (c, r) in enumerate(pairs, first_seed) if c is None and r is not None]
    gains = [seed for seed, (c, r) in enumerate(pairs, first_seed) if c is not None and r is None]
    if lacks:
        why = f"there is no value with {_seeds(lacks)}, where there should be one"
        return replace(found, state="fail", reason=why), c, r
    if gains and guard.better == "same":
        why = f"there is a value with {_seeds(gains)}, where there was none"
        return replace(found, state="fail", reason=why), c, r
    return found, c, r


def judged(
    guard: Guard,
    look: Look,
    candidate: Sequence[Value],
    reference: Sequence[Value],
    first_seed: int,
) -> Finding:
    """Return what the values of all seeds of a look say of a guard.

    The random numbers of its intervals hang on guard and look alone.
    """
    found, c, r = compared(guard, candidate, reference, first_seed)
    if found.state == "fail":
        return found
    if not len(c):
        why = "there is nothing to compare it with"
        return replace(found, state="inconclusive", seeds=look.seeds, reason=why)
    rng = np.random.default_rng(int(digest_of([guard.scenario, guard.name, look.seeds]), 16))
    slacks = guard.slacks(c, r)
    verdict = judge(slacks, look, rng)
    low, high = _change(guard, verdict, slacks, r)
    needed = verdict.needed
    if needed is not None:  # of those with a value, which a share of the seeds has
        needed = math.ceil(needed * look.seeds / len(c))
    return replace(
        found, state=verdict.outcome, low=low, high=high, seeds=look.seeds, needed=needed
    )


def _change(
    guard: Guard, verdict: Verdict, slacks: Sequence[Column], reference: Column
) -> tuple[float | None, float | None]:
    """Return the interval of the slack as one of the change itself; None where it has no end."""
    unit = float(np.abs(reference).mean()) if guard.relative else 1.0
    room = (guard.tolerance - guard.at_least) * unit
    # Of a guard that allows no change either way, the side that decided has the mean next to it.
    aside = [abs(verdict.mean - float(slack.mean())) for slack in slacks]
    upward = guard.better == "higher" or (guard.better == "same" and aside[0] <= aside[1])
    if upward:
        low, high = verdict.low - room, verdict.high - room
    else:
        low, high = room - verdict.high, room - verdict.low
    return low if np.isfinite(low) else None, high if np.isfinite(high) else None


def _seeds(seeds: Sequence[int]) -> str:
    more = len(seeds) - 1
    rest = f" and {more} other{'s' if more > 1 else ''}" if more else ""
    return f"seed {seeds[0]}{rest}"
