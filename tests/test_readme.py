"""The README's commands and Python lines work as they are written."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from bench_cases import CostBench

from calibrate import bundled_profiles, load_profile
from calibrate.__main__ import main as measure
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
        *("calibrate gpu", "calibrate show", "calibrate speed", "figures", "plan", "sweep"),
        *("check", "report"),
    ):
        assert f"saber {command} " in text
    # These need a server: tests/test_docs_validate.py runs them as that page has them.
    served = "".join(block for language, block in BLOCKS if language == "sh")
    assert "saber calibrate endpoint " in served
    assert "saber validate " in served


@pytest.mark.parametrize("block", COMMANDS, ids=lambda block: block.splitlines()[0])
def test_commands_run_as_written(block, tmp_path, monkeypatch, capsys):
    shutil.copytree(ROOT / "notebooks" / "examples", tmp_path / "notebooks" / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    # Measuring itself needs PyTorch, and one line a GPU; all around it runs as written.
    monkeypatch.setattr("calibrate.gpu._torch_bench", lambda: lambda *_: CostBench())
    for line in block.splitlines():
        program, *words = shlex.split(line)
        if program == "cd":
            monkeypatch.chdir(words[0])
        elif program == "pip":
            extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
            assert words == ["install", ".[gpu]"]
            assert "gpu" in extras["optional-dependencies"]
        elif program == "python":
            assert words[:2] == ["-m", "calibrate"]
            assert measure(words[2:]) == 0, capsys.readouterr().err
        else:
            assert program == "saber"
            kept = words[words.index(">") + 1] if ">" in words else None
            assert main(words[: -2 if kept else None]) == 0, capsys.readouterr().err
            if kept:
                Path(kept).write_text(capsys.readouterr().out)


def test_the_table_of_profiles_is_the_list_of_bundled_ones():
    rows = re.findall(r"^\| `(\S+)` \|(.*)\|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert sorted(name for name, _ in rows) == sorted(bundled_profiles())
    for name, row in rows:
        profile = load_profile(name)
        model, device, method, date, error = (cell.strip() for cell in row.split("|"))
        assert model.lower() == profile.model["name"].lower()
        assert device == profile.device["name"] or profile.device["name"] is None
        assert profile.method == "published-fit" or method == profile.method
        assert date == profile.date
        for region, held_out in profile.fit.get("held_out", {}).items():
            assert f"{region} {held_out.mape:.1f} %" in error


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
