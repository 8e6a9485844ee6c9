"""What a server would have counted during a run: vLLM's metrics, and a few of our own.

Under ``vllm:`` is what a vLLM server (V1 engine) behind the policy would report of the same run:
for it a request arrives when the policy releases it, and the way to the client is no part of its
latencies.  Where the policy holds nothing, that differs from the run's summary by the client
overhead alone.  Under ``saber:`` is what vLLM has not: what the policy held, goodput, and the
latencies that clients see, which are those of the summary.  Counted are all requests, those of the
warm-up too, as a server counts; a request that was sent more than once counts once, at its last
replica.

Left out, because a run does not keep it:
queue, prefill and inference time (when a request was first scheduled); tokens of each step
(``iteration_tokens_total``); ``request_params_n``, ``request_params_max_tokens`` and
``request_max_num_generation_tokens``; ``cache_config_info`` and whatever belongs to LoRA,
speculative decoding, multi-modal caches and HTTP.  Over time also preemptions and prefix cache,
whose instants are not kept: they are in the final scrape only.

How vLLM counts, and this too: ``prompt_tokens`` at the first token, once a request;
``generation_tokens`` as they come, those of requests that end badly too (without the first tokens
of attempts that were sent again); histograms of whole requests when they finish, with a time per
output token of 0 where there is one token; aborted requests in none of them, nor in
``request_success``.  Its `finished_reason` is "stop" for all: a simulated request ends after its
own last token, and no `max_tokens` cuts it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.export.buckets import FIRST_TOKEN_S, LATENCY_S, token_edges
from sim.export.ends import ends_s
from sim.export.tally import Metric, Tally
from sim.ledger import STATUSES
from sim.tokens import EDGES_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sim.runfile import Run


def metrics_of(run: Run) -> Iterator[Metric]:
    """Yield the metrics of a run; those of one name follow each other."""
    yield from _gauges(run)
    tally = Tally(run)
    yield from _counters(run, tally)
    yield from _histograms(run, tally)


def _gauges(run: Run) -> Iterator[Metric]:
    timeline = run.timeline
    if timeline is None:
        return
    last = timeline.held.shape[1] - 1
    shown = np.arange(last + 1)
    if run.tokens is not None:
        since_s = run.tokens.at_s - timeline.start_s
        scraped = np.rint(since_s / timeline.interval_s).astype(np.int64)
        shown = np.union1d(scraped[scraped <= last], [last])
    at_s = timeline.at_s[shown]
    up = np.zeros((timeline.replicas, len(shown)), dtype=np.int64)
    for replica, periods in enumerate(timeline.up_s):
        for begin_s, end_s in periods:
            up[replica] |= (begin_s <= at_s) & (at_s < end_s)
    for name, text, values in (
        ("vllm:num_requests_running", "Requests that hold a seat.", timeline.running[:, shown]),
        ("vllm:num_requests_waiting", "Requests that wait for a seat.", timeline.waiting[:, shown]),
        ("vllm:kv_cache_usage_perc", "KV blocks in use, 1 is all.", timeline.kv_usage[:, shown]),
        ("saber:num_requests_held", "Requests the policy holds back.", timeline.held[:, shown]),
        ("saber:replica_up", "Whether the replica takes or finishes requests.", up),
    ):
        yield Metric(name, text, "gauge", at_s, values)


def _counters(run: Run, tally: Tally) -> Iterator[Metric]:
    frame = run.requests
    prompt = frame["prompt_tokens"].to_numpy()
    always = np.zeros(len(frame))
    yield tally.counter("vllm:prompt_tokens", "Prompt tokens.", tally.first_s, prompt)
    if run.tokens is not None:
        first = tally.added(tally.first_s, np.ones(len(frame), dtype=np.int64))
        first[: tally.replicas] += run.tokens.counts.sum(axis=2)
        yield Metric("vllm:generation_tokens", "Generated tokens.", "counter", tally.at_s, first)
    preempted = frame["preemptions"].to_numpy()
    yield tally.counter("vllm:num_preemptions", "Preemptions.", always, preempted, timed=False)
    for place, what in enumerate(("queries", "hits") if run.prefix_tokens else ()):
        values = np.zeros((tally.replicas, len(tally.at_s)), dtype=np.int64)
        values[:, -1] = [tokens[place] for tokens in run.prefix_tokens]
        name, text = f"vllm:prefix_cache_{what}", f"Prefix cache {what}, in tokens."
        yield Metric(name, text, "counter", tally.at_s, values, timed=False)
    yield tally.counter(
        "vllm:request_success", "Finished requests.", tally.last_s, finished_reason="stop"
    )
    yield tally.counter("saber:requests_submitted", "Requests that came.", tally.arrived_s)
    over_s = ends_s(run)
    for status in STATUSES:
        at_s = np.where(frame["status"] == status, over_s, np.nan)
        text = "Requests by what became of them."
        yield tally.counter("saber:requests", text, at_s, status=status)
    promised = frame["met"].notna().to_numpy()
    met = frame["met"].fillna(False).to_numpy(dtype=bool)
    yield tally.counter(
        "saber:requests_with_objective",
        "Requests that came with an SLA or under limits.",
        np.where(promised, tally.arrived_s, np.nan),
    )
    yield tally.counter(
        "saber:requests_met",
        "Requests that met it: goodput is its rate, or its share of those.",
        np.where(met, tally.last_seen_s, np.nan),
    )


def _histograms(run: Run, tally: Tally) -> Iterator[Metric]:
    prompt, output = (run.requests[f"{kind}_tokens"].to_numpy() for kind in ("prompt", "output"))
    options = run.configuration["options"]
    longest = options["max_model_len"] or int((prompt + output).max(initial=1))
    last_s, decode_s = tally.last_s, tally.last_s - tally.first_s
    per_token_s = decode_s / np.maximum(output - 1, 1)
    for name, text, edges, at_s, observed in (
        ("vllm:request_prompt_tokens",
         "Prompt tokens of a request.", token_edges(longest), last_s, prompt),
        ("vllm:request_generation_tokens",
         "Generated tokens of a request.", token_edges(longest), last_s, output),
        ("vllm:time_to_first_token_seconds",
         "From the release to the engine to the first token.", FIRST_TOKEN_S,
         tally.first_s, tally.first_s - tally.released_s),
        ("vllm:request_time_per_output_token_seconds",
         "Mean time between the tokens of a request.", EDGES_S, last_s, per_token_s),
        ("vllm:e2e_request_latency_seconds",
         "From the release to the engine to the last token.", LATENCY_S,
         last_s, last_s - tally.released_s),
        ("vllm:request_decode_time_seconds",
         "From the first token to the last.", LATENCY_S, last_s, decode_s),
        ("saber:request_held_time_seconds",
         "From the arrival to the release to the engine.", LATENCY_S,
         tally.released_s, tally.released_s - tally.arrived_s),
        ("saber:time_to_first_token_seconds",
         "From the arrival to the first token, as the client sees it.", FIRST_TOKEN_S,
         tally.first_seen_s, tally.first_seen_s - tally.arrived_s),
        ("saber:e2e_request_latency_seconds",
         "From the arrival to the last token, as the client sees it.", LATENCY_S,
         tally.last_seen_s, tally.last_seen_s - tally.arrived_s),
    ):  # fmt: skip
        yield tally.histogram(name, text, edges, at_s, observed)
    if run.tokens is not None:
        name, text = "vllm:inter_token_latency_seconds", "Between two tokens of a request."
        counted = run.tokens
        yield Metric(name, text, "histogram", tally.at_s, counted.sum_s, EDGES_S, counted.counts)
