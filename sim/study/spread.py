"""What runs over many seeds say: a mean, its interval, and where single runs fall."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.study.scores import band

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from sim.study.runs import Cell, CellRuns

CONFIDENCE = 0.95
PERCENT = (0.0, 100.0)


def spread(
    values: NDArray[np.float64], name: str, within: tuple[float, float] = (-np.inf, np.inf)
) -> dict[str, NDArray[np.float64]]:
    """Return columns of a table, a row for each row of values, all in the unit of the values.

    Parameters
    ----------
    values : ndarray of float, shape (rows, seeds)
    name : str
        Of the column with the means.
    within : (lowest, highest)
        What the values can be; intervals are cut there.

    Returns
    -------
    dict
        `name`, the mean over seeds; `low` and `high`, its 95 % interval by Student's t; `band_low`
        and `band_high`, between which 95 % of the single runs are. One seed has neither of these
        (NaN).
    """
    rows, seeds = values.shape
    mean = values.mean(axis=1)
    columns = {name: mean}
    if seeds == 1:
        none = np.full(rows, np.nan)
        return columns | dict.fromkeys(("low", "high", "band_low", "band_high"), none)
    from scipy.special import stdtrit

    error = values.std(axis=1, ddof=1) / np.sqrt(seeds)
    half = float(stdtrit(seeds - 1, (1 + CONFIDENCE) / 2)) * error
    columns["low"], columns["high"] = np.clip([mean - half, mean + half], *within)
    columns["band_low"], columns["band_high"] = band(values)
    return columns


def goodput_of(runs: Mapping[Cell, CellRuns], cells: Sequence[Cell]) -> NDArray[np.float64]:
    """Return the goodput [%] of some cells, shape (cells, seeds)."""
    return np.stack([runs[cell].goodput_pct for cell in cells])


def seeds_of(runs: Mapping[Cell, CellRuns]) -> int:
    """Return how many seeds every cell was run with."""
    return len(next(iter(runs.values())).goodput_pct)
