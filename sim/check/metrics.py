"""What a guard may name: the numbers of a run, and which direction of each is good."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.text import nearest
from sim.ledger import STATUSES
from sim.options import OptionError
from sim.summary import PERCENTILES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sim.check.guard import Better

_SPREAD = ("mean", *(f"p{percent}" for percent in PERCENTILES))

METRICS: Mapping[str, Better | None] = {
    "goodput_pct": "higher",
    "goodput_rps": "higher",
    **{f"{name}.{part}": "lower"
       for name in ("ttft_s", "tpot_s", "itl_s", "e2e_s") for part in _SPREAD},
    **{f"sla_ratio.{part}": "lower" for part in ("mean", "std", "cv")},
    "throughput_tok_s": "higher",
    "utilisation": None,
    "duration_s": None,
    "requests": None,
    **{f"statuses.{status}": "higher" if status == "finished" else "lower" for status in STATUSES},
    "preemptions": "lower",
    "demoted": None,
    "prefix_hit_pct": "higher",
    "attempts": None,
    "wasted_tokens": "lower",
    "replica_hours": "lower",
    "cost": "lower",
}  # fmt: skip
"""Paths in `Result.summary`; None where it hangs on the scenario what is good."""

GROUPS: Mapping[str, Better | None] = {
    "requests": None,
    "finished": "higher",
    "met": "higher",
    "goodput_pct": "higher",
    **{f"{name}.{part}": "lower" for name in ("ttft_s", "e2e_s") for part in ("p50", "p99")},
}
"""Paths in each group of `sim.breakdown.breakdown`, after such as ``by_task.chat.``."""

LABELS = ("by_task", "by_tenant", "by_replica")


def good_direction(metric: str) -> Better | None:
    """Return which direction of a metric is good, None where that is not obvious.

    Raises
    ------
    OptionError
        If no run has such a number.
    """
    if metric in METRICS:
        return METRICS[metric]
    label, _, rest = metric.partition(".")
    if label not in LABELS:
        groups = [f"{each}.NAME.goodput_pct" for each in LABELS]
        raise OptionError(f"unknown metric {metric!r}{nearest(metric, (*METRICS, *groups))}")
    # A task's name may have dots of its own.
    for path, better in GROUPS.items():
        if rest.endswith(f".{path}") and len(rest) > len(path) + 1:
            return better
    raise OptionError(
        f"metric {metric!r}: expected {label}.NAME. and one of {', '.join(GROUPS)}, such as "
        f"{label}.NAME.goodput_pct"
    )
