"""The leaderboard as tables to read."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from sim.console import MISSING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sim.compare import Row
    from sim.interval import Estimate
    from sim.leaderboard.board import Leaderboard, Standings

BEST_MARK = "*"
Table = tuple[str, list[str], list[list[str]]]


def group_tables(board: Leaderboard) -> Iterator[Table]:
    """Yield title, columns and rows of each group of cells: goodput with its 95 % interval."""
    for group, members in groupby(board.standings, key=lambda each: each.group):
        cells = list(members)
        columns = ["goodput [%]", *(each.cell for each in cells)]
        rows = [
            [row.policy, *(_interval(each.oracle[place]) for each in cells)]
            for place, row in enumerate(cells[0].oracle)
        ]
        rows += [
            [
                name,
                *(
                    _interval(each.rows[name]) + (BEST_MARK if name in each.leaders else " ")
                    for each in cells
                ),
            ]
            for name in board.names
        ]
        yield group, columns, rows


def overall_table(board: Leaderboard) -> Table:
    """Return title, columns and rows of what is one number for a policy."""
    columns = [
        "",
        "goodput [%]",
        "best in",
        "alone",
        "Jain, tasks",
        "Jain, tenants",
        "decision [us]",
    ]
    rows = []
    for name in board.names:
        leads = [each.leaders for each in board.standings if name in each.leaders]
        rows.append(
            [
                name,
                f"{board.average(name):.1f}",
                str(len(leads)),
                str(sum(len(leaders) == 1 for leaders in leads)),
                _number(board.fairness(name, "task"), ".2f"),
                _number(board.fairness(name, "tenant"), ".2f"),
                _number(board.decision_us.get(name), ".1f"),
            ]
        )
    return (
        "Over all cells; Jain's index is of goodput by task and by tenant, 1 is even",
        columns,
        rows,
    )


def told_table(board: Leaderboard) -> Table:
    """Return title, columns and rows of what untruths change."""
    cells = dict.fromkeys(told.cell for told in board.told)
    rows = [
        [name, *(_number(board.change(tale, name), "+.1f") for tale in board.tales)]
        for name in board.names
        if any(told.policy == name for told in board.told)
    ]
    return (
        f"Points of goodput gained when told wrong, over {'; '.join(cells)}",
        ["", *board.tales],
        rows,
    )


def task_table(standings: Standings, names: Sequence[str]) -> Table:
    """Return title, columns and rows of a cell: goodput of each task and tenant."""
    labels = [
        (label, group)
        for label in ("task", "tenant")
        for group in standings.rows[names[0]].metrics[f"by_{label}"]
    ]
    rows = [
        [
            name,
            *(
                _mean(standings.rows[name].metrics[f"by_{label}"][group]["goodput_pct"])
                for label, group in labels
            ),
        ]
        for name in names
    ]
    return f"{standings.cell}: goodput [%]", ["", *(group for _, group in labels)], rows


def _interval(row: Row) -> str:
    goodput = row.goodput_pct
    if goodput is None:
        return MISSING
    if goodput.low is None or goodput.high is None:
        return f"{goodput.mean:.1f}"
    return f"{goodput.mean:.1f} ({goodput.low:.0f} to {goodput.high:.0f})"


def _mean(estimate: Estimate | None) -> str:
    return _number(None if estimate is None else estimate.mean, ".0f")


def _number(value: float | None, form: str) -> str:
    if value is None:
        return MISSING
    text = f"{value:{form}}"
    return text if float(text) else f"{0.0:{form}}"  # there is no minus zero
