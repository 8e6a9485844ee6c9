"""The golden suite sees errors: each one planted in a copy of the packages fails the check.

An error is planted by replacing a snippet of source text, so these tests also fail when the code
has moved on; plant the same error in the new text then.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("traces", "calibrate", "policies", "sim")


class Planted(NamedTuple):
    """Edits (file, snippet, what stands there instead), and what is said of them."""

    name: str
    edits: tuple[tuple[str, str, str], ...]
    scenario: str
    said: tuple[str, ...]


LEAK = (
    "sim/engine.py",
    "        return finished\n\n    def form(self)",
    "        self._blocks -= len(finished)\n        return finished\n\n    def form(self)",
)
BLIND = (
    "sim/engine.py",
    "if left or self._blocks != self._spec.limits.blocks:",
    "if left:",
)

PLANTED = [
    Planted(
        "SABER takes the load for twice what it is",
        (
            (
                "policies/saber_events.py",
                "view.now_ps, view.in_engine, view.arrived",
                "view.now_ps, 2 * view.in_engine, view.arrived",
            ),
        ),
        "W3",
        ("FAIL: W3: goodput_pct of saber is ", "FAIL: W3: tpot_s.mean of saber is "),
    ),
    Planted(
        "SABER takes the load for half of what it is",
        (
            (
                "policies/saber_events.py",
                "view.now_ps, view.in_engine, view.arrived",
                "view.now_ps, view.in_engine // 2, view.arrived",
            ),
        ),
        "W3",
        ("FAIL: W3: goodput_pct of saber is ",),
    ),
    Planted(
        "the last who came is the first to go",
        (
            (
                "sim/engine.py",
                "self._waiting.append(request)",
                "self._waiting.appendleft(request)",
            ),
        ),
        "W1",
        ("FAIL: W1: ttft_s.p99 of static(max_num_seqs=30) is ",),
    ),
    Planted(
        "a block leaks with every request, and the engine sees it",
        (LEAK,),
        "KV pressure",
        (
            "FAIL: KV pressure: goodput_pct of saber is not known: the run of saber with seed 0 "
            "failed: RuntimeError: engine went idle with requests, tokens or blocks left over",
            "FAIL: KV pressure: preemptions of static(max_num_seqs=64) is not known: ",
        ),
    ),
    Planted(
        "a block leaks with every request, and nobody looks",
        (LEAK, BLIND),
        "KV pressure",
        (
            "FAIL: KV pressure: goodput_pct of saber is ",
            "FAIL: KV pressure: e2e_s.mean of static(max_num_seqs=64) is ",
        ),
    ),
    Planted(
        "prompts cost nothing",
        (
            (
                "sim/engine.py",
                "cost_ps = self._costs.prefill_ps(tokens, attention2)",
                "cost_ps = 1",
            ),
        ),
        "W2",
        (
            "FAIL: W2: goodput_pct of static(max_num_seqs=30) is ",
            "FAIL: W2: ttft_s.p99 of saber is ",
        ),
    ),
]


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the packages."""
    folder = tmp_path_factory.mktemp("copy")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=_no_caches)
    return folder


_no_caches = shutil.ignore_patterns("__pycache__")


def check(copy: Path, *words: str) -> tuple[int, str, str]:
    """Run the golden suite on a copy; return exit code, stdout and stderr."""
    suite = ROOT / "tests" / "golden" / "suite.toml"
    finished = subprocess.run(
        [sys.executable, "-P", "-m", "sim.cli", "check", str(suite), "--jobs", "1", *words],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return finished.returncode, finished.stdout, finished.stderr


def test_what_is_there_is_what_the_golden_baseline_says(copied: Path):
    code, out, err = check(copied, "--json")

    assert code == 0, out + err
    document = json.loads(out)
    assert document["outcome"] == "pass"
    assert {guard["scenario"] for guard in document["guards"]} == {
        *("W1", "W2", "W3", "Azure code burst", "KV pressure", "failures")
    }


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_an_error_fails_the_check_and_the_metric_is_named(planted: Planted, copied: Path):
    kept = {}
    for name, snippet, instead in planted.edits:
        path = copied / name
        text = path.read_text()
        kept.setdefault(path, text)
        assert text.count(snippet) == 1, f"{name} no longer contains {snippet!r} once"
        path.write_text(text.replace(snippet, instead))
    try:
        code, out, err = check(copied, "--only", planted.scenario)
    finally:
        for path, text in kept.items():
            path.write_text(text)

    assert code == 1, out + err
    for words in planted.said:
        assert words in out
    assert "Regression: " in out
