"""Small suites for tests."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sim.check.suite import Suite, read_suite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SUITE = """
seeds = 6
max_seeds = 12

[[scenario]]
name = "small"
workload = "W1"
rps = 8
n = 20
policies = ["saber", "static(8)"]

[[scenario.guard]]
metric = ["goodput_pct", "ttft_s.p99"]
tolerance = "5 %"

[[scenario]]
name = "other"
n = 15
policies = ["static(8)"]

[[scenario.guard]]
metric = "e2e_s.mean"
tolerance = 0.1
"""

TRACE = "arrival_s,prompt_tokens,output_tokens,sla_s\n" + "".join(
    f"{i / 4},{50 + 7 * i},{20 + i % 5},5\n" for i in range(30)
)


def written(folder: Path, text: str = SUITE) -> Path:
    """Write a suite; return its path."""
    path = folder / "suite.toml"
    path.write_text(text)
    return path


def suite_of(folder: Path, text: str = SUITE) -> Suite:
    """Return a suite that is written in a folder."""
    return read_suite(written(folder, text))


@contextmanager
def no_bar(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show nothing."""
    yield lambda done: None
