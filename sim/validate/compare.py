"""How far a simulation is from what was measured: pure numbers in, errors and intervals out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from policies.protocol import PS_PER_S
from sim.interval import CONFIDENCE, Estimate, mean_and_interval
from sim.ledger import FINISHED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from sim.result import Result
    from sim.summary import Columns

    Floats = NDArray[np.float64]

LATENCIES = ("ttft", "tpot", "e2e")
PARTS = ("mean", "p50", "p90", "p99")
PERCENTILES = (50, 90, 99)
RESAMPLES = 2000
VALUES_AT_ONCE = 1 << 22
LEAST_REQUESTS = 20
"""Fewer say too little of how requests vary for an interval."""


@dataclass(frozen=True)
class Error:
    """One number, measured and simulated.

    Attributes
    ----------
    metric : str
        "ttft", "tpot", "e2e" [s], "goodput" [% of the requests with an objective] or "throughput"
        [output tokens/s].
    part : str
        "mean", "p50", "p90" or "p99" of a latency; else empty.
    measured, simulated : float or None
        Means over the repeats; None where it is not defined.
    error : Estimate or None
        Simulated less measured, in percent of the measured (of goodput in points), with its 95 %
        interval.
    """

    metric: str
    part: str
    measured: float | None
    simulated: float | None
    error: Estimate | None

    @property
    def name(self) -> str:
        """Metric and part."""
        return f"{self.metric}.{self.part}" if self.part else self.metric


@dataclass(frozen=True)
class Comparison:
    """All numbers of one policy.

    Attributes
    ----------
    errors : tuple of Error
    per_request_pct : mapping of str to float or None
        For each latency the median over requests of how far the simulated one is from the measured
        one, whichever way [%].
    repeats : int
    both_finished : int
        Requests that finished on both sides: latencies are over these.
    submitted : int
        All of them: goodput is over those of these that have an objective.
    """

    errors: tuple[Error, ...]
    per_request_pct: dict[str, float | None]
    repeats: int
    both_finished: int
    submitted: int

    def error(self, name: str) -> Error:
        """Return the error by its name, such as "e2e.p50" or "goodput"."""
        return next(error for error in self.errors if error.name == name)


@dataclass(frozen=True, eq=False)
class _Both:
    """One repeat: each latency of both sides over the requests that finished on both."""

    latencies: dict[str, tuple[Floats, Floats]]
    met: tuple[Floats, Floats]
    throughput: tuple[float | None, float | None]
    submitted: int
    finished: int


def compare(pairs: Sequence[tuple[Result, Result]], rng: np.random.Generator) -> Comparison:
    """Compare repeats of one policy, measured and simulated.

    Latencies are over the requests that finished on both sides, percentiles as
    `numpy.percentile` takes them.  Intervals are Student's over the repeats; of a single one they
    are percentiles of a block bootstrap over the requests in order of arrival, which stay in pairs:
    they know how requests vary and hang together, but not how another run would differ.

    Parameters
    ----------
    pairs : sequence of (measured, simulated)
        One for each repeat, with the same requests in the same order on both sides.
    rng : numpy.random.Generator
        For the bootstrap.

    Notes
    -----
    D. N. Politis and J. P. Romano, "A circular block-resampling procedure for stationary data",
    1992; blocks of the square root of the number of requests.
    """
    repeats = [_both(measured.columns, simulated.columns) for measured, simulated in pairs]
    errors = []
    for name in LATENCIES:
        errors += _latency_errors(name, [each.latencies[name] for each in repeats], rng)
    errors.append(_goodput_error([each.met for each in repeats], rng))
    errors.append(_throughput_error([each.throughput for each in repeats]))
    return Comparison(
        errors=tuple(errors),
        per_request_pct={
            name: _per_request([each.latencies[name] for each in repeats]) for name in LATENCIES
        },
        repeats=len(repeats),
        both_finished=sum(each.finished for each in repeats),
        submitted=sum(each.submitted for each in repeats),
    )


def latencies_s(columns: Columns) -> dict[str, Floats]:
    """Return TTFT, TPOT and E2E of every request [s], NaN where there is none."""
    finished = columns.status == FINISHED
    seconds = {
        "ttft": columns.ttft_ps / PS_PER_S,
        "tpot": columns.tpot_ps() / PS_PER_S,
        "e2e": columns.e2e_ps / PS_PER_S,
    }
    return {name: np.where(finished, values, np.nan) for name, values in seconds.items()}


def _both(measured: Columns, simulated: Columns) -> _Both:
    if not np.array_equal(measured.id, simulated.id):
        raise ValueError("measured and simulated requests differ: expected the same ones")
    ours, theirs = latencies_s(measured), latencies_s(simulated)
    latencies = {}
    for name in LATENCIES:
        kept = ~(np.isnan(ours[name]) | np.isnan(theirs[name]))
        latencies[name] = (ours[name][kept], theirs[name][kept])
    judged = measured.has_objective
    return _Both(
        latencies=latencies,
        met=(measured.met[judged].astype(float), simulated.met[judged].astype(float)),
        throughput=(_throughput(measured), _throughput(simulated)),
        submitted=len(measured.id),
        finished=len(latencies["e2e"][0]),
    )


def _throughput(columns: Columns) -> float | None:
    """Return output tokens a second, as in a run's summary."""
    finished = columns.where(columns.status == FINISHED)
    if not len(finished.id):
        return None
    end_ps = int((finished.arrival_ps + finished.e2e_ps).max())
    duration_s = (end_ps - int(columns.arrival_ps.min())) / PS_PER_S
    return int(finished.output_tokens.sum()) / duration_s if duration_s > 0 else None


