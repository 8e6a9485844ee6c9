"""The cookbook's commands work as they are written, here on fewer requests."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from sim.cli import main

TEXT = (Path(__file__).parents[1] / "docs" / "cookbook.md").read_text()
QUESTIONS = {
    title: body
    for title, body in re.findall(r"^## (\d+)\. .*?$(.*?)(?=^## |\Z)", TEXT, re.S | re.M)
}
[TRACE] = re.findall(r"^saber trace generate .*$", TEXT, re.MULTILINE)


def commands(body: str) -> list[list[str]]:
    """Return the commands of a section, with fewer requests and seeds."""
    lines = re.findall(r"^saber .*$", body, re.MULTILINE)
    fewer = [
        re.sub(r"--n \d+", "--n 250", line).replace("--seeds 10", "--seeds 2") for line in lines
    ]
    return [shlex.split(line)[1:] for line in fewer]


def test_there_are_ten_questions():
    assert list(QUESTIONS) == [str(number) for number in range(1, 11)]
    assert all(commands(body) for body in QUESTIONS.values())


@pytest.mark.slow
@pytest.mark.parametrize("number", QUESTIONS)
def test_commands_run_as_written(number, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    body = QUESTIONS[number]
    for name, grid in re.findall(r"with `(\S+\.toml)`:\n\n```toml\n(.*?)```", body, re.DOTALL):
        Path(name).write_text(grid)
    for words in [*commands(TRACE), *commands(body)]:
        assert main(words) in ((0, 1) if words[0] == "plan" else (0,)), capfd.readouterr().err
        capfd.readouterr()
        if words[0] not in ("trace", "plan"):
            assert main([*words, *_again(words), "--json"]) in (0, 1), capfd.readouterr().err
            assert json.loads(capfd.readouterr().out)


def _again(words: list[str]) -> list[str]:
    """Return what a second run needs: a sweep does not write over its results."""
    return ["--overwrite"] if words[0] == "sweep" else []
