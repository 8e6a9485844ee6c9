"""The tables of `saber calibrate show` for two profiles."""

from collections.abc import Mapping
from typing import Any

from sim import console
from sim.cli_calibrate_tables import show_errors

BATCHES = (1, 4, 16, 64, 256)


def show_differences(found: Mapping[str, Any]) -> None:
    """Print what `calibrate.differences.differences` found."""
    p, q = found["p"], found["q"]
    if p == q:  # one device measured twice
        p, q = f"{p} (first)", f"{q} (second)"
    console.show_table(
        f"{p} and {q}",
        ["", p, q],
        [
            [name.replace("_", " "), _plainly(values["p"]), _plainly(values["q"])]
            for name, values in found["facts"].items()
        ],
    )
    for title, rows, sizes in (
        ("Decode steps", found["decode"], {"batch": "batch", "context_tokens": "context of each"}),
        ("Prefill of one prompt", found["prefill"], {"tokens": "prompt tokens"}),
    ):
        if not rows:
            console.show(f"{title}: there is no size that both profiles cover.")
            continue
        console.show_table(
            title,
            [*sizes.values(), f"{p} [ms]", f"{q} [ms]", "second/first"],
            [
                [
                    *(f"{row[size]:,}" for size in sizes),
                    console.number(row["p_s"] * 1e3),
                    console.number(row["q_s"] * 1e3),
                    console.number(row["ratio"]),
                ]
                for row in rows
                if row.get("batch", BATCHES[0]) in BATCHES
            ],
        )
    for cost, points, errors in (
        (q, p, found["errors"]["q_against_p"]),
        (p, q, found["errors"]["p_against_q"]),
    ):
        if errors:
            show_errors(f"The cost of {cost} against the points of {points}", errors)
    if found["remeasured"]:
        console.show_table(
            f"The same steps as measured, {q} over {p}",
            ["steps", "points", "median", "lowest", "highest"],
            [
                [
                    kind,
                    f"{row['points']:,}",
                    *(console.number(row[key]) for key in ("median", "low", "high")),
                ]
                for kind, row in found["remeasured"].items()
            ],
        )


def _plainly(value: object) -> str:
    if value is None or value == "":
        return console.MISSING
    if isinstance(value, float):
        return f"{value:g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
