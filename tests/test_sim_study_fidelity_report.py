"""The report says what was found, marks a quick look, and leaves nothing out of the data."""

import json

import numpy as np
import pytest

from sim.console import plain
from sim.study.fidelity import WORKLOADS, fidelity, fidelity_cells, published_cells
from sim.study.fidelity_report import fidelity_dict, fidelity_markdown
from sim.study.runs import CellRuns


def found(seeds):
    """Return the fidelity of runs that are 2 points too high, with one static cell 30 too low."""
    goodput = {cell: 50.0 for cell in fidelity_cells()}
    for workload in WORKLOADS:
        goodput |= {
            cell: published + 2 for cell, published in published_cells(workload, "static").items()
        }
    first = fidelity_cells()[20]
    goodput[first] -= 32
    wobble = np.arange(seeds) - (seeds - 1) / 2
    return fidelity(
        {
            cell: CellRuns(mean + wobble, np.array([float(place)]), wobble)
            for place, (cell, mean) in enumerate(goodput.items())
        }
    )


@pytest.fixture(scope="module")
def five():
    return found(5)


def lines_of(report, heading):
    section = report.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[text.strip() for text in row.strip("|").split("|")] for row in rows]


def test_the_static_table_has_the_numbers(five):
    header, _, *rows = lines_of(fidelity_markdown(five), "Static batch sizes")

    w1 = dict(zip(header, rows[0], strict=True))
    assert [row[0] for row in rows] == ["W1", "W3", "W1+W3"]
    assert w1["cells"] == "120"
    assert w1["mean abs. error"] == "2.2"  # (119 * 2 + 30) / 120
    assert w1["bias"] == "+1.7"
    # 2 of the band and 1 point: all but the cell that is 30 off, and none strictly.
    assert w1["in band"] == "99.2 %"
    assert w1["perfect: error (95 %)"].startswith("1.5 (")


def test_every_reading_and_the_largest_misses_are_there(five):
    report = fidelity_markdown(five)

    assert len(lines_of(report, "SABER, every reading")) == 2 + 3 * 3 * 4
    assert len(lines_of(report, "SABER, best reading of the algorithm")) == 2 + 3 * 3
    assert "best of 4 readings, picked after the fact" in report
    first = lines_of(report, "Largest misses, static sizes")[2]
    assert first[0] == "W1, 3 rps, static(10)"
    assert (first[1], first[4]) == ("21", "-30.0")
    assert len(lines_of(report, "Largest misses, SABER (USL) in its best readings")) == 12
    assert all("nan" not in line and "None" not in line for line in report.splitlines())


def test_tables_are_straight(five):
    report = fidelity_markdown(five)
    for block in report.split("\n\n"):
        if block.startswith("|"):
            assert len({len(line) for line in block.splitlines()}) == 1


def test_a_quick_look_says_so(five):
    assert "quick look: 5 seeds" in fidelity_markdown(five, quick=True)
    assert "quick" not in fidelity_markdown(five)
    assert fidelity_dict(five, quick=True)["quick"] is True
    assert fidelity_dict(five)["quick"] is False


def test_the_data_are_json_and_hold_every_row(five):
    document = json.loads(json.dumps(plain(fidelity_dict(five)), allow_nan=False))

    assert document["seeds"] == 5
    assert len(document["rows"]) == len(five.rows)
    assert len(document["best_of_readings"]["rows"]) == 9
    first = document["rows"][0]
    assert (first["workload"], first["group"]) == ("W1", "static")
    assert first["score"]["mae_points"] == pytest.approx(five.rows[0].score.mae_points)
    assert first["noise"]["mae_points"] == pytest.approx(five.rows[0].noise.mae_points)
    assert document["largest_misses"][0]["error_points"] == pytest.approx(-30)
    assert document["largest_misses"][0]["cell"]["policy"] == "static(10)"


def test_one_seed_has_dashes_and_says_why():
    one = found(1)
    report = fidelity_markdown(one)
    header, _, *rows = lines_of(report, "Static batch sizes")
    w1 = dict(zip(header, rows[0], strict=True))

    assert "1 seed a cell" in report
    assert "neither a band nor a noise" in report
    assert w1["mean abs. error"] == "2.2"
    assert w1["in band"] == w1["perfect: in band"] == w1["perfect: error (95 %)"] == "-"
    assert plain(fidelity_dict(one))["rows"][0]["noise"] is None
