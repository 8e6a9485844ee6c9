"""What docs/validate.md tells a user to do works: its commands, against an engine in real time."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from imported_cases import TRUE
from servers.paced import Paced, serving

from calibrate.library import load_profile
from sim.cli import app
from traces.formats import save
from traces.workloads import workload

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "validate.md").read_text()
BLOCKS = re.findall(r"^```\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
HERE = "http://localhost:8000/v1"
MODEL = "Qwen/Qwen2.5-Coder-7B-Instruct"
SHORTER = {"--budget 6m": "--budget 25s", "--duration 2m": "--duration 3s"}

VLLM = """\
#!{python}
# Stands in for vLLM: `bench serve` saves what a simulated engine would have answered.
import json, sys
sys.path[:0] = {path!r}
from imported_cases import Run, simulated, vllm_document

words = sys.argv[1:]
if words[:2] == ["bench", "serve"]:
    given = dict(zip(words, words[1:]))
    run = Run(
        int(given["--random-input-len"]),
        int(given["--random-output-len"]),
        int(given["--max-concurrency"]) if "--max-concurrency" in given else None,
        float(given["--request-rate"]) if "--request-rate" in given else None,
        int(given["--num-prompts"]),
        float(given.get("--random-range-ratio", 0)),
        int(given["--seed"]),
    )
    assert "--save-result" in words and "--save-detailed" in words
    with open(given["--result-filename"], "w") as file:
        json.dump(vllm_document(run, simulated(run)), file)
else:
    assert words[0] == "serve"
"""
SABER = '#!/bin/sh\nexec {python} -P -m sim.cli "$@"\n'


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """Return what runs a block in an empty folder, with stand-ins for `vllm` and `saber`."""
    tools = tmp_path / "bin"
    tools.mkdir()
    path = [str(ROOT), str(ROOT / "tests")]
    for name, text in (("vllm", VLLM), ("saber", SABER)):
        file = tools / name
        file.write_text(text.format(python=sys.executable, path=path))
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(line, accept=(0,)):
        done = subprocess.run(
            ["bash", "-e", "-c", line], capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode in accept, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run


@pytest.mark.slow
def test_the_commands_against_a_server_work(shell):
    paced = Paced(
        TRUE.cost,
        model=MODEL,
        max_model_len=8192,
        max_num_seqs=64,
        max_num_batched_tokens=2048,
    )
    save(workload("W1", rps=2, n=20, seed=0), "day.csv")
    with serving(paced.app) as url:
        for block in BLOCKS:
            if HERE not in block:
                continue
            for line in block.splitlines():
                for long, short in SHORTER.items():
                    line = line.replace(long, short)
                # Numbers of some seconds on a busy machine may be anywhere.
                accept = (0, 1, 3) if " validate " in line and "--dry-run" not in line else (0,)
                out = shell(line.replace(HERE, f"{url}/v1"), accept)
                assert out
    assert load_profile("mine.json").discipline == "chunked"
    assert Path("cdf.png").stat().st_size > 5000
    for folder in ("both", "day"):
        assert (Path(folder) / "validation.json").stat().st_size > 1000


def test_the_commands_without_a_server_work_and_are_as_near_as_the_page_says(shell):
    [block] = [block for block in BLOCKS if "calibrate imported" in block]
    out = shell(block)
    profile = load_profile("imported.json")
    assert profile.kv_tokens == 400_000
    for batch in (1, 4, 16):
        true_s = TRUE.cost.decode_s(batch, batch * 600)
        assert profile.cost.decode_s(batch, batch * 600) == pytest.approx(true_s, rel=0.01)
    assert "Within: e2e.p50" in out or "Cannot be told" in out
    assert "Outside" not in out


def test_a_server_is_started_with_the_settings_that_are_measured():
    [start] = [block for block in BLOCKS if block.startswith("vllm serve")]
    settings = dict(re.findall(r"(--max-num-\S+) (\S+)", start))
    assert settings == {"--max-num-seqs": "64", "--max-num-batched-tokens": "2048"}
    for line in "".join(BLOCKS).splitlines():
        if HERE in line:
            for flag, value in re.findall(r"(--max-num-\S+) (\S+)", line):
                assert settings[flag] == value


def test_flags_in_the_text_exist():
    commands = typer.main.get_command(app).commands
    known = {
        flag
        for command in (
            commands["validate"],
            commands["run"],
            *commands["calibrate"].commands.values(),
        )
        for parameter in command.params
        for flag in parameter.opts
    }
    prose = re.sub(r"^```\n.*?^```", "", PAGE, flags=re.DOTALL | re.MULTILINE)
    vllms = {"--seed", "--max-concurrency", "--save-detailed"}
    assert set(re.findall(r"--[a-z][a-z-]+", prose)) - vllms <= known
