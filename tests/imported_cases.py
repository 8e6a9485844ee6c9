"""Results as others' tools write them: of runs simulated on a known profile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from calibrate.profile import Profile
from calibrate.steptime import PiecewiseLinear, StepCost
from policies.protocol import PS_PER_S
from sim.cluster.clients import Clients
from sim.gaps import gap_rows
from sim.simulation import simulate
from traces.request import Trace

if TYPE_CHECKING:
    from sim.result import Result

TRUE = Profile(
    name="true",
    method="torch",
    cost=StepCost(
        decode_fixed=PiecewiseLinear((1.0, 8.0, 64.0), (6e-3, 6.6e-3, 10e-3)),
        decode_context=PiecewiseLinear((1.0, 64.0), (3e-7, 1.5e-7)),
        prefill=PiecewiseLinear((1.0, 16.0, 4096.0), (6e-3, 6.2e-3, 0.2)),
    ),
    kv_tokens=400_000,
    kv_source="known",
    discipline="chunked",
    client_overhead_s=2e-3,
)
START_S = 47_089.25
"""What a client's clock shows when a run begins."""


@dataclass(frozen=True)
class Run:
    """What to simulate: a closed loop, or requests that arrive at a rate."""

    prompt: int
    output: int
    concurrency: int | None = None
    rate: float | None = None
    n: int = 40
    spread: float = 0.0
    seed: int = 0


USUAL = (
    Run(16, 128, 1, n=12),
    Run(512, 128, 1, n=12),
    Run(2048, 128, 1, n=12),
    Run(256, 128, 4, n=40, spread=0.3),
    Run(256, 256, 16, n=96, spread=0.5),
    Run(1536, 256, 16, n=64, spread=0.3),
)
"""A run at a time of three lengths, and some at once."""


def simulated(run: Run, profile: Profile = TRUE, **options: Any) -> Result:
    """Return the run on a simulated engine."""
    rng = np.random.default_rng(run.seed)

    def lengths(mean: int) -> np.ndarray:
        low, high = round(mean * (1 - run.spread)), round(mean * (1 + run.spread))
        return rng.integers(low, high, endpoint=True, size=run.n)

    arrival_s = np.zeros(run.n)
    if run.rate is not None:
        arrival_s = np.cumsum(rng.exponential(1 / run.rate, size=run.n))
    trace = Trace.trusted(arrival_s, lengths(run.prompt), lengths(run.output))
    if run.concurrency is not None:
        # The simulator adds the client overhead to times alone; a client waits for it too.
        think = f"{profile.client_overhead_s:g}"
        options["clients"] = Clients(users=run.concurrency, think=think)
    return simulate(trace, profile, policy="static(256)", **options)


def requests_of(result: Result) -> list[dict[str, Any]]:
    """Return start, ttft, gaps and lengths of every request as its client saw it."""
    # A row is a stretch of steps: write each of them out.
    ends = np.unique(
        np.concatenate(
            [
                end + np.concatenate([[0], np.cumsum(gap + growth * np.arange(1, steps))])
                for end, gap, growth, steps, _ in gap_rows(result.accounts).tolist()
            ]
        ).astype(np.int64)
    )
    overhead_ps = round(result.fleet[0].profile.client_overhead_s * PS_PER_S)
    columns = result.columns
    found = []
    for i in range(len(columns.id)):
        arrival = int(columns.arrival_ps[i])
        first = arrival + int(columns.ttft_ps[i]) - overhead_ps
        last = arrival + int(columns.e2e_ps[i]) - overhead_ps
        inside = ends[(ends > first) & (ends <= last)]
        gaps = np.diff(np.concatenate([[first], inside])) / PS_PER_S
        assert len(gaps) == columns.output_tokens[i] - 1, "a step of each token is known"
        found.append(
            {
                "start_s": arrival / PS_PER_S,
                "ttft_s": int(columns.ttft_ps[i]) / PS_PER_S,
                "gaps_s": gaps.tolist(),
                "prompt_tokens": int(columns.prompt_tokens[i]),
                "output_tokens": int(columns.output_tokens[i]),
            }
        )
    return found


