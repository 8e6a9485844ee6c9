"""One seed of one cell: every policy on the same requests, misled ones and the oracle too."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sim.breakdown import breakdown, jain
from sim.leaderboard.misleading import misled
from sim.ledger import STATUSES
from sim.simulation import simulate

if TYPE_CHECKING:
    from calibrate.profile import Profile
    from policies.protocol import Policy
    from sim.options import RunOptions
    from sim.result import Result
    from traces.request import Trace

LABELS = ("task", "tenant")


@dataclass(frozen=True, eq=False)
class Play:
    """What is to be run on the requests of one seed.

    Attributes
    ----------
    trace : Trace
        The requests, drawn once for all.
    seed : int
        Of the policies' choices.
    policies : tuple of Policy
    profile : Profile
    options : RunOptions
    other : Profile or None
        The profile of another GPU to mislead with; None misleads nobody.
    budget : int
        Simulations the oracle may use; 0 leaves it out.
    """

    trace: Trace
    seed: int
    policies: tuple[Policy, ...]
    profile: Profile
    options: RunOptions
    other: Profile | None = None
    budget: int = 0


@dataclass(frozen=True)
class Played:
    """What came of it.

    Attributes
    ----------
    summaries : tuple of dict
        For each policy what `summary_of` returns.
    misled : tuple of tuple of float
        For each policy its goodput [%] under each untruth; empty where nobody was misled.
    best_pct, cap_pct : float or None
        The oracle's best schedule and the provable cap [%]; None where it was left out.
    """

    summaries: tuple[dict[str, Any], ...]
    misled: tuple[tuple[float, ...], ...] = ()
    best_pct: float | None = None
    cap_pct: float | None = None


def play(task: Play) -> Played:
    """Run it."""
    summaries = tuple(summary_of(_run(task, policy)) for policy in task.policies)
    other = task.other
    lied: tuple[tuple[float, ...], ...] = ()
    if other is not None:
        lied = tuple(
            tuple(_goodput(_run(task, liar)) for liar in misled(policy, task.trace, other))
            for policy in task.policies
        )
    if not task.budget:
        return Played(summaries, lied)
    from sim.oracle.cap import cap
    from sim.oracle.search import best_found

    # From the best policy: what it reached, somebody who knows everything could have done too.
    _, best = max((kept["goodput_pct"], -place) for place, kept in enumerate(summaries))
    found = best_found(
        task.trace,
        task.profile,
        options=task.options,
        budget=task.budget,
        seed=task.seed,
        starts=(task.policies[-best],),
    )
    bound = cap(task.trace, task.profile, options=task.options)
    return Played(summaries, lied, found.goodput_pct, bound.goodput_pct)


def summary_of(result: Result) -> dict[str, Any]:
    """Return what the leaderboard keeps of a run.

    Returns
    -------
    dict
        `goodput_pct`; `by_task` and `by_tenant`, for each label of the trace its `goodput_pct`,
        None where it has no request; `jain`, for "task" and "tenant" Jain's index over the
        goodput of the labels (`sim.breakdown.jain`: 1 is evenly served, 1/n is all for one), None
        with fewer than two; `statuses` and `warnings`.
    """
    names = {"task": result.trace.tasks, "tenant": result.trace.tenants}
    groups = {label: breakdown(result, label) for label in LABELS}
    statuses = Counter(result.columns.status.tolist())
    return {
        "goodput_pct": _goodput(result),
        **{
            f"by_{label}": {
                name: {"goodput_pct": groups[label].get(name, {}).get("goodput_pct")}
                for name in names[label]
            }
            for label in LABELS
        },
        "jain": {label: jain(groups[label]) for label in LABELS},
        "statuses": {name: statuses[code] for code, name in enumerate(STATUSES)},
        "warnings": list(result.warnings),
    }


def _run(task: Play, policy: Policy) -> Result:
    return simulate(task.trace, task.profile, policy, seed=task.seed, **vars(task.options))


def _goodput(result: Result) -> float:
    """Return goodput [%]; every cell has SLAs."""
    columns = result.columns
    return 100 * int(columns.met.sum()) / int(columns.has_objective.sum())
