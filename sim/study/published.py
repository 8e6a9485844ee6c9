"""What the SABER study measured and printed, as facts beside which simulations are set.

Source: S. Chang et al., "Adaptive Request Scheduling for CodeLLM Serving with SLA Guarantees",
arXiv 2506.19677v2 (ASE 2025): its text for what is printed, its replication package for the grids.
Goodput is the percentage of 100 requests that met their SLA, and every cell is one single run.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sim.options import OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping

ESTIMATORS = ("usl", "logistic", "linear")


@dataclass(frozen=True)
class PrintedFit:
    """A curve of tokens/s over the load, as the study prints it.

    Parameters
    ----------
    parameters : mapping of str to float
        By the names of `calibrate.speed.PARAMETERS`; empty where they cannot be told from the
        points (the logistic curve's).
    r2, mse : float
        Coefficient of determination, and mean squared error [(tokens/s)^2].
    """

    parameters: Mapping[str, float]
    r2: float
    mse: float


@dataclass(frozen=True)
class Printed:
    """A number the study prints.

    Parameters
    ----------
    value : float
    unit : str
    what : str
        What it is, in a few words.
    source : str
        Where it stands, or what it follows from.
    """

    value: float
    unit: str
    what: str
    source: str


SPEED_FITS: Mapping[str, PrintedFit] = MappingProxyType(
    {
        # k is printed as -0.0001; unrounded it is -0.000146.
        "usl": PrintedFit(
            MappingProxyType({"A": 102.55, "s": 0.0300, "k": -0.000146}), 0.9922, 1.8724
        ),
        "logistic": PrintedFit(MappingProxyType({}), 0.9562, 10.55),
        "linear": PrintedFit(MappingProxyType({"a": 86.65, "b": -0.7581}), 0.9126, 21.06),
    }
)
"""Fits to the 255 measured speeds (the bundled paper profile holds these as `speed_points`)."""

_RQ2 = "arXiv 2506.19677v2, RQ2"
_OVER_BEST = "SABER (USL) less the best static size of each rate, mean over the 12 rates"

SUMMARY: Mapping[str, Printed] = MappingProxyType(
    {
        "gain_w1": Printed(10.2, "points", _OVER_BEST, f"{_RQ2}; follows from the grids"),
        "gain_w2": Printed(1.2, "points", _OVER_BEST, f"{_RQ2}; the cells of W2 are not published"),
        "gain_w3": Printed(4.3, "points", _OVER_BEST, f"{_RQ2}; follows from the grids"),
        "gain_abstract": Printed(
            26.0,
            "points",
            "goodput gained at most; W3 at 20 requests/s, 50 against 24",
            "arXiv 2506.19677v2, abstract ('up to 26 %'); follows from the grids",
        ),
        "cv_saber_w1": Printed(
            33.7, "%", "variation of SABER's mean SLA ratio over the rates, W1", _RQ2
        ),
        "cv_best_static_w1": Printed(
            52.4, "%", "the same of the best static size of each rate, W1", _RQ2
        ),
    }
)
"""Figures the study prints about its own measurements, by a short name."""


def static_goodput_pct(workload: str) -> Mapping[tuple[float, int], float]:
    """Return the measured goodput [%] by (rps, max_num_seqs): 120 cells, none for W2.

    Raises
    ------
    OptionError
        For a workload the study does not have.
    """
    _check(workload)
    return _static(workload)


def saber_goodput_pct(workload: str, estimator: str = "usl") -> Mapping[float, float]:
    """Return the measured goodput [%] of SABER by rps: 12 rates, none for W2.

    Raises
    ------
    OptionError
        For a workload or estimator the study does not have.
    """
    _check(workload)
    if estimator not in ESTIMATORS:
        raise OptionError(f"estimator {estimator!r}: expected {', '.join(ESTIMATORS)}")
    series = _grids()["saber"].get(workload)
    if series is None:
        return {}
    return dict(zip(_rates(), map(float, series[estimator]), strict=True))


def _check(workload: str) -> None:
    if workload not in ("W1", "W2", "W3"):
        raise OptionError(f"workload {workload!r}: expected W1, W2 or W3")


@lru_cache(maxsize=1)
def _grids() -> dict[str, Any]:
    text = resources.files("sim.study").joinpath("published.json").read_text("utf-8")
    grids: dict[str, Any] = json.loads(text)
    return grids


def _rates() -> list[float]:
    return [float(rps) for rps in _grids()["rps"]]


def _static(workload: str) -> dict[tuple[float, int], float]:
    rows = _grids()["static"].get(workload, [])
    return {
        (rps, size): float(goodput)
        for rps, row in zip(_rates(), rows, strict=bool(rows))
        for size, goodput in zip(_grids()["max_num_seqs"], row, strict=True)
    }