def _parts(values: Floats, axis: int | None = None) -> Floats:
    """Return `PARTS` of values, along the first axis of the answer."""
    mean = np.mean(values, axis=axis)
    return np.concatenate([[mean], np.percentile(values, PERCENTILES, axis=axis)])


def _percent(simulated: Floats, measured: Floats) -> Floats:
    """Return how far the one is from the other; infinite where nothing was measured."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(100 * (simulated / measured - 1))


def _latency_errors(
    name: str, repeats: list[tuple[Floats, Floats]], rng: np.random.Generator
) -> list[Error]:
    repeats = [each for each in repeats if len(each[0])]
    if not repeats:
        return [Error(name, part, None, None, None) for part in PARTS]
    ours = np.array([_parts(measured) for measured, _ in repeats])
    theirs = np.array([_parts(simulated) for _, simulated in repeats])
    apart = _percent(theirs, ours)
    if len(repeats) > 1:
        estimates = [mean_and_interval(column.tolist()) for column in apart.T]
    else:
        measured, simulated = repeats[0]
        drawn = [
            _percent(_parts(simulated[rows], axis=1), _parts(measured[rows], axis=1))
            for rows in _resamples(len(measured), rng)
        ]
        estimates = _estimates(apart[0], drawn)
    means = zip(PARTS, ours.mean(axis=0), theirs.mean(axis=0), estimates, strict=True)
    return [Error(name, part, float(m), float(s), error) for part, m, s, error in means]


def _goodput_error(repeats: list[tuple[Floats, Floats]], rng: np.random.Generator) -> Error:
    repeats = [each for each in repeats if len(each[0])]
    if not repeats:
        return Error("goodput", "", None, None, None)
    ours = [100 * float(measured.mean()) for measured, _ in repeats]
    theirs = [100 * float(simulated.mean()) for _, simulated in repeats]
    apart = [s - m for m, s in zip(ours, theirs, strict=True)]
    if len(repeats) > 1:
        estimate = mean_and_interval(apart)
    else:
        points = 100 * (repeats[0][1] - repeats[0][0])
        drawn = [points[rows].mean(axis=1)[np.newaxis] for rows in _resamples(len(points), rng)]
        [estimate] = _estimates(np.array(apart), drawn)
    return Error("goodput", "", float(np.mean(ours)), float(np.mean(theirs)), estimate)


def _throughput_error(repeats: list[tuple[float | None, float | None]]) -> Error:
    known = [(m, s) for m, s in repeats if m is not None and s is not None]
    if not known:
        return Error("throughput", "", None, None, None)
    ours, theirs = (float(np.mean(side)) for side in zip(*known, strict=True))
    return Error(
        "throughput", "", ours, theirs, mean_and_interval([100 * (s / m - 1) for m, s in known])
    )


def _per_request(repeats: list[tuple[Floats, Floats]]) -> float | None:
    apart = np.concatenate([np.abs(_percent(s, m)) for m, s in repeats])
    return float(np.median(apart)) if len(apart) else None


def _resamples(count: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Yield rows of circular blocks, in batches of shape (resamples, count); none of too few."""
    if count < LEAST_REQUESTS:
        return
    block = max(1, round(count**0.5))
    blocks = -(-count // block)
    at_once = max(1, VALUES_AT_ONCE // count)
    for begin in range(0, RESAMPLES, at_once):
        batch = min(at_once, RESAMPLES - begin)
        starts = rng.integers(count, size=(batch, blocks, 1))
        rows = (starts + np.arange(block)) % count
        yield rows.reshape(batch, -1)[:, :count]


def _estimates(found: Floats, drawn: list[Floats]) -> list[Estimate | None]:
    """Return estimates with the middle of what was drawn as the interval, if there is any."""
    if not drawn or not np.isfinite(found).all():
        return [Estimate(float(mean), None, None) for mean in found]
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(np.concatenate(drawn, axis=1), (tail, 100 - tail), axis=1)
    return [
        Estimate(float(mean), float(least), float(most))
        for mean, least, most in zip(found, low, high, strict=True)
    ]
