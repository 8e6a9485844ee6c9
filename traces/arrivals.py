"""When requests arrive: random processes of a given mean rate.

Every process is called as `process(n, rps, rng)` and returns the first n arrivals, float64[n]
seconds, ascending. A closed loop (users who wait for an answer before they ask again) is not among
them: its arrivals depend on the answers, so only a simulation can make them.
"""

from __future__ import annotations

import inspect
import math
import re
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from traces.errors import TraceError, brief, positive, unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from traces.columns import FloatColumn


MOST_REQUESTS = 10**15
"""More than any memory holds, and less than what NumPy can count."""


class Arrivals(Protocol):
    """An arrival process with its parameters settled."""

    def __call__(self, n: int, rps: float, rng: np.random.Generator) -> FloatColumn:
        """Return `n` ascending arrival times in seconds, at a mean rate of `rps` a second."""
        ...


def poisson(n: int, rps: float, rng: np.random.Generator) -> FloatColumn:
    """Return a Poisson process: independent exponential gaps, one before the first arrival."""
    _check(n, rps)
    return np.cumsum(rng.exponential(1.0 / rps, n))


def uniform(n: int, rps: float, rng: np.random.Generator) -> FloatColumn:
    """Return n sorted uniform draws over [0, n / rps]: a Poisson process given its count."""
    _check(n, rps)
    return np.sort(rng.uniform(0.0, n / rps, n))


def gamma(
    n: int,
    rps: float,
    rng: np.random.Generator,
    *,
    cv: float | None = None,
    burstiness: float | None = None,
) -> FloatColumn:
    """Return a renewal process with gamma gaps.

    Parameters
    ----------
    cv : coefficient of variation of the gaps; 1 is Poisson, more is burstier
    burstiness : the same as vLLM's benchmark client puts it, 1 / cv^2; give one of the two
    """
    _check(n, rps)
    if (cv is None) == (burstiness is None):
        raise TraceError("gamma arrivals need either cv or burstiness (= 1/cv^2), and not both")
    if cv is not None:
        burstiness = 1.0 / positive("cv", cv) ** 2
    shape = positive("burstiness", burstiness)
    return np.cumsum(rng.gamma(shape, 1.0 / (rps * shape), n))


def mmpp(
    n: int,
    rps: float,
    rng: np.random.Generator,
    *,
    ratio: float = 10.0,
    busy_share: float = 0.1,
    cycle_s: float = 60.0,
) -> FloatColumn:
    """Return a Markov-modulated Poisson process of two states, busy and calm.

    Parameters
    ----------
    ratio : rate while busy over rate while calm, at least 1
    busy_share : long-run share of time spent busy, between 0 and 1
    cycle_s : mean length of one busy and one calm spell together, in seconds

    Notes
    -----
    The rates are chosen so that the long-run mean is `rps`; the first state is drawn from the
    long-run shares. Spells are exponential, hence Markov.
    """
    _check(n, rps)
    if not (math.isfinite(ratio) and ratio >= 1):
        raise TraceError(f"mmpp ratio is {ratio}; expected a finite number >= 1")
    if not 0 < busy_share < 1:
        raise TraceError(f"mmpp busy_share is {busy_share}; expected between 0 and 1")
    positive("cycle_s", cycle_s)
    calm_rps = rps / (busy_share * ratio + 1 - busy_share)
    # In operational time, where the rate is 1, arrivals are a unit Poisson process; mapping them
    # back through the piecewise linear cumulative rate modulates them without a loop per arrival.
    unit = np.cumsum(rng.exponential(1.0, n))
    busy_first = bool(rng.random() < busy_share)
    spells: list[FloatColumn] = []
    rates: list[FloatColumn] = []
    reached = 0.0
    while reached < unit[-1]:
        missing = (unit[-1] - reached) / (rps * cycle_s)
        length_s = rng.exponential(1.0, (int(1.1 * missing) + 8, 2)) * cycle_s
        busy = np.array([busy_first, not busy_first])
        length_s *= np.where(busy, busy_share, 1 - busy_share)
        rate = np.broadcast_to(np.where(busy, calm_rps * ratio, calm_rps), length_s.shape)
        spells.append(length_s.ravel())
        rates.append(rate.ravel())
        reached += float((length_s * rate).sum())
    length = np.concatenate(spells)
    times = np.concatenate([[0.0], np.cumsum(length)])
    cumulative = np.concatenate([[0.0], np.cumsum(length * np.concatenate(rates))])
    arrival_s: FloatColumn = np.interp(unit, cumulative, times)
    return arrival_s


