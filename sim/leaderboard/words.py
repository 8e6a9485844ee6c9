"""The leaderboard in plain words, made from its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.leaderboard.board import BEST_FOUND, BEST_STATIC, CAP, SABER, lead

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sim.interval import Estimate
    from sim.leaderboard.board import Leaderboard, Standings

WORTH_CLOSING_POINTS = 5.0
"""A gap to the oracle below this is not worth a share of it."""


def words(board: Leaderboard) -> list[str]:
    """Return sentences: who wins where, where SABER loses, what is left to gain, and caveats."""
    has_saber = SABER in board.names
    return [
        *_winners(board),
        *(_against_static(board) if has_saber and BEST_STATIC in board.names else ()),
        *(_losses(board) if has_saber else ()),
        *(_left_to_gain(board) if board.oracle_seeds else ()),
        *_misled(board),
        *_caveats(board),
    ]


def _winners(board: Leaderboard) -> list[str]:
    """Say who is best, or not told apart from the best, in how many cells."""
    led = {name: [each for each in board.standings if name in each.leaders] for name in board.names}
    alone = {
        name: [each.cell for each in cells if len(each.leaders) == 1] for name, cells in led.items()
    }
    lines = [
        f"{_spoken(name)} is best, or not told apart from the best, in {len(led[name])} of "
        f"{_cells(len(board.standings))}; it alone in {_counted(alone[name])}."
        for name in sorted(led, key=lambda name: -len(led[name]))
        if alone[name]
    ]
    others = {name: len(cells) for name, cells in led.items() if cells and not alone[name]}
    by_count = [
        f"{_cells(count)} ({_listed(_spoken(name) for name in others if others[name] == count)})"
        for count in sorted(set(others.values()), reverse=True)
    ]
    if by_count:
        lines.append(f"Never alone, but not told apart from the best: in {', in '.join(by_count)}.")
    return lines


def _against_static(board: Leaderboard) -> list[str]:
    better, worse, open_ = _sorted_out(board, SABER, BEST_STATIC)
    return [
        f"SABER beats the best static size of a cell in {_counted(better)}, loses to it in "
        f"{_counted(worse)}, and can not be told apart from it in {_counted(open_)}."
    ]


def _losses(board: Leaderboard) -> list[str]:
    """Say where SABER is behind, and whom."""
    lines = []
    for each in board.standings:
        leads = {
            name: each.lead(name, SABER)
            for name in each.rows
            if name != SABER and each.is_behind(SABER, name)
        }
        if not leads:
            continue
        most, *others_ahead = sorted(leads, key=lambda name: -leads[name].mean)
        first = f"{most} by {_points(leads[most])}"
        others = f", and to {_listed(others_ahead)}" if others_ahead else ""
        lines.append(f"SABER loses in {each.cell}: to {first}{others}.")
    return lines or ["SABER loses nowhere: no other policy is ahead of it by more than noise."]


def _left_to_gain(board: Leaderboard) -> list[str]:
    """Say how far the best known schedule is ahead, and who has closed how much of it."""
    name = SABER if SABER in board.names else board.names[0]
    gaps = [(each, _gap(each, name)) for each in board.standings]
    widest = max(gaps, key=lambda one: one[1])
    average = sum(gap for _, gap in gaps) / len(gaps)
    to_cap = sum(_gap(each, name, CAP) for each in board.standings) / len(gaps)
    text = (
        f"Left to gain: the best schedule found by one who knows everything is {average:.1f} "
        f"points above {_spoken(name)} on average, at most {widest[1]:.1f} ({widest[0].cell}); "
        f"the provable cap is {to_cap:.1f} above it."
    )
    wide = [each for each, gap in gaps if gap > WORTH_CLOSING_POINTS]
    if not wide or len(board.names) < 2:
        return [text]
    closed = {
        other: sum(1 - _gap(each, other) / _gap(each, name) for each in wide) / len(wide)
        for other in board.names
        if other not in (name, BEST_STATIC)
    }
    if not closed:
        return [text]
    most = max(closed, key=lambda other: closed[other])
    return [
        text,
        f"Where that gap exceeds {WORTH_CLOSING_POINTS:g} points ({_cells(len(wide))}), "
        f"{_spoken(most)} closes {100 * closed[most]:.0f} % of it on average, more than any other "
        "policy.",
    ]


def _gap(standings: Standings, name: str, oracle: str = BEST_FOUND) -> float:
    """Return how far the oracle is above a row, on the seeds that both have [points]."""
    row = standings.of_oracle(oracle)
    assert row is not None
    return lead(row, standings.rows[name]).mean


def _misled(board: Leaderboard) -> list[str]:
    """Say what each untruth costs those who lean on it most and least."""
    lines = []
    for tale, about in board.tales.items():
        changes = {
            name: change for name in board.names if (change := board.change(tale, name)) is not None
        }
        if not changes:
            continue
        worst = min(changes, key=lambda name: changes[name])
        told = f"Told wrong ({tale}: {about})"
        if round(changes[worst], 1) >= 0:
            lines.append(f"{told}: nobody loses by it.")
            continue
        text = f"{told}: {_spoken(worst)} loses most, {changes[worst]:+.1f} points"
        if SABER in changes and worst != SABER:
            text += f"; SABER {changes[SABER]:+.1f}"
        lines.append(f"{text}.")
    return lines


def _caveats(board: Leaderboard) -> list[str]:
    lines = []
    if BEST_STATIC in board.names:
        lines.append(
            "The best static size of a cell is picked after the fact from these same runs: that "
            "flatters it."
        )
    if len(board.seeds) == 1:
        lines.append(
            "One seed has no interval: differences of several points may be noise, and who is "
            "ahead here is so by the mean alone."
        )
    else:
        lines.append(
            "Ahead, behind and loses mean that the 95 % interval of the paired difference leaves "
            "0 out; of twenty such differences that are nothing but noise, one does."
        )
    if board.oracle_seeds:
        lines.append(
            "The best schedule found is a lower bound on what is possible: its search begins with "
            "the best policy of the seed and may find nothing better, and the truth lies between "
            "it and the cap."
        )
    if 0 < board.oracle_seeds < len(board.seeds):
        lines.append(
            f"The oracle was asked on the first {board.oracle_seeds} of {len(board.seeds)} seeds; "
            "what is said of it is about these."
        )
    return lines


def _sorted_out(
    board: Leaderboard, name: str, other: str
) -> tuple[list[str], list[str], list[str]]:
    """Return the cells in which a row is ahead of another, behind it, and neither."""
    ahead: list[str] = []
    behind: list[str] = []
    neither: list[str] = []
    for each in board.standings:
        if each.is_behind(other, name):
            ahead.append(each.cell)
        elif each.is_behind(name, other):
            behind.append(each.cell)
        else:
            neither.append(each.cell)
    return ahead, behind, neither


def _counted(cells: Sequence[str]) -> str:
    return f"{_cells(len(cells))} ({_listed(cells)})" if cells else "none"


def _cells(count: int) -> str:
    return f"{count} cell{'' if count == 1 else 's'}"


def _listed(names: Iterable[str]) -> str:
    return "; ".join(names)


def _points(estimate: Estimate) -> str:
    within = ""
    if estimate.low is not None and estimate.high is not None:
        within = f" (95 % interval {estimate.low:.1f} to {estimate.high:.1f})"
    return f"{estimate.mean:.1f} points{within}"


def _spoken(name: str) -> str:
    return "SABER" if name == SABER else name
