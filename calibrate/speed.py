"""SABER's estimators: a request's generation speed over the number of requests beside it.

The three forms are those of S. Chang et al., arXiv 2506.19677, fitted by least squares.
"""

from __future__ import annotations

import csv
import math
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from calibrate.schema import Pairs, ProfileError, number, one_of, pairs, plain, wrong
from calibrate.speedfit import least_squares

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from calibrate.profile import Profile
    from calibrate.steptime import StepCost
LARGEST = 1e9
"""Loads and speeds beyond this are taken for mistakes; their squares would leave the numbers."""

ESTIMATORS = ("usl", "logistic", "linear")
PARAMETERS = {"usl": ("A", "s", "k"), "logistic": ("A", "r", "L0"), "linear": ("a", "b")}


@dataclass(frozen=True)
class SpeedModel:
    """A fitted speed v(L) in tokens/s of one request while L run together.

    "usl" is A / (1 + s*L + k*L^2), "logistic" A / (1 + exp(-r*(L - L0))), "linear" a + b*L.
    Where such a curve rises with the load it is held at the value it falls from or to: more
    company never makes a request faster. It is never negative.

    Parameters
    ----------
    estimator : str
        One of `ESTIMATORS`.
    params : tuple of float
        In the order of `PARAMETERS`.
    r2, mse : float
        Coefficient of determination and mean squared error [(tokens/s)^2] on the fitted points.
    loads : (low, high)
        The range of the fitted points.
    """

    estimator: str
    params: tuple[float, ...]
    r2: float
    mse: float
    loads: tuple[float, float]

    @property
    def parameters(self) -> dict[str, float]:
        """The parameters by name."""
        return dict(zip(PARAMETERS[self.estimator], self.params, strict=True))

    @property
    def falling(self) -> tuple[float, float]:
        """The loads (low, high) between which the curve falls; it is held outside them.

        (1, 1) for a curve that only rises.
        """
        if self.estimator == "usl":
            _, s, k = self.params
            turn = -s / (2 * k) if k else 0.0
            if k > 0:
                return max(turn, 0.0), math.inf
            if k < 0:
                return (0.0, turn) if turn >= 1 else (1.0, 1.0)
            return (0.0, math.inf) if s >= 0 else (1.0, 1.0)
        slope = self.params[1]
        return (0.0, math.inf) if slope <= 0 else (1.0, 1.0)

    def speed(self, load: float) -> float:
        """Return the tokens/s of each of `load` requests that run together."""
        low, high = self.falling
        return _value(self.estimator, self.params, min(max(load, low), high))

    def table(self, n: int) -> tuple[float, ...]:
        """Return speed(0), ..., speed(n); remembered, since many runs ask for the same."""
        return _remembered_table(self, n)


@lru_cache(maxsize=128)
def _remembered_table(model: SpeedModel, n: int) -> tuple[float, ...]:
    low, high = model.falling
    return tuple(
        _value(model.estimator, model.params, min(max(load, low), high)) for load in range(n + 1)
    )


def _value(estimator: str, params: Sequence[float], load: float) -> float:
    # Plain floats, not numpy: one load then has one speed, however it was asked for.
    if estimator == "usl":
        top, s, k = params
        return top / (1 + s * load + k * load * load)
    if estimator == "logistic":
        top, r, middle = params
        exponent = -r * (load - middle)
        return top / (1 + math.exp(exponent)) if exponent < 700 else 0.0
    a, b = params
    return max(a + b * load, 0.0)


def fit_speed(points: Iterable[Sequence[float]], estimator: str = "usl") -> SpeedModel:
    """Return the least-squares fit of an estimator to (load, tokens_per_s) points.

    Parameters
    ----------
    points : iterable of (load, tokens_per_s)
        Loads of at least 1, speeds over 0; as many different loads as the estimator has
        parameters.
    estimator : str
        "usl", "logistic" or "linear".

    Raises
    ------
    ProfileError
        For an unknown estimator, points that cannot be used, or a fit that is no such curve.
    """
    one_of("estimator", estimator, ESTIMATORS)
    checked = _checked(points)
    loads = sorted({load for load, _ in checked})
    needed = len(PARAMETERS[estimator])
    if len(loads) < needed:
        raise wrong(
            "points.load",
            [plain(load) for load in loads],
            f"at least {needed} different loads to fit the estimator {estimator!r}",
        )
    params = least_squares(estimator, checked)
    model = SpeedModel(estimator, params, 0.0, 0.0, (loads[0], loads[-1]))
    squares = math.fsum((speed - model.speed(load)) ** 2 for load, speed in checked)
    mean = math.fsum(speed for _, speed in checked) / len(checked)
    total = math.fsum((speed - mean) ** 2 for _, speed in checked)
    # Equal speeds leave no variance to explain, and every form goes through them.
    r2 = 1 - squares / total if total > 0 else 1.0
    return SpeedModel(estimator, params, r2, squares / len(checked), model.loads)


