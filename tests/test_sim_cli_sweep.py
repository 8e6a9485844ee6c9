"""`saber sweep` as a user types it."""

import json
from pathlib import Path

import pandas as pd
import pytest

from sim.cli import main

GRID = 'n = 15\nrps = [5, 10]\npolicy = ["static(8)", "saber"]\nseeds = 3\n'


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("grid.toml").write_text(GRID)


def run(capsys, *argv):
    """Return exit code, stdout and stderr of one call in this process."""
    code = main(["sweep", *map(str, argv)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_table_of_means_and_how_to_read_the_rows(capsys):
    code, out, _ = run(capsys, "grid.toml", "--jobs", "1")

    assert code == 0
    assert "rps, policy" in out
    assert "10.0, static(max_num_seqs=8)" in out
    assert " ± " in out
    assert "12 of 12 cells run in" in out
    assert 'pandas.read_parquet("grid-results/cells.parquet")' in out
    rows = pd.read_parquet("grid-results/cells.parquet")
    assert len(rows) == 12
    assert rows["key"].is_unique


def test_json_is_one_document_with_the_means_of_the_table(capsys):
    code, out, _ = run(
        capsys, "grid.toml", "--jobs", "1", "--json", "--show", "goodput_pct,ttft_s.p50"
    )

    assert code == 0
    document = json.loads(out)
    assert (document["cells"], document["ran"], document["skipped"]) == (12, 12, 0)
    assert document["failed"] == []
    first = document["configurations"][0]
    assert first["setting"] == {"rps": 5.0, "policy": "static(max_num_seqs=8)"}
    assert first["seeds"] == 3
    rows = pd.read_parquet(document["dataset"])
    mine = rows[(rows.rps == 5) & (rows.policy == "static(max_num_seqs=8)")]
    estimate = first["estimates"]["ttft_s.p50"]
    assert estimate["mean"] == pytest.approx(mine["ttft_s.p50"].mean())
    half = 4.302652729911275 * mine["ttft_s.p50"].std() / 3**0.5  # Student's t, 2 degrees
    assert estimate["high"] - estimate["mean"] == pytest.approx(half)


def test_results_that_are_there_are_not_touched_unless_asked(capsys):
    run(capsys, "grid.toml", "--jobs", "1")
    before = Path("grid-results/cells.parquet").read_bytes()
    code, _, err = run(capsys, "grid.toml", "--jobs", "1")

    assert code == 2
    assert err == (
        "saber: error: grid-results holds 12 cells of a sweep: go on with --resume, start over "
        "with --overwrite, or name another --out\n"
    )
    code, out, _ = run(capsys, "grid.toml", "--jobs", "1", "--resume")
    assert code == 0
    assert "0 of 12 cells run" in out
    assert "12 were there before" in out
    code, out, _ = run(capsys, "grid.toml", "--jobs", "1", "--overwrite")
    assert "12 of 12 cells run" in out
    assert Path("grid-results/cells.parquet").read_bytes() == before


def test_failed_cells_are_listed_and_the_exit_code_says_so(capsys):
    Path("raises_in_the_cli_test.py").write_text("def raises(view):\n    raise ValueError('no')\n")
    Path("grid.toml").write_text('n = 5\npolicy = ["raises_in_the_cli_test:raises", "saber"]\n')
    code, out, _ = run(capsys, "grid.toml", "--jobs", "1")

    assert code == 1
    assert "1 cell failed; --resume tries again:" in out
    assert "(policy=raises_in_the_cli_test:raises, seed=0): PolicyError: " in out
    code, out, _ = run(capsys, "grid.toml", "--jobs", "1", "--resume", "--json")
    assert code == 1
    document = json.loads(out)
    assert document["skipped"] == 1
    assert len(document["failed"]) == 1


def test_cells_that_left_the_grid_are_reported(capsys):
    run(capsys, "grid.toml", "--jobs", "1")
    Path("grid.toml").write_text(GRID.replace("[5, 10]", "[10, 15]"))
    code, out, _ = run(capsys, "grid.toml", "--jobs", "1", "--resume")

    assert code == 0
    assert "6 of 12 cells run" in out
    assert "6 kept cells belong to no cell of this grid: they are in" in out


def test_equal_cells_are_run_once_and_that_is_said(capsys):
    Path("grid.toml").write_text('n = 5\npolicy = ["static(8)", "static(max_num_seqs=8)"]\n')
    _, out, err = run(capsys, "grid.toml", "--jobs", "1")

    assert "1 of 1 cells run" in out
    assert "1 cells say the same as others in other words: each runs once" in err


def test_dry_run_counts_and_keeps_nothing(capsys):
    code, out, _ = run(capsys, "grid.toml", "--dry-run", "--jobs", "2")
    assert code == 0
    assert out.startswith("12 cells, 180 requests: about ")
    assert "with 2 workers" in out
    _, out, _ = run(capsys, "grid.toml", "--dry-run", "--json")
    document = json.loads(out)
    assert document["cells"] == 12
    assert document["cpu_s"] > 0
    assert not Path("grid-results").exists()


def test_the_example_runs_as_it_is_printed(capsys):
    _, out, _ = run(capsys, "--example")
    Path("example.toml").write_text(out.replace("seeds = 10", "seeds = 1").replace("100", "10"))
    code, out, _ = run(capsys, "example.toml", "--jobs", "1")

    assert code == 0
    assert "24 of 24 cells run" in out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "GRID is missing: expected a TOML file, such as --example prints"),
        (["nowhere.toml"], "nowhere.toml: No such file or directory"),
        (["grid.toml", "--resume", "--overwrite"], "--resume and --overwrite contradict"),
        (["grid.toml", "--backend", "dusk"], "--backend dusk: expected loky, dask, ray"),
        (["grid.toml", "--jobs", "1", "--show", "goodput"], "--show goodput: there is no such"),
        (["grid.toml", "--jobs", "1", "--show", "policy"], "--show policy: expected a column of"),
    ],
)
def test_mistakes_are_one_line(capsys, argv, message):
    code, _, err = run(capsys, *argv)

    assert code == 2
    assert message in err
    assert err.count("\n") == 1


def test_a_grid_saved_with_a_byte_order_mark_and_windows_line_ends(capsys):
    Path("grid.toml").write_bytes(b"\xef\xbb\xbf" + GRID.replace("\n", "\r\n").encode())
    code, out, _ = run(capsys, "grid.toml", "--jobs", "1")

    assert code == 0
    assert "12 of 12 cells run" in out


def test_what_rows_warn_of_is_said_at_the_end(capsys):
    Path("grid.toml").write_text('n = 40\nkv_tokens = [480, 400000]\npolicy = "static(2)"\n')
    code, out, err = run(capsys, "grid.toml", "--jobs", "1", "--json")

    assert code == 0
    document = json.loads(out)
    rows = pd.read_parquet(document["dataset"])
    [refused] = [w["text"] for w in document["warnings"] if "were refused" in w["text"]]
    assert refused in list(rows["warnings"][0])
    assert f"saber: warning: {refused} (1 of 2 cells)" in err
