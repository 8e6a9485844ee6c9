"""How fast a large cluster is: 64 replicas behind routers that look at them, or do not.

``python tests/bench_cluster.py`` prints it; ``--quick`` takes a twentieth of the requests.
"""

from __future__ import annotations

import argparse

from bench_measure import PROFILE, Rows, bare_event_rate, code_trace, measure

from calibrate import load_profile

REPLICAS = 64
AT_LEAST = 25_000
"""Requests a CPU second behind least-tokens, as the project wants it."""


def clusters(scale: int, events: float) -> None:
    """Measure 1,000,000 requests / `scale` on 64 replicas, and print."""
    profile = load_profile(PROFILE)
    n = 1_000_000 // scale
    name, trace = code_trace(n, profile, rate=REPLICAS)
    rows = Rows(
        f"{REPLICAS} replicas: requests a CPU second with per-request results",
        *("trace", "requests", "policy", "router"),
        events=events,
    )
    for policy in ("static(256)", "saber"):
        for router in ("least-tokens", "power-of-two", "round-robin"):
            rate = measure(trace, profile, policy, repeats=1, replicas=REPLICAS, router=router)
            at_least = AT_LEAST if router == "least-tokens" else 0
            label = f"{name}, rate x{REPLICAS}"
            rows.add(label, n, policy, router, rate=rate, at_least=at_least)
    rows.show()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a twentieth of the requests")
    clusters(20 if parser.parse_args().quick else 1, bare_event_rate())


if __name__ == "__main__":
    main()
