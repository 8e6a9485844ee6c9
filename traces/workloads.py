"""The code-assistant workloads of the SABER study: four tasks in three mixes.

Source: S. Chang et al., "Adaptive Request Scheduling for CodeLLM Serving with SLA Guarantees",
arXiv 2506.19677v2, and its replication package. Prompt lengths are those of the study's prompts
under the Qwen tokenizer; every answer runs to its max_tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from traces.arrivals import parse_arrivals
from traces.errors import unknown
from traces.request import Trace
from traces.seeds import stream


class Task(NamedTuple):
    """One kind of request: its lengths in tokens and its SLA in seconds."""

    name: str
    prompt_tokens: int
    output_tokens: int
    sla_s: float


TASKS = (
    Task("code_translation", 792, 617, 12.0),
    Task("code_qna", 181, 51, 1.0),
    Task("code_generation", 480, 387, 8.0),
    Task("code_summary", 89, 48, 1.0),
)

# Percent of each task, in the order of TASKS.
WORKLOADS = {
    "W1": (40, 10, 40, 10),
    "W2": (10, 40, 10, 40),
    "W3": (25, 25, 25, 25),
}


def workload(
    name: str,
    rps: float,
    n: int = 100,
    seed: int | np.random.SeedSequence = 0,
    arrivals: str = "poisson",
) -> Trace:
    """Return a workload of the SABER study: W1 (heavy), W2 (light) or W3 (balanced).

    Parameters
    ----------
    name : "W1", "W2" or "W3", in either case
    rps : mean arrival rate, requests a second
    n : requests; task counts follow the mix by largest remainder and are shuffled
    seed : arrivals and task order draw from streams of their own, so that the order of tasks is
        the same at every rate and under every arrival process
    arrivals : "poisson" as in the study's SABER runs, "uniform" (n sorted uniform draws over
        [0, n / rps]) as in its static runs, or whatever `parse_arrivals` reads

    Raises
    ------
    TraceError
        Unknown workload or arrivals (with the nearest match), `rps` not finite and above zero,
        or `n` below 1.
    """
    mix = WORKLOADS.get(name.upper())
    if mix is None:
        raise unknown("workload", name, WORKLOADS)
    arrival_s = parse_arrivals(arrivals)(n, rps, stream(seed, "arrivals"))
    tasks = np.repeat(np.arange(len(TASKS), dtype=np.int32), counts(mix, n))
    order = stream(seed, "mix").permutation(tasks)
    _, prompts, outputs, slas = (np.array(column) for column in zip(*TASKS, strict=True))
    return Trace.trusted(
        arrival_s,
        prompts[order],
        outputs[order],
        sla_s=slas[order],
        task_code=order,
        tasks=tuple(task.name for task in TASKS),
        meta={"source": name.upper(), "rps": rps, "arrivals": arrivals, "seed": repr(seed)},
    )


def counts(shares: tuple[float, ...], n: int) -> list[int]:
    """Return whole numbers that sum to `n`, in proportion to `shares`, by largest remainder."""
    exact = np.array(shares) * n / sum(shares)
    whole = np.floor(exact + 1e-9)  # 0.1 * 30 must not lose one to rounding
    order = np.argsort(whole - exact, kind="stable")  # of equal remainders the first wins
    whole[order[: n - int(whole.sum())]] += 1
    return [int(c) for c in whole]
