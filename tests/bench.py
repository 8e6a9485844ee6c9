"""How fast the simulator is: requests a CPU second, beside the bare SimPy event rate and step mode.

Run by ``make bench``, with `bench_cluster`, `bench_stream`, `bench_sweep` and `bench_client`, which
run alone too.
Times are CPU seconds of one process and include what `simulate` does to give full per-request
results; ratios within one run are what to compare, since machines are shared.
``python tests/bench.py --quick`` takes a twentieth of the requests.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import bench_client
import bench_cluster
import bench_stream
import bench_sweep
from bench_measure import PROFILE, Rows, bare_event_rate, code_trace, measure, peak_mib

from calibrate import load_profile
from sim import simulate
from traces import workload
from traces.request import Trace


def measure_alone(requests: int, policy: str) -> tuple[float, float]:
    """Return requests a CPU second and peak resident MiB of a process that does nothing else."""
    profile = load_profile(PROFILE)
    _, trace = code_trace(requests, profile)
    rate = measure(trace, profile, policy)
    return rate, peak_mib()


def runs(scale: int, events: float) -> None:
    """Measure one replica and a few, and leaps against single steps."""
    profile = load_profile(PROFILE)
    rows = Rows(
        "requests a CPU second with per-request results, and the bare events of one request",
        *("trace", "requests", "policy", "discipline", "replicas"),
        events=events,
    )
    n = 200_000 // scale
    name, azure = code_trace(n, profile)
    simulate(azure[:100], profile, "saber")  # fits and imports once
    first, chunked = "prefill-first", "chunked"
    alone = {}
    for policy, leap, mixed in (("static(256)", 80_000, 70_000), ("saber", 50_000, 50_000)):
        rate = measure(azure, profile, policy)
        alone[policy] = rows.add(name, n, policy, first, 1, rate=rate, at_least=leap)
        rate = measure(azure, profile, policy, discipline=chunked)
        rows.add(name, n, policy, chunked, 1, rate=rate, at_least=mixed)
    for policy, one in alone.items():
        rate = measure(azure, profile, policy, timeline=True)
        rows.add(f"{name}, timeline", n, policy, first, 1, rate=rate, at_least=0.75 * one)
    _, fast = code_trace(n, profile, rate=8.0)
    for policy, one in alone.items():
        rate = measure(fast, profile, policy, replicas=8)
        rows.add(f"{name}, rate x8", n, policy, first, 8, rate=rate, at_least=0.75 * one)
    m = 100_000 // scale
    w3 = workload("W3", rps=5, n=m, seed=0)
    w1 = workload("W1", rps=100, n=m, seed=0)
    long = Trace(w3.arrival_s * 10, w3.prompt_tokens, w3.output_tokens * 10)
    for label, trace, policy, at_least in (
        ("W3 at 5 rps", w3, "static(256)", 60_000),
        ("W3 at 5 rps", w3, "saber", 40_000),
        ("W1 at 100 rps", w1, "saber", 20_000),
        ("W3, outputs x10", long, "static(256)", 0),
    ):
        rate = measure(trace, profile, policy)
        rows.add(label, m, policy, first, 1, rate=rate, at_least=at_least)
    # A fresh process for each of the largest runs, so that its memory is its own.
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        for policy in alone:
            for requests in (n, 5 * n):
                rate, mib = pool.submit(measure_alone, requests, policy).result()
                least = alone[policy] / 1.25 if requests > n else 0.0
                alone[policy] = rate
                words = (f"{name}, alone", requests, policy, first, 1)
                rows.add(*words, rate=rate, at_least=least, mib=mib)
    rows.show()
    cuts = {name: azure[: n // 10], "W3": w3[: m // 20], "W3, outputs x10": long[: m // 20]}
    for cut, trace in cuts.items():
        step = measure(trace, profile, "static(256)", leap=False)
        ratio = measure(trace, profile, "static(256)") / step
        print(f"{cut}: step mode {step:,.0f} requests a CPU s; leaps {ratio:.0f} times that")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a twentieth of the requests")
    scale = 20 if parser.parse_args().quick else 1
    events = bare_event_rate()
    runs(scale, events)
    bench_cluster.clusters(scale, events)
    bench_stream.streams(scale)
    bench_sweep.sweeps(scale)
    bench_client.client(min(scale, 5))
    print(f"bare SimPy: {events:,.0f} events a CPU s, again {bare_event_rate():,.0f}")
    print("at least: what is expected where bare SimPy does about 2.6 million")


if __name__ == "__main__":
    main()
