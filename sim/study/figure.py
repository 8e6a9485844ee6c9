"""What a figure of the study is: the cells it needs, its table, its drawing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.figure import Figure
    from pandas import DataFrame

    from sim.study.runs import Cell, CellRuns


@dataclass(frozen=True)
class StudyFigure:
    """One figure of the study: drawn from its table alone, so that the table is its data.

    Parameters
    ----------
    number : int
        As in `saber figures --only`.
    slug : str
        Names its files.
    title : str
        One line that says what it shows.
    cells : callable
        Returns the cells whose runs it needs; none for a figure without runs.
    table : callable
        Takes the runs of (at least) those cells, all over the same seeds, and returns a row for
        every drawn mark, with intervals and the published value where there is one.
    draw : callable
        Takes the table, also one read back from CSV, and returns a matplotlib figure. Nothing is
        shown or written.
    """

    number: int
    slug: str
    title: str
    cells: Callable[[], Sequence[Cell]]
    table: Callable[[Mapping[Cell, CellRuns]], DataFrame]
    draw: Callable[[DataFrame], Figure]
