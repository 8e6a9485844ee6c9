"""What docs/policies.md shows works: the example, its tests, and the commands."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from policies.catalog import POLICIES
from sim.cli import main

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "policies.md").read_text()
EXAMPLE, ITS_TESTS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
[COMMANDS] = re.findall(r"^```\n(saber .*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "patient.py").write_text(EXAMPLE)
    (tmp_path / "test_patient.py").write_text(ITS_TESTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "patient", raising=False)
    return tmp_path


def test_the_example_is_of_thirty_lines_and_a_few():
    code = [line for line in EXAMPLE.splitlines() if line.strip()]
    assert len(code) <= 33


def test_the_examples_tests_pass(folder):
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_patient.py"]
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


@pytest.mark.parametrize("line", COMMANDS.splitlines(), ids=["compare", "leaderboard"])
def test_the_commands_work(folder, capsys, line):
    words = shlex.split(re.sub(r"--seeds \d+", "--seeds 2", line))
    assert words[0] == "saber"
    assert main(words[1:]) == 0
    assert "patient" in capsys.readouterr().out


def test_every_policy_is_in_the_list():
    listed = PAGE[PAGE.index("## What there is") : PAGE.index("## Where SABER+ gains")]
    named = {name.split("(")[0] for name in re.findall(r"`([^`]+)`", listed)}
    assert set(POLICIES) <= named
