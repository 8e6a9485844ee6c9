"""A leaderboard of made-up numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.compare import Comparison, Row
from sim.interval import Estimate, mean_within
from sim.leaderboard.board import BEST_FOUND, CAP, Leaderboard, Standings, Told

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BIG, SMALL = "static(max_num_seqs=30)", "static(max_num_seqs=10)"


def made_row(
    policy: str, goodput: Sequence[float | None], *, tasks: Mapping[str, float] | None = None
) -> Row:
    by_task = {
        name: {"goodput_pct": Estimate(pct, None, None)} for name, pct in (tasks or {}).items()
    }
    metrics = {
        "goodput_pct": mean_within(goodput, 100.0),
        "by_task": by_task,
        "by_tenant": {},
        "jain": {"task": Estimate(0.9, None, None), "tenant": None},
    }
    return Row(policy, policy.startswith("static"), metrics, {"finished": 4}, tuple(goodput))


def made_cell(
    name: str,
    goodput: Mapping[str, Sequence[float | None]],
    oracle: tuple[Sequence[float | None], Sequence[float | None]] | None = None,
) -> Standings:
    rows = tuple(
        made_row(policy, values, tasks={"qna": 50.0}) for policy, values in goodput.items()
    )
    seeds = tuple(range(len(next(iter(goodput.values())))))
    found = () if oracle is None else (made_row(CAP, oracle[1]), made_row(BEST_FOUND, oracle[0]))
    return Standings(name, f"group of {name}", f"about {name}", Comparison(rows, seeds, ()), found)


def made_board(*cells: Standings, told: Sequence[Told] = (), oracle_seeds: int = 0) -> Leaderboard:
    return Leaderboard(
        standings=cells,
        told=tuple(told),
        tales={"noisy lengths": "made-up noise"},
        decision_us={"saber": 1.5},
        seeds=cells[0].comparison.seeds,
        oracle_seeds=oracle_seeds,
        warnings=("a warning",),
    )
