"""The leaderboard as data: frames for files, and one JSON document."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sim.interval import CONFIDENCE
from sim.leaderboard.board import SABER, lead
from sim.leaderboard.words import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pandas import DataFrame

    from sim.compare import Row
    from sim.interval import Estimate
    from sim.leaderboard.board import Leaderboard, Standings


def goodput_frame(board: Leaderboard) -> DataFrame:
    """Return a row for each cell and policy, static sizes apart and the oracle last."""
    import pandas as pd

    return pd.DataFrame(
        {"cell": each.cell, "group": each.group, **numbers}
        for each in board.standings
        for numbers in _entries(each)
    )


def label_frame(board: Leaderboard) -> DataFrame:
    """Return a row for each cell, policy, and task or tenant."""
    import pandas as pd

    return pd.DataFrame(
        {
            "cell": each.cell,
            "policy": row.policy,
            "label": label,
            "name": name,
            **_estimate(found["goodput_pct"], "goodput_pct"),
        }
        for each in board.standings
        for row in each.comparison.rows
        for label in ("task", "tenant")
        for name, found in row.metrics[f"by_{label}"].items()
    )


def told_frame(board: Leaderboard) -> DataFrame:
    """Return a row for each untruth, policy and cell."""
    import pandas as pd

    columns = ["told", "policy", "cell", "change_points", "low", "high"]
    return pd.DataFrame(
        [
            [one.tale, one.policy, one.cell, *asdict(one.change_points).values()]
            for one in board.told
        ],
        columns=columns,
    )


def run_frame(board: Leaderboard) -> DataFrame:
    """Return a row for each run: cell, policy, seed, goodput."""
    import pandas as pd

    return pd.DataFrame(
        {"cell": each.cell, "policy": row.policy, "seed": seed, "goodput_pct": goodput}
        for each in board.standings
        for row in (*each.comparison.rows, *each.oracle)
        for seed, goodput in zip(board.seeds, row.goodput_by_seed, strict=True)
        if goodput is not None
    )


def to_dict(board: Leaderboard) -> dict[str, Any]:
    """Return all of it in JSON's types."""
    return {
        "cells": [
            {
                "cell": each.cell,
                "group": each.group,
                "about": each.about,
                "best": list(each.leaders),
                "rows": [
                    {
                        **numbers,
                        **{f"by_{label}": _by(row, label) for label in ("task", "tenant")},
                        "statuses": dict(row.statuses),
                        "goodput_by_seed": list(row.goodput_by_seed),
                    }
                    for row, numbers in zip(
                        (*each.comparison.rows, *each.oracle), _entries(each), strict=True
                    )
                ],
            }
            for each in board.standings
        ],
        "overall": [
            {
                "policy": name,
                "goodput_pct": board.average(name),
                "jain_task": board.fairness(name, "task"),
                "jain_tenant": board.fairness(name, "tenant"),
            }
            for name in board.names
        ],
        "told_wrong": {
            "tales": dict(board.tales),
            "rows": told_frame(board).to_dict(orient="records"),
        },
        "words": words(board),
        "seeds": list(board.seeds),
        "oracle_seeds": board.oracle_seeds,
        "confidence": CONFIDENCE,
        "decision_us": dict(board.decision_us),
        "warnings": list(board.warnings),
    }


def _entries(standings: Standings) -> Iterator[dict[str, Any]]:
    """Yield the numbers of each policy and of the oracle in a cell."""
    saber = standings.rows.get(SABER)
    best = standings.comparison.best_static
    for row in (*standings.comparison.rows, *standings.oracle):
        jain = row.metrics.get("jain", {})
        yield {
            "policy": row.policy,
            "best_static": best is not None and row.policy == best.policy,
            **_estimate(row.goodput_pct, "goodput_pct"),
            **_estimate(
                None if saber is None or row is saber else lead(row, saber), "less_saber_points"
            ),
            **{f"jain_{label}": _value(jain.get(label)) for label in ("task", "tenant")},
            "seeds": sum(goodput is not None for goodput in row.goodput_by_seed),
        }


def _estimate(estimate: Estimate | None, name: str) -> dict[str, float | None]:
    return {
        name: _value(estimate),
        f"{name}_low": None if estimate is None else estimate.low,
        f"{name}_high": None if estimate is None else estimate.high,
    }


def _by(row: Row, label: str) -> dict[str, float | None]:
    found: Mapping[str, Any] = row.metrics.get(f"by_{label}", {})
    return {name: _value(numbers["goodput_pct"]) for name, numbers in found.items()}


def _value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.mean
