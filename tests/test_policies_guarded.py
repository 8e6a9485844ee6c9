"""A policy of a user's that fails says so in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULE = """
import sys
print("noise at import")

def raises(view):
    raise ValueError("two\\nlines")

def leaves(view):
    sys.exit(3)

def prints(view):
    print("noise")
    return view.queue

class Policy:
    label = "mine"
    def __init__(self, start):
        self.begin = start
    def start(self, rng, profile):
        return self.begin()

def fail():
    raise KeyError("gone")

no_decider = Policy(lambda: 5)
no_start = Policy(fail)
"""


def saber(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "mine.py").write_text(MODULE)
    # Buffered, as a user's stdout is: what is printed must not come out late either.
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    return subprocess.run(
        [sys.executable, "-m", "sim.cli", *arguments],
        cwd=folder,
        env=inherited | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("raises", "policy mine:raises: its decide failed with ValueError: two lines at "),
        ("leaves", "policy mine:leaves: its decide failed with SystemExit: 3 at "),
        ("no_decider", "policy mine: start returned 5: expected an object with decide(view)"),
        ("no_start", "policy mine: its start failed with KeyError: 'gone' at "),
    ],
)
def test_a_failing_policy_is_one_line_and_exit_2(tmp_path, policy, message):
    done = saber(tmp_path, "run", "--n", "5", "--json", "--policy", f"mine:{policy}")
    assert done.returncode == 2
    assert done.stdout == ""
    noise, error = done.stderr.splitlines()
    assert noise == "noise at import"
    assert error.startswith(f"saber: error: {message}")


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_what_a_policy_prints_stays_off_the_document(tmp_path, jobs):
    done = saber(
        tmp_path, "compare", "--n", "5", "--seeds", "2", "--no-figure", "--json", "--jobs", jobs,
        "--policies", "mine:prints,saber",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [row["policy"] for row in json.loads(done.stdout)["rows"]] == ["mine:prints", "saber"]
    assert "noise" in done.stderr
