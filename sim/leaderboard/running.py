"""Runs the leaderboard: cells by seeds, each drawn once and played by everyone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.catalog import make_policy
from policies.static import Static
from sim.compare import Comparison, Row, check_lineup, gathered, row_of
from sim.feasible import Unloaded, refuse_hopeless_goals
from sim.interval import mean_difference, mean_within
from sim.leaderboard.board import BEST_FOUND, CAP, Leaderboard, Standings, Told
from sim.leaderboard.cost import decision_us
from sim.leaderboard.misleading import CELLS, other_profile, tales
from sim.leaderboard.play import Play, play
from sim.options import OptionError
from sim.workers import each

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from calibrate.profile import Profile
    from policies.protocol import Policy
    from sim.leaderboard.cells import Cell
    from sim.leaderboard.misleading import Tale
    from sim.leaderboard.play import Played
    from sim.options import RunOptions

ORACLE_SEEDS = 10
"""The oracle looks for minutes where policies take seconds: it sees the first seeds only."""
ORACLE_BUDGET = 60
MISLED_SEEDS = 20


def leaderboard(
    cells: Sequence[Cell],
    profile: Profile,
    policies: Sequence[str | Policy],
    options: RunOptions,
    *,
    seeds: Sequence[int],
    jobs: int = 1,
    oracle_seeds: int = ORACLE_SEEDS,
    misled_seeds: int = MISLED_SEEDS,
    on_done: Callable[[int], None] = lambda done: None,
) -> Leaderboard:
    """Return how every policy does in every cell.

    On one seed of a cell all policies see the same requests (common random numbers), so that their
    differences are paired.

    Parameters
    ----------
    cells : sequence of Cell
    profile : Profile
        What the one replica runs on.
    policies : sequence of str or Policy
        As `policies.catalog.make_policy` takes them.
    options : RunOptions
    seeds : sequence of int
    jobs : int
        Worker processes, -1 for one a core; only `decision_us` differs from run to run.
    oracle_seeds, misled_seeds : int
        On how many of the seeds, the first, the oracle is asked and policies are misled; the
        latter in the cells `misleading.CELLS` and not for static sizes, which believe nothing.
    on_done : callable
        Called with the number of seeds of cells finished.

    Raises
    ------
    OptionError, PolicyError, TraceError
        For what cannot be run, in one line.
    """
    made = tuple(make_policy(policy) for policy in policies)
    check_lineup(made, seeds, jobs)
    if all(isinstance(policy, Static) for policy in made):
        raise OptionError("a leaderboard of static sizes only: expected another policy, as saber")
    for cell in cells:
        refuse_hopeless_goals(cell.draw(seeds[0]), [Unloaded(profile, options)])
    other = other_profile(profile)
    oracle_seeds = min(oracle_seeds, len(seeds))
    plays = [
        Play(
            cell.draw(seed),
            seed,
            made,
            profile,
            options,
            other if cell.name in CELLS and place < misled_seeds else None,
            ORACLE_BUDGET if place < oracle_seeds else 0,
        )
        for cell in cells
        for place, seed in enumerate(seeds)
    ]
    played = []
    for outcome in each(play, plays, jobs):
        played.append(outcome)
        on_done(len(played))
    by_cell = [played[i : i + len(seeds)] for i in range(0, len(played), len(seeds))]
    told = tales(other)
    return Leaderboard(
        standings=tuple(
            _standings(cell, outcomes, made, seeds)
            for cell, outcomes in zip(cells, by_cell, strict=True)
        ),
        told=tuple(
            one
            for place, tale in enumerate(told)
            for cell, outcomes in zip(cells, by_cell, strict=True)
            for one in _told(cell, outcomes, made, tale, place)
        ),
        tales={tale.name: tale.about for tale in told},
        decision_us={policy.label: decision_us(policy, profile) for policy in made},
        seeds=tuple(seeds),
        oracle_seeds=oracle_seeds,
        warnings=gathered(
            [summary["warnings"] for outcome in played for summary in outcome.summaries]
        ),
    )


def _standings(
    cell: Cell, played: Sequence[Played], policies: Sequence[Policy], seeds: Sequence[int]
) -> Standings:
    rows = tuple(
        row_of(policy, [outcome.summaries[place] for outcome in played])
        for place, policy in enumerate(policies)
    )
    oracle: tuple[Row, ...] = ()
    if any(outcome.cap_pct is not None for outcome in played):
        oracle = (
            _oracle_row(CAP, [outcome.cap_pct for outcome in played]),
            _oracle_row(BEST_FOUND, [outcome.best_pct for outcome in played]),
        )
    return Standings(cell.name, cell.group, cell.about, Comparison(rows, tuple(seeds), ()), oracle)


def _oracle_row(name: str, goodput: Sequence[float | None]) -> Row:
    metrics = {"goodput_pct": mean_within(goodput, 100.0)}
    return Row(name, False, metrics, {}, tuple(goodput))


def _told(
    cell: Cell, played: Sequence[Played], policies: Sequence[Policy], tale: Tale, place: int
) -> list[Told]:
    """Return what one untruth does to each policy in a cell."""
    asked = [outcome for outcome in played if outcome.misled]
    found = []
    for who, policy in enumerate(policies):
        if isinstance(policy, Static):
            continue
        change = mean_difference(
            [outcome.misled[who][place] for outcome in asked],
            [outcome.summaries[who]["goodput_pct"] for outcome in asked],
        )
        if change is not None:
            found.append(Told(tale.name, policy.label, cell.name, change))
    return found
