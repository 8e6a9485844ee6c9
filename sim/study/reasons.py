"""Why single published runs of SABER lie off the simulation, where the records tell.

Each follows from the published requests, as `notebooks/question_a_text_or_artifact.ipynb` shows.
They hold for the USL estimator; the requests of the other two were not published.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SHORT_PASS = (
    "likely: in the published run tasks with an SLA of 1 s never queue and about 15 to 17 long "
    "requests run at once; the paper's rule gives neither"
)
SHORT_PASS_PLAIN = (
    "partly: in the published run tasks with an SLA of 1 s never queue; up to 27 long requests run "
    "at once, where the paper's rule allows 41"
)
SPREAD = (
    "likely: the published run's 100 requests were spread over about 23.5 s, so its rate was about "
    "4.2/s and not 5"
)
TOO_FAST = (
    "not known: some long requests of the published run are recorded as faster than one alone can "
    "be, so the records of this run are in doubt"
)

SABER_REASONS: Mapping[tuple[str, float], str] = MappingProxyType(
    {
        ("W1", 3.0): TOO_FAST,
        ("W1", 4.0): TOO_FAST,
        ("W1", 5.0): SPREAD,
        ("W1", 9.0): SHORT_PASS,
        ("W1", 10.0): SHORT_PASS_PLAIN,
        ("W1", 15.0): SHORT_PASS,
        ("W1", 20.0): SHORT_PASS,
        ("W3", 6.0): TOO_FAST,
        ("W3", 7.0): SHORT_PASS,
        ("W3", 8.0): SHORT_PASS,
        ("W3", 9.0): SHORT_PASS,
        ("W3", 10.0): SHORT_PASS_PLAIN,
        ("W3", 15.0): SHORT_PASS,
        ("W3", 20.0): SHORT_PASS,
    }
)
"""A sentence by workload and rate, for SABER with the USL estimator."""
