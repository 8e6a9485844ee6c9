"""`saber report` from files on disk."""

import json

import pytest

from sim.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name, words in (("a", ["--timeline"]), ("b", ["--policy", "static(8)"])):
        assert main(["run", "--n", "20", "--out", str(folder / f"{name}.parquet"), *words]) == 0
    return folder


def test_one_run_is_a_page(folder, capsys):
    out = folder / "deep" / "page.html"
    assert main(["report", str(folder / "a.parquet"), "--out", str(out)]) == 0
    page = out.read_text("utf-8")
    assert page.startswith("<!doctype html>")
    assert "a (saber): 20 requests" in page
    said = capsys.readouterr()
    assert "the run shown in" in said.err
    assert said.out == ""


def test_two_runs_and_a_heading(folder):
    out = folder / "two.html"
    files = [str(folder / f"{name}.parquet") for name in "ab"]
    assert main(["report", *files, "--out", str(out), "--title", "Before & after"]) == 0
    page = out.read_text("utf-8")
    assert "<title>Before &amp; after</title>" in page
    assert "b (static(max_num_seqs=8))" in page


def test_json_says_where_the_page_is_and_what_it_shows(folder, capsys):
    out = folder / "json.html"
    assert main(["report", str(folder / "a.parquet"), "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["page"] == str(out)
    assert found["bytes"] == out.stat().st_size
    assert found["runs"][0]["requests"] == 20


def test_pages_of_the_same_files_are_the_same(folder):
    pages = []
    for name in ("first", "second"):
        out = folder / f"{name}.html"
        assert main(["report", str(folder / "a.parquet"), "--out", str(out)]) == 0
        pages.append(out.read_bytes())
    assert pages[0] == pages[1]


def test_a_run_is_never_overwritten(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "run.html").write_bytes((folder / "a.parquet").read_bytes())
    (folder / "link.html").symlink_to(folder / "a.parquet")
    for words in (["run.html", "--out", "run.html"], ["a.parquet", "--out", "link.html"]):
        assert main(["report", *words]) == 2
        assert "is one of the runs" in capsys.readouterr().err
    assert (folder / "run.html").read_bytes() == (folder / "a.parquet").read_bytes()


def test_a_mistake_leaves_no_folder(folder):
    assert (
        main(["report", str(folder / "none.parquet"), "--out", str(folder / "new" / "x.html")]) == 2
    )
    assert not (folder / "new").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["missing.parquet"], "there is no such file"),
        (["notes.txt"], "this is no run"),
        ([], "Missing argument"),
        (["a.parquet", "--out", "page.pdf"], "ends in .html"),
    ],
)
def test_mistakes_are_one_line(folder, monkeypatch, capsys, words, message):
    monkeypatch.chdir(folder)
    (folder / "notes.txt").write_text("not a run")
    assert main(["report", *words]) == 2
    err = capsys.readouterr().err.strip()
    assert message in err
    assert len(err.splitlines()) == 1
    assert not (folder / "report.html").exists()
