"""What goes to stdout and what to stderr, and in which form."""

import json
import sys
import threading
import time

import numpy as np
import pytest

from sim import console


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.012345, "0.0123"),
        (1.0, "1.00"),
        (12.345, "12.3"),
        (999.6, "1,000"),
        (1234567.0, "1,234,567"),
        (-0.5, "-0.500"),
        (None, "-"),
        (float("nan"), "-"),
        (float("inf"), "-"),
    ],
)
def test_numbers_have_three_digits_and_no_exponent(value, text):
    assert console.number(value) == text


def test_json_holds_only_what_json_knows(capsys):
    console.show_json(
        {
            "nan": float("nan"),
            "infinite": [np.inf, 1.5],
            "numpy": np.float64("nan"),
            "count": np.int64(3),
            "array": np.array([1, 2]),
            "tuple": (True, None),
        }
    )

    assert json.loads(capsys.readouterr().out) == {
        "nan": None,
        "infinite": [None, 1.5],
        "numpy": None,
        "count": 3,
        "array": [1, 2],
        "tuple": [True, None],
    }


def test_a_note_is_one_line_on_stderr(capsys):
    console.note("two\nlines")

    assert capsys.readouterr() == ("", "saber: two lines\n")


def test_tables_in_a_pipe_are_not_cut(capsys):
    console.show_table("title", ["policy", "goodput [%]"], [["x" * 60, "1.5"], ["[b]", "2.5"]])

    out = capsys.readouterr().out
    assert "x" * 60 in out
    assert "[b]" in out  # text of the user's is no markup
    assert out.startswith("title\n")


def test_parent_folders_are_made_and_a_folder_is_no_file(tmp_path):
    assert console.writable(tmp_path / "a" / "b.csv").parent.is_dir()
    with pytest.raises(OSError, match="folder"):
        console.writable(tmp_path / "a")


def test_progress_is_silent_away_from_a_terminal(capsys):
    with console.progress("working", total=2) as on_done:
        on_done(2)

    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("takes_s", "shown"), [(0.0, False), (0.6, True)])
def test_progress_shows_only_when_it_takes_long(capsys, monkeypatch, takes_s, shown):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(console, "PATIENCE_S", 0.2)
    with console.progress("working", total=2) as on_done:
        on_done(1)
        time.sleep(takes_s)

    captured = capsys.readouterr()
    assert ("working" in captured.err) == shown
    assert captured.out == ""


def test_progress_stops_only_after_a_start_that_has_begun(capsys, monkeypatch):
    from rich.progress import Progress

    begun, steps = threading.Event(), []

    def slow_start(self):
        begun.set()
        time.sleep(0.2)
        steps.append("started")

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(console, "PATIENCE_S", 0.0)
    monkeypatch.setattr(Progress, "start", slow_start)
    monkeypatch.setattr(Progress, "stop", lambda self: steps.append("stopped"))
    with console.progress("working"):
        assert begun.wait(5)

    assert steps == ["started", "stopped"]
