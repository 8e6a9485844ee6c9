"""The leaderboard as one picture: goodput by policy and cell, and what untruths change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sim.leaderboard.board import mean
from sim.study.heat import COLOURS, frame, write_cells
from sim.study.style import new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from sim.leaderboard.board import Leaderboard

CELL_IN = 0.3
ROW_IN = 0.2
LABELS_IN = 1.4
REST_IN = 1.7
"""Of the height: titles above, names of cells below."""
CHANGES = "PuOr"  # two hues that colour-blind readers tell apart, white between
MOST_POINTS = 20
DARK_POINTS = 13
DARK_PCT = 55


@styled
def plot_leaderboard(board: Leaderboard) -> Figure:
    """Draw goodput of every policy in every cell, the oracle above, and beside it what is told.

    Returns
    -------
    matplotlib.figure.Figure
        The caller writes or shows it.
    """
    oracle = [row.policy for row in board.standings[0].oracle]
    rows = [*oracle, *board.names]
    columns = 1 + len(board.standings)
    tales = list(board.tales) if board.told else []
    width_in = LABELS_IN + CELL_IN * (columns + len(tales) + 1)
    figure = new_figure(width_in, REST_IN + ROW_IN * len(rows))
    ratios = [columns, len(tales)] if tales else [columns]
    axes = figure.subplots(1, len(ratios), sharey=True, squeeze=False, width_ratios=ratios)[0]
    _goodput(axes[0], board, rows)
    if tales:
        _changes(axes[1], board, rows, tales)
    return figure


def _goodput(ax: Axes, board: Leaderboard, rows: list[str]) -> None:
    values = np.full((len(rows), 1 + len(board.standings)), np.nan)
    for column, each in enumerate(board.standings, start=1):
        of_row = {row.policy: row for row in each.oracle} | dict(each.rows)
        values[:, column] = [mean(of_row[name]) for name in rows]
    values[:, 0] = values[:, 1:].mean(axis=1)
    _heat_map(ax, values, COLOURS, 0, 100)
    write_cells(ax, values, lambda percent: "white" if percent < DARK_PCT else "black")
    for column, each in enumerate(board.standings, start=1):
        for name in each.leaders:
            frame(ax, column, rows.index(name), 1)
    ax.axvline(1, color="white", linewidth=3)
    ax.axhline(len(rows) - len(board.names), color="white", linewidth=3)
    _label(ax, ["mean", *(each.cell for each in board.standings)])
    ax.set_yticks(np.arange(len(rows)) + 0.5, rows)
    ax.set_ylim(len(rows), 0)
    seeds, asked = len(board.seeds), board.oracle_seeds
    note = f"; oracle: the first {asked}" if 0 < asked < seeds else ""
    ax.set_title(
        "goodput [% of requests within their SLA], "
        f"{'one seed' if seeds == 1 else f'mean of {seeds} seeds'}{note}\n"
        "framed: best, or not told apart from it"
    )


def _changes(ax: Axes, board: Leaderboard, rows: list[str], tales: list[str]) -> None:
    values = np.array(
        [
            [np.nan if (points := board.change(tale, name)) is None else points for tale in tales]
            for name in rows
        ]
    )
    _heat_map(ax, values, CHANGES, -MOST_POINTS, MOST_POINTS)
    write_cells(ax, values, lambda points: "white" if abs(points) > DARK_POINTS else "black", "+")
    _label(ax, tales)
    cells = len({told.cell for told in board.told})
    ax.set_title(f"points gained when told\nwrong, {cells} cell{'s' if cells > 1 else ''}")


def _heat_map(
    ax: Axes, values: NDArray[np.float64], colours: str, lowest: float, highest: float
) -> None:
    shown: Any = np.ma.masked_invalid(values)
    ax.pcolormesh(shown, cmap=colours, vmin=lowest, vmax=highest)
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)


def _label(ax: Axes, names: list[str]) -> None:
    """Name the columns, slanted so that long names find room."""
    ax.set_xticks(
        np.arange(len(names)) + 0.5, names, rotation=45, ha="right", rotation_mode="anchor"
    )