def vllm_document(run: Run, result: Result, *, starts: bool = True, detailed: bool = True) -> dict:
    """Return a result of ``vllm bench serve``."""
    rows = requests_of(result)
    tpots = [sum(r["gaps_s"]) / len(r["gaps_s"]) for r in rows]
    ttfts = [r["ttft_s"] for r in rows]
    document: dict[str, Any] = {
        "date": "20260131-101500",
        "endpoint_type": "openai",
        "backend": "openai",
        "label": None,
        "model_id": "org/Model-1B",
        "tokenizer_id": "org/Model-1B",
        "num_prompts": run.n,
        "request_rate": "inf" if run.rate is None else run.rate,
        "burstiness": 1.0,
        "max_concurrency": run.concurrency,
        "completed": len(rows),
        "failed": 0,
        "total_input_tokens": sum(r["prompt_tokens"] for r in rows),
        "total_output_tokens": sum(r["output_tokens"] for r in rows),
        "mean_ttft_ms": 1e3 * float(np.mean(ttfts)),
        "median_ttft_ms": 1e3 * float(np.median(ttfts)),
        "mean_tpot_ms": 1e3 * float(np.mean(tpots)),
    }
    if detailed:
        document |= {
            "input_lens": [r["prompt_tokens"] for r in rows],
            "output_lens": [r["output_tokens"] for r in rows],
            "ttfts": ttfts,
            "itls": [r["gaps_s"] for r in rows],
            "generated_texts": ["" for _ in rows],
            "errors": ["" for _ in rows],
        }
    if detailed and starts:
        document["start_times"] = [START_S + r["start_s"] for r in rows]
    return document


def guidellm_document(runs: list[tuple[Run, Result]]) -> dict[str, Any]:
    """Return a report of GuideLLM 0.8."""
    benchmarks = []
    for run, result in runs:
        requests = []
        for i, r in enumerate(requests_of(result)):
            start = 1.77e9 + r["start_s"]
            first = start + r["ttft_s"]
            last = first + sum(r["gaps_s"])
            requests.append(
                {
                    "request_id": f"{i}",
                    "prompt_tokens": r["prompt_tokens"],
                    "output_tokens": r["output_tokens"],
                    "info": {
                        "timings": {
                            "request_start": start,
                            "first_token_iteration": first,
                            "last_token_iteration": last,
                            "request_end": last + 1e-4,
                        }
                    },
                }
            )
        benchmarks.append(
            {
                "type_": "generative_benchmark",
                "start_time": 1.77e9,
                "config": {
                    "strategy": {"type_": "concurrent", "streams": run.concurrency},
                    "backend": {"model": "org/Model-1B"},
                },
                "scheduler_metrics": {"requests_made": {"total": len(requests)}},
                "metrics": {},
                "requests": {"successful": requests, "errored": [], "incomplete": []},
            }
        )
    return {"metadata": {"version": 2, "guidellm_version": "0.8.1"}, "benchmarks": benchmarks}


def inference_perf_document(result: Result) -> list[dict[str, Any]]:
    """Return a per-request lifecycle report of inference-perf 0.7."""
    found = []
    for r in requests_of(result):
        start = START_S + r["start_s"]
        token_s = (start + r["ttft_s"] + np.cumsum([0.0, *r["gaps_s"]])).tolist()
        found.append(
            {
                "start_time": start,
                "end_time": token_s[-1] + 1e-4,
                "request": '{"model": "org/Model-1B", "prompt": "..."}',
                "response": "",
                "info": {
                    "request_metrics": {"text": {"input_tokens": r["prompt_tokens"]}},
                    "response_metrics": {
                        "output_tokens": r["output_tokens"] - 3,  # recounted from the text
                        "server_usage": {
                            "prompt_tokens": r["prompt_tokens"],
                            "completion_tokens": r["output_tokens"],
                        },
                        "chunk_times": token_s,
                        "output_token_times": token_s[:-3],
                    },
                    "input_tokens": r["prompt_tokens"],
                },
                "error": None,
            }
        )
    return found


def noisy(document: dict, seed: int = 0, jitter_s: float = 2e-4, bursts: float = 0.0) -> dict:
    """Return a vllm result as a client sees it that is late now and then, and for some a lot."""
    rng = np.random.default_rng(seed)
    ttfts, itls = [], []
    for ttft, gaps in zip(document["ttfts"], document["itls"], strict=True):
        instants = np.cumsum([ttft, *gaps])
        seen = instants + rng.exponential(jitter_s, len(instants))
        held = rng.random(len(instants)) < bursts
        for k in range(len(instants) - 2, -1, -1):
            if held[k]:
                seen[k] = seen[k + 1]  # comes together with the next one
        seen = np.maximum.accumulate(seen)
        ttfts.append(float(seen[0]))
        itls.append(np.diff(seen).tolist())
    document = {**document, "ttfts": ttfts, "itls": itls}
    del document["start_times"]  # a client that is late sends the next one late, too
    return document
