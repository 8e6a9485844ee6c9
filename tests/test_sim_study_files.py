"""Files of the study, with figures made up for the test: whole, in order, and nothing else."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from calibrate.library import load_profile
from sim.study import runs
from sim.study.figure import StudyFigure
from sim.study.figures import FIGURES as STUDY
from sim.study.files import cells_of, mark_quick, write_study
from sim.study.runs import Cell

PROFILE = load_profile("paper-qwen2.5-coder-3b")
SHARED = Cell("W3", 2.0, "static(20)", "uniform")
OWN = Cell("W3", 2.0, "saber")
OTHER = Cell("W1", 2.0, "saber")


def table(found):
    return pd.DataFrame(
        [
            {"policy": cell.policy, "goodput_pct": run.goodput_pct.mean() / 3}
            for cell, run in found.items()
        ]
    )


def draw(table):
    figure = Figure(layout="constrained")
    figure.add_subplot().bar(table["policy"], table["goodput_pct"])
    return figure


def figure(number, *cells, draw=draw):
    def own_table(found):
        return table({cell: found[cell] for cell in cells})

    return StudyFigure(number, f"slug{number}", f"title {number}", lambda: cells, own_table, draw)


FIGURES = [figure(1, SHARED), figure(4, OWN, SHARED, OTHER)]


def write(out, figures=FIGURES, **options):
    out.mkdir(exist_ok=True)
    return write_study(figures, out, PROFILE, [0, 1], with_fidelity=False, **options)


def test_each_figure_is_a_png_an_svg_and_its_table(tmp_path):
    written = write(tmp_path)

    names = [[path.name for path in paths] for _, paths in written.figures]
    assert names == [
        ["figure-1-slug1.png", "figure-1-slug1.svg", "figure-1-slug1.csv"],
        ["figure-4-slug4.png", "figure-4-slug4.svg", "figure-4-slug4.csv"],
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[0] + names[1])
    assert (tmp_path / "figure-1-slug1.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "figure-1-slug1.svg").read_text()
    assert list(pd.read_csv(tmp_path / "figure-4-slug4.csv")["policy"]) == [
        "saber",
        "static(20)",
        "saber",
    ]
    assert written.fidelity is None


def test_the_bytes_do_not_depend_on_the_workers_nor_the_day(tmp_path, monkeypatch):
    write(tmp_path / "one")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    write(tmp_path / "two", jobs=2)

    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_cell_of_two_figures_runs_once(tmp_path, monkeypatch):
    ran = []
    real = runs.run_cell
    monkeypatch.setattr(
        runs, "run_cell", lambda cell, **given: ran.append(cell) or real(cell, **given)
    )
    done = []
    write(tmp_path, on_done=done.append)

    assert ran == [SHARED, OWN, OTHER]
    assert done == [1, 2, 3]
    assert cells_of(FIGURES, with_fidelity=False) == [SHARED, OWN, OTHER]
    assert len(cells_of(FIGURES, with_fidelity=True)) == 528  # all are among them


def test_what_was_written_before_an_interrupt_stays_and_nothing_half_done(tmp_path):
    def interrupted(table):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, [FIGURES[0], figure(2, OWN, draw=interrupted)])

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "figure-1-slug1.csv",
        "figure-1-slug1.png",
        "figure-1-slug1.svg",
    ]


def test_a_file_that_cannot_be_written_whole_leaves_the_old_one(tmp_path, monkeypatch):
    write(tmp_path, FIGURES[:1])
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    real = Path.write_bytes

    def full(path, content):
        real(path, content[:5])
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr("sim.study.style.write_figure", lambda *args: ())
    with pytest.raises(OSError, match="No space"):
        write(tmp_path, [figure(1, OWN)])

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == kept


def test_existing_files_are_overwritten_by_name_only(tmp_path):
    (tmp_path / "figure-1-slug1.csv").write_text("old")
    (tmp_path / "figure-2-mine.csv").write_text("mine")
    write(tmp_path)

    assert (tmp_path / "figure-1-slug1.csv").read_text() != "old"
    assert (tmp_path / "figure-2-mine.csv").read_text() == "mine"


def test_a_quick_look_is_marked_in_the_picture(tmp_path):
    write(tmp_path / "quick", quick=True)
    write(tmp_path / "whole")

    assert "quick look: 2 seeds" in (tmp_path / "quick/figure-1-slug1.svg").read_text()
    assert "quick look" not in (tmp_path / "whole/figure-1-slug1.svg").read_text()


@pytest.mark.parametrize("number", [1, 3, 5])
def test_the_mark_of_a_quick_look_hides_nothing(number):
    """Room is made above whatever the figure has: a map with colours, bars, annotated gains."""
    wanted = next(figure for figure in STUDY if figure.number == number)
    few = runs.CellRuns(np.array([40.0, 60.0]), np.array([1.0, 1.2]), np.array([0.1, 0.2]))
    drawn = wanted.draw(wanted.table(dict.fromkeys(wanted.cells(), few)))
    mark_quick(drawn, 2)
    drawn.draw_without_rendering()

    [mark] = [text for text in drawn.texts if "quick look" in text.get_text()]
    lowest = mark.get_window_extent().y0
    assert all(ax.get_tightbbox().y1 <= lowest for ax in drawn.axes if ax.get_visible())
