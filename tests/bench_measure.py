"""What the benchmarks share: traces, requests a CPU second, peak memory, tables."""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import simpy
from rich.console import Console
from rich.table import Table

from sim import simulate
from traces import load
from traces.request import Trace
from traces.transform import repeat, scale_rate

if TYPE_CHECKING:
    from calibrate.profile import Profile

AZURE = Path(__file__).parents[2] / "shared/data/traces/AzureLLMInferenceTrace_code.csv"
PROFILE = "paper-qwen2.5-coder-3b"
PRIORITY = simpy.events.EventPriority(1)
REPEATS = 3


def bare_event_rate(events: int = 1_000_000) -> float:
    """Return the callbacks a CPU second of one SimPy event that is scheduled again and again."""
    env = simpy.Environment()
    event = env.event()
    event._ok, event._value = True, None
    left = events

    def again(event: simpy.Event) -> None:
        nonlocal left
        left -= 1
        if left:
            event.callbacks = callbacks
            env.schedule(event, PRIORITY, 1)

    callbacks = [again]
    event.callbacks = callbacks
    env.schedule(event, PRIORITY, 1)
    start = time.process_time()
    env.run()
    return events / (time.process_time() - start)


def code_trace(requests: int, profile: Profile, rate: float = 1.0) -> tuple[str, Trace]:
    """Return a code-completion trace tiled to `requests`, SLA three times the unloaded latency."""
    if AZURE.exists():
        name, trace = "Azure code", load(AZURE)
    else:
        # Bursts and lengths like those of the Azure 2023 code service, drawn from its description.
        name, rng, n = "synthetic code", np.random.default_rng(0), 8_819
        gaps = rng.gamma(1 / 13.15**2, 13.15**2 * 3436 / n, n)
        prompts = np.clip(rng.lognormal(7.2, 0.9, n), 3, 7437).astype(np.int64)
        outputs = np.clip(rng.lognormal(2.6, 1.1, n), 1, 1899).astype(np.int64)
        trace = Trace(np.cumsum(gaps), prompts, outputs)
    trace = repeat(trace, -(-requests // len(trace)))[:requests]
    return name, scale_rate(trace, rate).with_sla("unloaded*3", profile=profile)


def measure(
    trace: Trace, profile: Profile, policy: str, repeats: int = REPEATS, **options: object
) -> float:
    """Return requests a CPU second, the best of a few runs (the rest is other people's load)."""
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        result = simulate(trace, profile, policy, **options)  # type: ignore[arg-type]
        _ = result.columns
        best = min(best, time.process_time() - start)
        del result
    return len(trace) / best


def peak_mib() -> float:
    """Return the peak resident memory of this process [MiB]."""
    # Where there is /proc: ru_maxrss of a child begins with that of its parent.
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Rows:
    """A table of rates, printed when it is whole."""

    def __init__(self, title: str, *headings: str, events: float = 0.0) -> None:
        self._events = events
        self._table = Table(title=title)
        for heading in headings:
            self._table.add_column(heading)
        columns = ["per CPU s", *(["bare events"] if events else []), "at least", "MiB"]
        for heading in columns:
            self._table.add_column(heading, justify="right")

    def add(self, *words: object, rate: float, at_least: float = 0.0, mib: float = 0.0) -> float:
        """Add a row and return its rate."""
        texts = [f"{word:,}" if isinstance(word, int) else str(word) for word in words]
        bare = [f"{self._events / rate:.1f}"] if self._events else []
        numbers = [f"{number:,.0f}" if number else "" for number in (at_least, mib)]
        self._table.add_row(*texts, f"{rate:,.0f}", *bare, *numbers)
        return rate

    def show(self) -> None:
        """Print."""
        Console(width=130).print(self._table)
