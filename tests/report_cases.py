"""Runs made by hand: rows of requests, on a real profile, with a summary that is taken as it is."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from calibrate.library import load_profile
from sim.ledger import STATUSES
from sim.runfile import run_of
from sim.simulation import simulate
from sim.timeline import Timeline
from traces.workloads import workload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.runfile import Run

PROFILE = load_profile("paper-qwen2.5-coder-3b")


def simulated(policy: str = "saber", n: int = 40, rps: float = 10.0, **options: Any) -> Run:
    """Return a run of the balanced workload; named by its policy."""
    name = options.pop("name", policy)
    trace = workload("W3", rps=rps, n=n, seed=0)
    return run_of(
        simulate(trace, PROFILE, policy=policy, seed=0, **options),
        {"trace": {"workload": "W3", "rps": rps, "n": n}},
        name,
    )


@cache
def _plain() -> Run:
    return simulated(n=8)


def frame(**columns: Sequence[Any]) -> pd.DataFrame:
    """Return rows like those of `Result.requests`: what is not given is that of a met request."""
    count = len(next(iter(columns.values())))
    arrival = np.asarray(columns.get("arrival_s", np.zeros(count)), dtype=float)
    rows: dict[str, Any] = {
        "id": np.arange(count),
        "task": ["code"] * count,
        "arrival_s": arrival,
        "admitted_s": arrival,
        "first_token_s": arrival + 0.1,
        "finished_s": arrival + 1.0,
        "prompt_tokens": np.full(count, 100),
        "output_tokens": np.full(count, 10),
        "sla_s": np.full(count, 2.0),
        "met": np.ones(count, dtype=bool),
        "status": ["finished"] * count,
        "replica": np.zeros(count, dtype=np.int16),
        "preemptions": np.zeros(count, dtype=np.int32),
        "demoted": np.zeros(count, dtype=bool),
        **columns,
    }
    rows["task"] = pd.Categorical(rows["task"])
    rows["status"] = pd.Categorical(rows["status"], categories=list(STATUSES))
    rows["met"] = pd.array(list(rows["met"]), dtype="boolean")
    return pd.DataFrame(rows)


def run_with(requests: pd.DataFrame, **options: Any) -> Run:
    """Return a run of these requests on up to 64 replicas, with some options of its own."""
    run = _plain()
    configuration = {**run.configuration, "options": {**run.configuration["options"], **options}}
    fleet = ((PROFILE, 64, None),)
    return replace(run, requests=requests, configuration=configuration, reasons={}, fleet=fleet)


def timeline(
    held: Sequence[Sequence[int]],
    waiting: Sequence[Sequence[int]],
    running: Sequence[Sequence[int]],
    kv_blocks: Sequence[Sequence[int]],
    up_s: Sequence[Sequence[tuple[float, float]]],
    interval_s: float = 1.0,
    capacity: int = 100,
) -> Timeline:
    """Return a timeline of these samples."""
    return Timeline(
        0.0,
        interval_s,
        *(np.array(each, dtype=np.int32) for each in (held, waiting, running, kv_blocks)),
        (capacity,) * len(held),
        tuple(tuple(periods) for periods in up_s),
    )
