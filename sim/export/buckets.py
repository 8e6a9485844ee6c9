"""Upper edges of vLLM's histograms (V1 engine), so that both sides of a panel have the same.

Those of the gaps between tokens are `sim.tokens.EDGES_S`.
"""

from __future__ import annotations

FIRST_TOKEN_S = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75,
    1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
)  # fmt: skip
"""Of ``vllm:time_to_first_token_seconds``."""

LATENCY_S = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0,
    40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0,
)  # fmt: skip
"""Of the latencies of whole requests and of their phases."""


def token_edges(longest: int) -> tuple[float, ...]:
    """Return 1, 2, 5, 10, 20, ... up to `longest`: of the histograms of tokens a request."""
    edges: list[float] = []
    scale = 1
    while True:
        for mantissa in (1, 2, 5):
            if mantissa * scale > longest:
                return tuple(edges)
            edges.append(float(mantissa * scale))
        scale *= 10
