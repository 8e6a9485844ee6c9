"""From measured steps to the coefficients of a step cost, with their error."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from calibrate.fitdesign import design
from calibrate.holdout import held_out_rows, is_held_out
from calibrate.predict import errors_pct
from calibrate.quality import (
    DECODE_CONTEXT,
    DECODE_STEP,
    HELD_OUT_LIMIT_PCT,
    INTERVAL_LEVEL_PCT,
    PREFILL_ATTENTION,
    PREFILL_STEP,
    FitError,
    over_limit,
)
from calibrate.schema import ProfileError, integer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from calibrate.fitdesign import Design, Floats
    from calibrate.holdout import Rows
    from calibrate.quality import Intervals
    from calibrate.steps import Measurement
    from calibrate.steptime import StepCost

# No point counts as known better than this share of its time: the form itself is not.
SPREAD_FLOOR = 0.02
# Deviations (1.48 times the median one is a normal's standard deviation) that are not damped.
OUTLIER_DEVIATIONS = 3.0
OUTLIER_PASSES = 4


@dataclass(frozen=True)
class Fit:
    """A fitted step cost, and how well it is known.

    Parameters
    ----------
    cost : StepCost
        Fitted to all points.
    in_sample : mapping of str to FitError
        By region, the cost against the medians of the points that it was fitted to.
    held_out : mapping of str to FitError
        By region, a cost fitted without the rows held out against the medians in them. Regions
        with too few rows, or too few points left to fit, have no entry.
    held_out_rows : mapping of str to list
        By region, which rows these were, as `{"batch": 16}`.
    intervals : mapping
        95 % intervals as in `Profile.intervals`, over the repeats of the same points. They tell
        the noise of measuring, not where the form is wrong; that is in `held_out`.
    """

    cost: StepCost
    in_sample: Mapping[str, FitError]
    held_out: Mapping[str, FitError]
    held_out_rows: Rows
    intervals: Intervals


def fit_cost(
    measurements: Sequence[Measurement],
    *,
    engine_overhead_s: float | None,
    engine_overhead_request_s: float = 0.0,
    bootstrap: int = 200,
    rng: np.random.Generator,
) -> Fit:
    """Fit a step cost to the medians of measured steps of all kinds together.

    Non-negative least squares on relative errors, a point weighing less the more its repeats
    spread, or the further it lies from what the others say. No table is negative; a larger batch,
    its context, and a larger prefill never cost less than smaller ones. The knots are those of
    `calibrate.fitdesign.design`.

    Parameters
    ----------
    measurements : sequence of Measurement
        Without engine overhead. Those that have no samples are left out.
    engine_overhead_s, engine_overhead_request_s
        As in `StepCost`; passed on, not fitted.
    bootstrap : int
        Refits to resampled repeats that the intervals come from; 0 for no intervals.
    rng : numpy.random.Generator
        For the resampling alone.

    Raises
    ------
    ProfileError
        If there are too few measurements to determine a cost.
    """
    integer("bootstrap", bootstrap, at_least=0)
    timed = [m for m in measurements if not m.problem]
    problem = design([m.step for m in timed])
    medians_s = _medians_s(timed)
    solve = _robust_solver(problem, timed)
    coefficients = solve(medians_s)
    cost = problem.cost(coefficients)
    held_out, rows = _held_out(timed)
    return Fit(
        cost=replace(
            cost,
            engine_overhead_s=engine_overhead_s,
            engine_overhead_request_s=engine_overhead_request_s,
        ),
        in_sample=_errors(cost, timed),
        held_out=held_out,
        held_out_rows=rows,
        intervals=_intervals(problem, coefficients, solve, timed, bootstrap, rng),
    )


def fit_warnings(fit: Fit) -> list[str]:
    """Return what a person should know before trusting the fit, a line each."""
    lines = [
        f"the held-out error of the fit is {error:.1f} % in {region} steps, more than "
        f"{HELD_OUT_LIMIT_PCT:g} %: repeat the measurement, or take these times as rough"
        for region, error in over_limit(fit.held_out).items()
    ]
    if "chunk" not in fit.in_sample and not fit.cost.attention_token2_s:
        lines.append(
            "no prompt with a past was measured: its attention to the past is taken to cost nothing"
        )
    return lines


def _medians_s(timed: Sequence[Measurement]) -> Floats:
    return np.array([m.median_s for m in timed])


def _robust_solver(problem: Design, timed: Sequence[Measurement]) -> Callable[[Floats], Floats]:
    """Return the solver of `_solver` with the weights that suit these measurements."""
    medians_s = _medians_s(timed)
    spread = np.array([m.quantile_s(0.9) - m.quantile_s(0.1) for m in timed]) / medians_s
    weights = 1 / (medians_s * np.maximum(spread, SPREAD_FLOOR))
    # A decode step takes time, whatever its noise says of the part without context.
    least_s = 1e-3 * min(m.median_s for m in timed if m.step.kind == "decode")
    damped = weights
    for _ in range(OUTLIER_PASSES):
        # Huber's weights: an outlier pulls no harder than a point at the limit.
        coefficients = _solver(problem, damped, least_s)(medians_s)
        misses = np.abs(problem.steps_of_coefficients @ coefficients - medians_s) * weights
        limit = max(OUTLIER_DEVIATIONS * 1.48 * float(np.median(misses)), 1.0)
        damped = weights * np.sqrt(limit / np.maximum(misses, limit))
    return _solver(problem, damped, least_s)


def _solver(problem: Design, weights: Floats, least_s: float) -> Callable[[Floats], Floats]:
    """Return a function from the seconds of the problem's steps to its coefficients.

    They minimise the sum of squared (weight * error), with increments of at least 0 and a decode
    step without context of at least `least_s`. What does not depend on the seconds is done once.
    """
    from scipy.optimize import nnls

    fixed = len(problem.batch)
    least = np.zeros(len(problem.coefficients_of_increments))
    least[:fixed] = least_s
    least_steps_s = problem.steps_of_coefficients @ least
    matrix = problem.steps_of_coefficients @ problem.coefficients_of_increments
    matrix *= weights[:, None]
    # Seconds, seconds a token and seconds a token^2 on one scale; unused columns stay 0.
    norms = np.linalg.norm(matrix, axis=0)
    norms[norms == 0] = 1.0
    q, r = np.linalg.qr(matrix / norms)
    rounds = 30 * matrix.shape[1]

    def solve(seconds: Floats) -> Floats:
        increments, _ = nnls(r, q.T @ ((seconds - least_steps_s) * weights), maxiter=rounds)
        return np.asarray(least + problem.coefficients_of_increments @ (increments / norms))

    return solve


def _held_out(timed: Sequence[Measurement]) -> tuple[dict[str, FitError], Rows]:
    """Return the errors of a fit in the rows that it did not see, and which rows these are."""
    rows = held_out_rows([m.step for m in timed])
    seen = [m for m in timed if not is_held_out(m.step, rows)]
    try:
        problem = design([m.step for m in seen])
    except ProfileError:
        return {}, {}
    cost = problem.cost(_robust_solver(problem, seen)(_medians_s(seen)))
    return _errors(cost, [m for m in timed if is_held_out(m.step, rows)]), rows


def _errors(cost: StepCost, timed: Sequence[Measurement]) -> dict[str, FitError]:
    """Return by region how far `cost` is from the medians, in percent of them."""
    found = errors_pct(cost, [(m.step, m.median_s) for m in timed])
    return {region: FitError.of(np.abs(errors)) for region, errors in found.items()}


def _intervals(
    problem: Design,
    coefficients: Floats,
    solve: Callable[[Floats], Floats],
    timed: Sequence[Measurement],
    bootstrap: int,
    rng: np.random.Generator,
) -> Intervals:
    """Return the percentile intervals of refits to resampled repeats, estimates included."""
    if not bootstrap:
        return {}
    medians_s = np.stack(
        [np.median(rng.choice(m.samples_s, (bootstrap, len(m.samples_s))), axis=1) for m in timed],
        axis=1,
    )
    refits = np.stack([solve(row) for row in medians_s])
    outside = (1 - INTERVAL_LEVEL_PCT / 100) / 2
    low, high = np.quantile(refits, (outside, 1 - outside), axis=0)
    pairs = np.stack([np.minimum(low, coefficients), np.maximum(high, coefficients)], axis=1)
    fixed, context, prefill, attention = problem.split(pairs)
    tables = {
        DECODE_STEP: fixed,
        DECODE_CONTEXT: context,
        PREFILL_STEP: prefill,
        PREFILL_ATTENTION: attention,
    }
    return {table: tuple((lo, hi) for lo, hi in rows.tolist()) for table, rows in tables.items()}
