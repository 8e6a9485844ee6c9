"""The fidelity of the simulation in words and tables, and as plain data."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sim.console import MISSING
from sim.study.fidelity import READINGS, STATIC
from sim.study.scores import RESOLUTION_POINTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sim.study.fidelity import Fidelity, Miss, Row

INTRODUCTION = """\
The published cells are measurements of a real engine (S. Chang et al., arXiv 2506.19677v2, and its
replication package); W2's are not published. Each is **one run of 100 requests**, so even a perfect
simulator would miss it by that run's own noise. Every score therefore stands beside the one a
perfect simulator would get: each simulated run of a cell is taken for the published one and held
against all the others of that cell, {others} runs in place of {seeds}.

- **Error** is the simulated mean less the published goodput, in points; the mean absolute error and
  the bias are means over the cells.
- **In band**: share of published cells at most {resolution:.0f} point outside the range that holds
  95 % of the simulated single runs (2.5 to 97.5 percentile). The {resolution:.0f} point is one
  request of 100, the least by which two runs can differ; *strictly* is the share without it.
- **Perfect** is what a perfect simulator would score: its mean absolute error, with the range it
  has in 95 % of such studies; the bias it stays below in 95 % of them; its share in the band.
- The engine's coefficients were fitted to the static cells (and to request latencies of the study),
  with other seeds. The static rows show that the model can describe these cells; they are no
  forecast. SABER's series was never fitted.
"""

READ_AFTER_THE_FACT = """\
The study leaves open what SABER's low-priority queue may release, and its replication package
differs from its text. Each row below takes the best of {readings} readings, picked after the fact:
that flatters it.
"""

NO_NOISE = """\
One seed has neither a band nor a noise: an error of many points may be chance.
"""

SCORES = (
    *("workload", "policy", "cells", "mean abs. error", "perfect: error (95 %)"),
    *("bias", "perfect: bias", "in band", "perfect: in band", "strictly", "perfect: strictly"),
)
MISSED = ("cell", "published", "simulated", "95 % of runs", "error", "reason, as far as known")


def fidelity_markdown(found: Fidelity, *, quick: bool = False) -> str:
    """Return the report; `quick` marks it as a first look."""
    one = found.seeds == 1
    seeds = f"{found.seeds} seed{'' if one else 's'} a cell"
    static, saber = _parts(found.rows)
    of_static, of_saber = (
        [miss for miss in found.misses if (miss.cell.arrivals == "uniform") is uniform]
        for uniform in (True, False)
    )
    parts = [
        f"# Fidelity: simulated against published goodput, {seeds}",
        _quick_note(found.seeds) if quick else "",
        NO_NOISE if one else "",
        INTRODUCTION.format(
            others=found.seeds - 1, seeds=found.seeds, resolution=RESOLUTION_POINTS
        ),
        "## Static batch sizes",
        _table(SCORES, map(score_cells, static)),
        "## SABER, best reading of the algorithm",
        READ_AFTER_THE_FACT.format(readings=len(READINGS)),
        _table(SCORES, map(score_cells, found.best)),
        "## SABER, every reading",
        _table(SCORES, map(score_cells, saber)),
        "## Largest misses, static sizes",
        _table(MISSED, map(_miss, of_static)),
        "## Largest misses, SABER (USL) in its best readings",
        _table(MISSED, map(_miss, of_saber)),
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts if part) + "\n"


def fidelity_dict(found: Fidelity, *, quick: bool = False) -> dict[str, Any]:
    """Return the same as plain data: ``rows``, ``best_of_readings`` and ``largest_misses``."""
    return {
        "seeds": found.seeds,
        "quick": quick,
        "published": "one run of 100 requests a cell, arXiv 2506.19677v2 and replication package",
        "resolution_points": RESOLUTION_POINTS,
        "rows": [asdict(row) for row in found.rows],
        "best_of_readings": {
            "readings": len(READINGS),
            "picked": "after the fact, by workload",
            "rows": [asdict(row) for row in found.best],
        },
        "largest_misses": [
            {**asdict(miss), "error_points": miss.error_points} for miss in found.misses
        ],
    }


def score_cells(row: Row) -> list[str]:
    """Return the texts of one row of `SCORES`."""
    score, noise = row.score, row.noise
    mae = f"{score.mae_points:.1f}"
    bias = f"{score.bias_points:+.1f}"
    texts = [row.workload, policy_of(row), str(score.cells)]
    if noise is None:
        return [*texts, mae, MISSING, bias, *[MISSING] * 5]
    return [
        *texts,
        mae,
        f"{noise.mae_points:.1f} ({noise.mae_low_points:.1f} to {noise.mae_high_points:.1f})",
        bias,
        f"± {noise.bias_reach_points:.1f}",
        *map(_share, (score.inside_pct, noise.inside_pct)),
        *map(_share, (score.strictly_inside_pct, noise.strictly_inside_pct)),
    ]


def policy_of(row: Row) -> str:
    """Return what a row is about, in a few words."""
    return "static sizes" if row.group == STATIC else f"SABER {row.group}, {row.reading}"


def _parts(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    return (
        [row for row in rows if row.group == STATIC],
        [row for row in rows if row.group != STATIC],
    )


def _quick_note(seeds: int) -> str:
    return (
        f"**A quick look: {seeds} seeds a cell. The bands are too narrow and the scores rough; run "
        "`saber figures` without `--quick` for numbers to quote.**"
    )


def _miss(miss: Miss) -> list[str]:
    cell = miss.cell
    return [
        f"{cell.workload}, {cell.rps:g} rps, {cell.policy}",
        f"{miss.published_pct:.0f}",
        f"{miss.mean_pct:.1f}",
        f"{miss.low_pct:.0f} to {miss.high_pct:.0f}",
        f"{miss.error_points:+.1f}",
        miss.reason,
    ]


def _share(percent: float | None) -> str:
    return MISSING if percent is None else f"{percent:.1f} %"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown that is also straight as plain text."""
    body = [list(columns), *map(list, rows)]
    widths = [max(len(row[place]) for row in body) for place in range(len(columns))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |"
        for row in body
    ]
    rule = "| " + " | ".join("-" * width for width in widths) + " |"
    return "\n".join([lines[0], rule, *lines[1:]])
