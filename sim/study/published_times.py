"""How long SABER's requests took in the study: facts from the runs in its replication package.

Source: the per-request records of SABER (USL) that come with S. Chang et al., arXiv 2506.19677v2,
for W1 and W3; 100 requests, one run a rate. There are none for static sizes.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class SlaRatios(NamedTuple):
    """Completion time over SLA by rate, in the order of `sim.study.runs.RATES`.

    Parameters
    ----------
    mean, std : tuple of float
        Over the requests of a run; the standard deviation is that of a population.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]


SLA_RATIOS: Mapping[str, SlaRatios] = MappingProxyType(
    {
        "W1": SlaRatios(
            (0.596, 0.682, 0.727, 0.849, 1.116, 1.406, 1.582, 1.661, 1.587, 1.443, 1.764, 1.752),
            (0.037, 0.103, 0.188, 0.182, 0.657, 0.957, 0.972, 0.925, 0.943, 0.622, 0.827, 0.783),
        ),
        "W3": SlaRatios(
            (0.597, 0.618, 0.678, 0.724, 0.841, 0.805, 0.915, 1.010, 1.118, 1.081, 1.247, 1.284),
            (0.040, 0.045, 0.066, 0.079, 0.091, 0.168, 0.358, 0.397, 0.490, 0.589, 0.541, 0.532),
        ),
    }
)
"""By workload."""

DECILES_PCT = (10, 20, 30, 40, 50, 60, 70, 80, 90)

COMPLETION_DECILES_S: Mapping[tuple[str, float, str], tuple[float, ...]] = MappingProxyType(
    {
        ("W1", 5.0, "code_translation"): (
            10.02, 10.04, 10.11, 10.21, 10.28, 10.76, 11.78, 18.40, 30.91),
        ("W1", 5.0, "code_qna"): (0.80, 0.81, 0.82, 0.85, 0.87, 0.87, 0.91, 0.95, 0.96),
        ("W1", 5.0, "code_generation"): (5.88, 6.20, 6.28, 6.32, 6.43, 6.86, 7.18, 7.36, 16.51),
        ("W1", 5.0, "code_summary"): (0.74, 0.77, 0.78, 0.80, 0.81, 0.81, 0.81, 0.82, 0.82),
        ("W3", 10.0, "code_translation"): (
            10.57, 10.84, 10.99, 11.09, 11.18, 11.21, 11.34, 11.83, 17.52),
        ("W3", 10.0, "code_qna"): (0.82, 0.83, 0.86, 0.87, 0.93, 0.95, 1.07, 1.09, 1.35),
        ("W3", 10.0, "code_generation"): (6.69, 6.77, 7.00, 7.14, 7.39, 7.57, 13.57, 14.16, 14.75),
        ("W3", 10.0, "code_summary"): (0.78, 0.83, 0.84, 0.87, 0.91, 0.92, 0.95, 0.97, 1.03),
    }
)  # fmt: skip
"""Seconds by workload, rate and task: within these, k % of its requests were completed.

k is 10, 20, ..., 90, as in `DECILES_PCT`.
"""