def diurnal(
    n: int,
    rps: float,
    rng: np.random.Generator,
    *,
    amplitude: float = 0.5,
    period_s: float = 86400.0,
    peak_s: float = 43200.0,
) -> FloatColumn:
    """Return a Poisson process whose rate swings as a cosine, by thinning.

    Parameters
    ----------
    amplitude : the rate is rps * (1 + amplitude * cos(2 pi (t - peak_s) / period_s)); 0 to 1
    period_s, peak_s : length of one swing, and a time of its top, in seconds

    Notes
    -----
    `rps` is the mean over whole periods; fewer requests than one period's see part of the swing.
    Thinning: P. Lewis and G. Shedler, Naval Research Logistics Quarterly 26 (1979).
    """
    _check(n, rps)
    if not 0 <= amplitude <= 1:
        raise TraceError(f"diurnal amplitude is {amplitude}; expected between 0 and 1")
    positive("period_s", period_s)
    if not math.isfinite(peak_s):
        raise TraceError(f"diurnal peak_s is {peak_s}; expected a finite time")
    top = rps * (1 + amplitude)
    kept: list[FloatColumn] = []
    found, now = 0, 0.0
    while found < n:
        candidates = now + np.cumsum(rng.exponential(1.0 / top, n - found + 64))
        now = float(candidates[-1])
        rate = rps * (1 + amplitude * np.cos(2 * np.pi * (candidates - peak_s) / period_s))
        kept.append(candidates[rng.random(len(candidates)) * top < rate])
        found += len(kept[-1])
    return np.concatenate(kept)[:n]


PROCESSES: dict[str, Callable[..., FloatColumn]] = {
    "poisson": poisson,
    "uniform": uniform,
    "gamma": gamma,
    "mmpp": mmpp,
    "diurnal": diurnal,
}


def parse_arrivals(text: str) -> Arrivals:
    """Return the process a string names: "poisson", "gamma(cv=4)", "mmpp(ratio=8, cycle_s=30)".

    Raises
    ------
    TraceError
        The name or a parameter is unknown (with the nearest match), or a value is no number.
    """
    found = re.fullmatch(r"\s*([^\s()]+)\s*(?:\(([^()]*)\))?\s*", text)
    if found is None:
        raise TraceError(f"arrivals {brief(text)} cannot be read; expected such as gamma(cv=4)")
    name, inside = found[1].lower(), (found[2] or "").strip()
    if name not in PROCESSES:
        raise unknown("arrivals", found[1], PROCESSES)
    process = PROCESSES[name]
    known = [
        p.name for p in inspect.signature(process).parameters.values() if p.kind == p.KEYWORD_ONLY
    ]
    given: dict[str, float] = {}
    for item in inside.split(",") if inside else []:
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals:
            raise TraceError(f"arrivals {brief(text)}: {brief(item)}; expected parameter=number")
        if key not in known:
            raise unknown(f"parameter of {name} arrivals", key, known)
        if key in given:
            raise TraceError(f"arrivals {brief(text)} gives {key} twice")
        try:
            given[key] = float(value)
        except ValueError as e:
            raise TraceError(
                f"arrivals {brief(text)}: {key} is {value!r}; expected a number"
            ) from e
    chosen: Arrivals = partial(process, **given)
    # Once for nothing, so that a bad value is refused here and not at the first use.
    chosen(1, 1.0, np.random.default_rng(0))
    return chosen


def _check(n: int, rps: float) -> None:
    if not 1 <= n <= MOST_REQUESTS:
        wanted = "at least 1 request" if n < 1 else f"at most {MOST_REQUESTS:,} requests"
        raise TraceError(f"n is {n}; expected {wanted}")
    positive("rps", rps)
