"""`saber figures` as a user types it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from sim.cli import main
from sim.study.figures import FIGURES

ROOT = Path(__file__).parents[1]
FEW = next(figure for figure in FIGURES if 0 < len(figure.cells()) < 60)
NONE = next(figure for figure in FIGURES if not figure.cells())


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(capsys, *argv):
    """Return exit code, stdout and stderr of one call in this process."""
    code = main(["figures", *map(str, argv)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def names_of(figure):
    stem = f"figure-{figure.number}-{figure.slug}"
    return {f"{stem}.png", f"{stem}.svg", f"{stem}.csv"}


def names_in(folder):
    return {path.name for path in Path(folder).iterdir()}


def test_one_figure_is_written_and_named(capsys):
    code, out, _ = run(capsys, "--only", FEW.number, "--seeds", 2, "--jobs", 1)

    assert code == 0
    assert names_in("figures") == names_of(FEW)
    assert f"Figure {FEW.number}: {FEW.title}" in out
    assert all(f"figures/{name}" in out for name in names_of(FEW))
    table = pd.read_csv(Path("figures") / f"figure-{FEW.number}-{FEW.slug}.csv")
    assert (table["seeds"] == 2).all()


def test_several_figures_in_the_order_of_the_study_and_each_once(capsys):
    words = [f"{FEW.number}, {NONE.number},{FEW.number}", "--seeds", 1, "--out", "new/folder"]
    code, out, _ = run(capsys, "--only", *words)

    assert code == 0
    assert names_in("new/folder") == names_of(FEW) | names_of(NONE)
    first, second = sorted([FEW.number, NONE.number])
    assert out.index(f"Figure {first}:") < out.index(f"Figure {second}:")


def test_files_are_the_same_bytes_for_any_number_of_workers(capsys):
    numbers = f"{FEW.number},{NONE.number}"
    for jobs, folder in ((1, "one"), (2, "two")):
        run(capsys, "--only", numbers, "--seeds", 2, "--jobs", jobs, "--out", folder)

    assert names_in("one") == names_in("two") == names_of(FEW) | names_of(NONE)
    for name in names_in("one"):
        assert (Path("one") / name).read_bytes() == (Path("two") / name).read_bytes()


def test_the_fidelity_alone_prints_a_table_and_writes_the_report(capsys):
    code, out, _ = run(capsys, "--only", "fidelity", "--seeds", 2)

    assert code == 0
    assert names_in("figures") == {"fidelity.md", "fidelity.json"}
    assert "Simulated against published goodput; 2 seeds a cell" in out
    assert "static sizes" in out
    assert "picked after the fact" in out
    assert "figures/fidelity.md" in out
    found = json.loads(Path("figures/fidelity.json").read_text())
    assert (found["seeds"], found["quick"]) == (2, False)
    pooled = found["rows"][2]
    assert f" {pooled['score']['mae_points']:.1f} " in out


def test_json_is_one_document_with_every_file(capsys):
    code, out, _ = run(capsys, "--only", FEW.number, "--quick", "--json")

    assert code == 0
    document = json.loads(out)
    assert document["configuration"] == {
        "profile": "paper-qwen2.5-coder-3b",
        "seeds": 6,
        "first_seed": 1000,
        "quick": True,
        "out": "figures",
    }
    [figure] = document["figures"]
    assert {Path(file).name for file in figure["files"]} == names_of(FEW)
    assert all(Path(file).is_file() for file in figure["files"])
    assert document["fidelity"] is None


def test_a_quick_look_is_marked_in_every_file_with_runs(capsys):
    _, out, _ = run(capsys, "--only", FEW.number, "--quick")

    stem = f"figures/figure-{FEW.number}-{FEW.slug}"
    assert "quick look at 6 seeds" in out
    assert "quick look: 6 seeds" in Path(f"{stem}.svg").read_text()
    assert (pd.read_csv(f"{stem}.csv")["seeds"] == 6).all()


def test_the_help_has_examples(capsys):
    code, out, _ = run(capsys, "--help")

    assert code == 0
    assert "saber figures --only 3,5" in out.split("Examples:")[1]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("--only 9", ["--only 9", "'9'", "1, 2, 3", "fidelity"]),
        ("--only 3,x", ["--only 3,x", "'x'"]),
        ("--only 3,,5", ["--only 3,,5", "''"]),
        ("--seeds 0", ["--seeds", "'0'", "at least 1"]),
        ("--seeds 9 --quick", ["--seeds 9", "--quick"]),
        ("--only 8 --jobs 0", ["jobs=0"]),
        ("--only 8 --out file", ["file", "expected a folder"]),
        ("--only 8 --out file/deeper", ["file"]),
    ],
)
def test_a_mistake_is_one_clear_line_and_exit_code_2(capsys, words, named):
    Path("file").touch()
    code, out, err = run(capsys, *words.split())

    assert (code, out) == (2, "")
    [line] = err.splitlines()
    assert line.startswith("saber: error: ")
    assert all(text in line for text in named)
    assert not list(Path().glob("figures/*"))


def test_an_interrupt_is_quiet_and_keeps_what_was_written(tmp_path):
    first = FIGURES[0]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "sim.cli", "figures", "--seeds", "2"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until = time.monotonic() + 120
    last = tmp_path / "figures" / f"figure-{first.number}-{first.slug}.csv"
    while not last.exists() and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does: to the workers too
    out, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "Traceback" not in err
    assert out == ""
    assert names_of(first) <= names_in("figures")
    known = set().union(*map(names_of, FIGURES), {"fidelity.md", "fidelity.json"})
    assert names_in("figures") <= known


@pytest.mark.slow
def test_the_whole_study(study):
    assert names_in(study) == set().union(*map(names_of, FIGURES), {"fidelity.md", "fidelity.json"})
    for figure in FIGURES:
        table = pd.read_csv(study / f"figure-{figure.number}-{figure.slug}.csv")
        assert len(table)
        if figure.cells():
            assert (table["seeds"] == 60).all()
    printed = (study.parent / "stdout.txt").read_text()
    assert "60 seeds a cell" in printed
    assert "a quick look" not in printed
    report = (study / "fidelity.md").read_text()
    assert "60 seeds a cell" in report
    assert "quick" not in report
