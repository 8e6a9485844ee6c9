"""Distributions of times, from text such as ``exponential(2)``."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from policies.text import parse_call
from sim.options import OptionError

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Draw(Protocol):
    """Draws times."""

    def __call__(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return `n` independent times [s]."""
        ...


@dataclass(frozen=True)
class Constant:
    """Always the same time [s]."""

    seconds: float

    def __call__(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return it `n` times."""
        return np.full(n, float(self.seconds))


@dataclass(frozen=True)
class Exponential:
    """Exponential with a mean [s]."""

    mean: float

    def __call__(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return `n` independent times [s]."""
        return rng.exponential(self.mean, n)


@dataclass(frozen=True)
class LogNormal:
    """Log-normal with a mean [s] and a coefficient of variation."""

    mean: float
    cv: float

    def __call__(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return `n` independent times [s]."""
        variance = math.log1p(self.cv**2)
        if not self.mean:
            return np.zeros(n)
        return rng.lognormal(math.log(self.mean) - variance / 2, math.sqrt(variance), n)


@dataclass(frozen=True)
class Uniform:
    """Uniform from `low` to `high` [s]."""

    low: float
    high: float

    def __call__(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return `n` independent times [s]."""
        return rng.uniform(self.low, self.high, n)


DRAWS = {
    "exponential": Exponential,
    "lognormal": LogNormal,
    "uniform": Uniform,
    "constant": Constant,
}


def parse_draw(name: str, text: str) -> Draw:
    """Return the distribution `text` means: seconds, or one of `DRAWS` with its parameters.

    Parameters
    ----------
    name : str
        What is being drawn, for messages.
    text : str
        Such as ``2.5``, ``exponential(2)``, ``lognormal(mean=2, cv=1)``, ``uniform(1, 3)``.

    Raises
    ------
    OptionError
        In one line, for anything else.
    """
    try:
        draw: Constant | Exponential | LogNormal | Uniform = Constant(float(text))
    except ValueError:
        draw = parse_call(text, DRAWS, f"{name} distribution", error=OptionError)
    values = astuple(draw)
    for value in values:
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not 0 <= value < 9e6  # neither NaN nor infinite
        ):
            raise OptionError(f"{name}={text}: expected times from 0 to 9e6 s, not {value!r}")
    if isinstance(draw, Uniform) and draw.low > draw.high:
        raise OptionError(f"{name}={text}: expected low up to high")
    return draw
