"""What a profile's raw points say: how far a cost is from them, and they from the floor."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from calibrate.predict import errors_pct, predict_s
from calibrate.quality import FitError
from calibrate.schema import ProfileError
from calibrate.steps import KINDS, raw_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from calibrate.profile import Profile
    from calibrate.steps import RawPoint, Step
    from calibrate.steptime import StepCost


def points_of(profile: Profile) -> list[RawPoint]:
    """Return the raw points of a profile, those that could not be run included.

    Raises
    ------
    ProfileError
        With the profile's name, the place in it, the value, and what was expected.
    """
    try:
        return raw_points(profile.raw)
    except ProfileError as error:
        raise ProfileError(f"{profile.name}: {error}") from None


def timed(points: Sequence[RawPoint]) -> list[tuple[Step, float]]:
    """Return (step, median seconds) of the points that could be run."""
    return [(point.step, point.median_s) for point in points if point.median_s is not None]


def bare(cost: StepCost) -> StepCost:
    """Return the cost without the serving engine's own time, which raw points do not hold."""
    return replace(cost, engine_overhead_s=None, engine_overhead_request_s=0.0)


def errors_by_kind(cost: StepCost, points: Sequence[RawPoint]) -> dict[str, dict[str, float]]:
    """Return how far a cost is from measured points, for each kind of step that was measured.

    Returns
    -------
    dict
        By kind: `points`, how many; `mape`, `p95` and `max` of the absolute error and `bias`,
        the mean error with its sign (over 0 where the cost is slower), in percent of what was
        measured. Engine overhead is left out of the cost.
    """
    return {
        kind: {
            "points": len(errors),
            **asdict(FitError.of(np.abs(errors))),
            "bias": float(np.mean(errors)),
        }
        for kind, errors in errors_pct(bare(cost), timed(points)).items()
    }


def misses(cost: StepCost, points: Sequence[RawPoint], count: int) -> list[dict[str, Any]]:
    """Return the `count` points that a cost misses most, the largest first.

    Each has the step's `kind` and sizes, `median_s` as measured, `fitted_s`, `error_pct`.
    Engine overhead is left out of the cost.
    """
    kernels = bare(cost)
    rows = [
        {
            **_named(step),
            "median_s": median_s,
            "fitted_s": predict_s(kernels, step),
            "error_pct": (predict_s(kernels, step) / median_s - 1) * 100,
        }
        for step, median_s in timed(points)
    ]
    return sorted(rows, key=lambda row: -abs(row["error_pct"]))[:count]


def not_run(points: Sequence[RawPoint]) -> list[dict[str, Any]]:
    """Return the steps that could not be run, each with its `problem`."""
    return [{**_named(point.step), "problem": point.problem} for point in points if point.problem]


def over_floor(points: Sequence[RawPoint]) -> dict[str, dict[str, Any]]:
    """Return how many times its hardware floor a step takes, for each kind that has floors.

    Returns
    -------
    dict
        By kind: `points`, `median`, `worst` and `worst_step`; for decode also `batch_1`, the
        ratio of one sequence with the shortest context that was measured.
    """
    found: dict[str, list[tuple[float, Step]]] = {}
    for point in points:
        if point.median_s is not None and point.floor_s is not None:
            ratio = point.median_s / point.floor_s
            found.setdefault(point.step.kind, []).append((ratio, point.step))
    result: dict[str, dict[str, Any]] = {}
    for kind in KINDS:
        if kind not in found:
            continue
        worst, worst_step = max(found[kind])
        result[kind] = {
            "points": len(found[kind]),
            "median": float(np.median([ratio for ratio, _ in found[kind]])),
            "worst": worst,
            "worst_step": _named(worst_step),
        }
        alone = [(step.context_tokens, ratio) for ratio, step in found[kind] if step.batch == 1]
        if kind == "decode" and alone:
            result[kind]["batch_1"] = min(alone)[1]
    return result


def _named(step: Step) -> dict[str, Any]:
    return {"kind": step.kind, **asdict(step)}
