"""The least squares behind SABER's estimators, on points scaled to at most 1."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import numpy as np

from calibrate.schema import Pairs, ProfileError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]


def least_squares(estimator: str, points: Pairs) -> tuple[float, ...]:
    """Return the parameters of an estimator's curve through (load, tokens_per_s) points.

    Parameters
    ----------
    estimator : str
        "usl": (A, s, k) of A / (1 + s*L + k*L^2); "logistic": (A, r, L0) of
        A / (1 + exp(-r*(L - L0))); "linear": (a, b) of a + b*L.
    points : tuple of (float, float)
        With as many different loads as there are parameters.

    Raises
    ------
    ProfileError
        If no such curve goes near the points.
    """
    loads, speeds = np.array(points).T
    longest, fastest = float(loads.max()), float(speeds.max())
    x, y = loads / longest, speeds / fastest
    fit = {"usl": _usl, "logistic": _logistic, "linear": _linear}[estimator]
    # Silent on purpose: scipy and numpy warn of covariances that are not used here, and of
    # steps that overflow on the way; what they end in is checked instead.
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        found = fit(x, y)
    if found is None:
        raise ProfileError(
            f"points give no {estimator} curve, expected speeds that fall with the load; "
            "try another estimator"
        )
    if estimator == "linear":
        a, b = found
        return fastest * a, fastest * b / longest
    if estimator == "usl":
        top, s, k = found
        return fastest * top, s / longest, k / longest**2
    top, r, middle = found
    return fastest * top, r / longest, middle * longest


def _curve_fit(
    curve: Callable[..., Array],
    x: Array,
    y: Array,
    start: Sequence[float],
    low: Sequence[float] | float = -math.inf,
    high: Sequence[float] | float = math.inf,
) -> tuple[float, ...] | None:
    """Return the least-squares parameters found from one start; None without convergence."""
    from scipy.optimize import curve_fit

    # scipy takes its bounded method when there are bounds, Levenberg-Marquardt otherwise.
    tolerance = 1e-12
    try:
        found, _ = curve_fit(
            curve, x, y, p0=start, bounds=(low, high), ftol=tolerance, xtol=tolerance,
            gtol=tolerance, maxfev=1_000,
        )  # fmt: skip
    except (RuntimeError, ValueError):
        return None
    return tuple(float(value) for value in found) if np.isfinite(found).all() else None


def _linear(x: Array, y: Array) -> tuple[float, ...]:
    slope, intercept = np.polyfit(x, y, 1)
    return float(intercept), float(slope)


def _usl(x: Array, y: Array) -> tuple[float, ...] | None:
    def curve(load: Array, top: float, s: float, k: float) -> Array:
        return top / (1 + s * load + k * load * load)

    # 1/v is a parabola in L; its own least squares, weighted back to errors of v, come close.
    k0, s0, one = np.polyfit(x, 1 / y, 2, w=y * y)
    start = (1 / one, s0 / one, k0 / one) if one > 0 else (1.0, 0.0, 0.0)
    found = _curve_fit(curve, x, y, start)
    if found is None:
        return None
    top, s, k = found
    # A curve with a pole can be near all points and still mean nothing. The denominator is 1 at
    # no load: if it falls and rises again its lowest is at the turn, else at 0 or the last point.
    turn = max(-s / (2 * k), 0.0) if k > 0 else 0.0
    lowest = min(1 + s * load + k * load * load for load in (turn, 1.0))
    return found if top > 0 and lowest > 0 else None


def _logistic(x: Array, y: Array) -> tuple[float, ...] | None:
    """Fit v = 1 / (u + exp(t - r*x)), with u = 1/A and t = r*L0 - ln A.

    In A and L0 the best curve may lie at infinity, as on the study's points: a plain
    exponential, u = 0. The bound on u stops A at a million times the fastest speed, which is
    nearer to that limit than any measurement.
    """

    def curve(at: Array, u: float, t: float, r: float) -> Array:
        return 1 / (u + np.exp(t - r * at))

    found_all: list[tuple[float, tuple[float, ...]]] = []
    for u in (0.01, 0.5, 1.0):
        for r in (-8.0, -2.0, -0.5, 1.0):
            t = float(np.mean(np.log(np.maximum(1 / y - u, 0.01)) + r * x))
            start = (u, min(max(t, -59.0), 59.0), r)
            found = _curve_fit(curve, x, y, start, (1e-6, -60.0, -50.0), (1e3, 60.0, 50.0))
            if found is not None:
                squares = float(((curve(x, *found) - y) ** 2).sum())
                found_all.append((squares, found))
    if not found_all:
        return None
    u, t, r = min(found_all)[1]
    if r == 0:
        # Without a slope L0 does not matter, and the speed at every load is half of A.
        return 2 / (u + math.exp(t)), 0.0, 0.0
    return 1 / u, r, (t + math.log(1 / u)) / r
