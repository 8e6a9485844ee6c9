"""The bundled profile against the study's measurements (arXiv 2506.19677), on 60 seeds.

The profile is fitted to the static grids, on other seeds, so the static cells show that the model
can describe them and that nothing has drifted; they are no forecast. SABER's series was not fitted.
"""

from __future__ import annotations

import csv
import json
from typing import Any

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def fidelity(study) -> dict[str, Any]:
    found = json.loads((study / "fidelity.json").read_text())
    assert found["seeds"] == 60
    return found


def row(rows, workload, group, reading=None):
    [found] = [
        row
        for row in rows
        if (row["workload"], row["group"]) == (workload, group)
        and reading in (None, row["reading"])
    ]
    return found


@pytest.mark.parametrize("workload", ["W1", "W3"])
def test_static_cells_are_missed_by_little_more_than_the_noise_of_single_runs(fidelity, workload):
    static = row(fidelity["rows"], workload, "static")

    assert static["score"]["cells"] == 120
    assert static["score"]["mae_points"] <= static["noise"]["mae_points"] + 0.8


def test_the_noise_of_single_runs_is_what_it_was(fidelity):
    noise = {w: row(fidelity["rows"], w, "static")["noise"]["mae_points"] for w in ("W1", "W3")}

    assert noise == pytest.approx({"W1": 2.7, "W3": 3.4}, abs=0.25)


def test_static_cells_lie_in_the_band_of_single_runs(fidelity):
    static = row(fidelity["rows"], "W1+W3", "static")

    assert static["score"]["cells"] == 240
    assert static["score"]["inside_pct"] >= 93


def test_saber_is_met_within_six_points_in_its_best_reading(fidelity):
    best = fidelity["best_of_readings"]["rows"]

    pooled = row(best, "W1+W3", "usl")
    assert pooled["score"]["cells"] == 24
    assert pooled["score"]["mae_points"] <= 6
    # Which reading that is, is said for each workload.
    for workload in ("W1", "W3"):
        assert row(best, workload, "usl")["reading"] == "text, lpq idle"


def test_the_gap_on_w3_from_nine_requests_a_second_on_is_still_there(fidelity):
    """An open finding: were it gone, something else would have changed."""
    misses = [m for m in fidelity["largest_misses"] if m["cell"]["policy"].startswith("saber")]
    open_ones = {(m["cell"]["workload"], m["cell"]["rps"]) for m in misses if "open" in m["reason"]}

    assert open_ones == {("W3", 10.0), ("W3", 15.0), ("W3", 20.0)}


def test_a_batch_that_is_too_small_or_unbounded_costs_goodput_at_load(study):
    # The study's reason for SABER: no one size is right at every rate.
    [table] = study.glob("figure-1-*.csv")
    with table.open() as lines:
        goodput = {
            (cell["workload"], float(cell["rps"]), int(cell["max_num_seqs"])): float(
                cell["goodput_pct"]
            )
            for cell in csv.DictReader(lines)
        }

    def best(workload: str, rps: float) -> int:
        sizes = {size: pct for (w, r, size), pct in goodput.items() if (w, r) == (workload, rps)}
        return max(sizes, key=sizes.__getitem__)

    assert best("W3", 1.0) != best("W3", 10.0)
    assert goodput["W3", 10.0, 10] < goodput["W3", 10.0, best("W3", 10.0)] - 5
