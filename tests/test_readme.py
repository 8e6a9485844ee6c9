"""The README's commands and Python lines work as they are written."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sim.cli import main

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.M)
SHELL = [block for language, block in BLOCKS if not language]
PYTHON = [block for language, block in BLOCKS if language == "python"]
COMMANDS = [block for block in SHELL if re.search(r"^saber ", block, re.MULTILINE)]


def test_the_readme_shows_make_demo_and_make_test():
    assert any("make demo" in block and "make test" in block for block in SHELL)


def test_every_command_of_the_tool_has_an_example():
    text = "".join(COMMANDS)
    for command in (
        *("compare", "run", "trace generate", "trace describe", "trace convert"),
        *("calibrate show", "calibrate speed"),
    ):
        assert f"saber {command} " in text


@pytest.mark.parametrize("block", COMMANDS, ids=lambda block: block.splitlines()[0])
def test_commands_run_as_written(block, tmp_path, monkeypatch, capsys):
    shutil.copytree(ROOT / "notebooks" / "examples", tmp_path / "notebooks" / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    for line in block.splitlines():
        program, *words = shlex.split(line)
        if program == "cd":
            monkeypatch.chdir(words[0])
        else:
            assert program == "saber"
            assert main(words) == 0, capsys.readouterr().err


@pytest.mark.parametrize("block", PYTHON)
def test_python_runs_as_written(block, tmp_path):
    finished = subprocess.run(
        [sys.executable, "-P", "-c", block],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert finished.returncode == 0, finished.stderr
    assert float(finished.stdout.splitlines()[0]) > 0


def test_its_picture_is_there():
    assert (ROOT / "notebooks" / "images" / "compare.png").is_file()