def fit_all(points: Iterable[Sequence[float]]) -> dict[str, SpeedModel]:
    """Return the fits by estimator, without those that the points do not allow.

    Raises ProfileError when the points allow none.
    """
    checked = _checked(points)
    models: dict[str, SpeedModel] = {}
    problem: ProfileError | None = None
    for estimator in ESTIMATORS:
        try:
            models[estimator] = fit_speed(checked, estimator)
        except ProfileError as error:
            problem = error
    if not models and problem is not None:
        raise problem
    return models


def best(models: Mapping[str, SpeedModel]) -> SpeedModel:
    """Return the model with the highest R^2, the choice of the study."""
    return max(models.values(), key=lambda model: model.r2)


def context_matters(profile: Profile) -> bool:
    """Whether `speed_points_of(profile)` depends on `profile.mean_context_tokens`."""
    return profile.speed_points is None and any(profile.cost.decode_context.y)


def speed_points_of(profile: Profile, max_load: int = 256) -> Pairs:
    """Return the (load, tokens_per_s) points of a profile.

    Its own speed points where it has them. Otherwise the speeds 1 / decode_s(L, L * context)
    for loads 1 to `max_load`, with the context of `profile.mean_context_tokens`.

    Raises
    ------
    ProfileError
        If the speeds depend on the context and no mean context is known.
    """
    if profile.speed_points is not None:
        return profile.speed_points
    mean = profile.mean_context_tokens
    if mean is None and context_matters(profile):
        raise ProfileError(
            f"{profile.name}: speeds depend on the context, expected speed_points in the profile "
            "or a mean_context_tokens"
        )
    return _derived_points(profile.cost, mean or 0.0, max_load)


def speed_model(profile: Profile, estimator: str = "usl") -> SpeedModel:
    """Return the fit of an estimator to `speed_points_of(profile)`, remembered.

    Raises what `fit_speed` and `speed_points_of` raise.
    """
    return _remembered_fit(speed_points_of(profile), estimator)


# Both remember the results of pure functions: simulations ask for one fit again and again.
@lru_cache(maxsize=128)
def _derived_points(cost: StepCost, mean_context_tokens: float, max_load: int) -> Pairs:
    loads = range(1, max_load + 1)
    return tuple((float(n), 1 / cost.decode_s(n, n * mean_context_tokens)) for n in loads)


@lru_cache(maxsize=128)
def _remembered_fit(points: Pairs, estimator: str) -> SpeedModel:
    return fit_speed(points, estimator)


def read_speed_csv(path: str | os.PathLike[str]) -> Pairs:
    """Return the (load, tokens_per_s) points of a CSV file with these two columns.

    A first row that is not numeric is a header. Columns are separated by commas, semicolons or
    tabs; empty lines are skipped.

    Raises
    ------
    ProfileError
        That names the file, the line, the value, and what was expected.
    """
    name = os.fspath(path)
    try:
        text = Path(path).read_text("utf-8-sig")
    except OSError as error:
        raise ProfileError(f"{name}: cannot read the speeds: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ProfileError(f"{name}: not a CSV file: it is not UTF-8 text") from None
    first = text.split("\n", 1)[0]
    separator = next((mark for mark in "\t;" if mark in first), ",")
    points: list[tuple[float, float]] = []
    for line_number, line in enumerate(text.splitlines(), start=1):
        row = next(csv.reader([line], delimiter=separator), [])
        if not any(cell.strip() for cell in row):
            continue
        try:
            load, speed = map(float, row)
        except ValueError:
            if line_number == 1 and len(row) == 2:
                continue
            raise ProfileError(
                f"{name}:{line_number}: {line[:60]!r}, expected two numbers: load and tokens/s"
            ) from None
        where = f"{name}:{line_number}: "
        points.append(
            (number(where + "load", load, at_least=1), number(where + "speed", speed, above=0))
        )
    if not points:
        raise ProfileError(f"{name}: holds no points, expected two columns: load and tokens/s")
    return tuple(points)


def _checked(points: Iterable[Sequence[float]]) -> Pairs:
    checked = pairs("points", [tuple(point) for point in points])
    for load, speed in checked:
        if max(load, speed) > LARGEST:
            raise ProfileError(
                f"points: load {load:g} with speed {speed:g}: expected numbers up to {LARGEST:g}"
            )
    return checked
