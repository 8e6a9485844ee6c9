"""The main job: several policies on the same requests, with intervals over seeds."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from policies.catalog import make_policy
from policies.static import Static
from sim.interval import CONFIDENCE, Estimate, mean_difference, mean_within
from sim.options import OptionError, RunOptions
from sim.workers import check_jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from calibrate.profile import Profile
    from policies.protocol import Policy
    from sim.cluster.fleet import Replica
    from sim.result import Result
    from traces.request import Trace


@dataclass(frozen=True)
class Row:
    """One policy of a comparison.

    Attributes
    ----------
    policy : str
        Canonical text of the policy.
    fixed_size : bool
        Whether it is a static batch size.
    metrics : mapping
        `Result.summary` with every number replaced by its Estimate over seeds, None where no
        seed has the number.
    statuses : mapping of str to int
        Requests of each status, all seeds together.
    goodput_by_seed : tuple of float or None
        Goodput of each seed [%].
    """

    policy: str
    fixed_size: bool
    metrics: Mapping[str, Any]
    statuses: Mapping[str, int]
    goodput_by_seed: tuple[float | None, ...]

    @property
    def goodput_pct(self) -> Estimate | None:
        """Goodput [%], None when no request has an SLA."""
        estimate: Estimate | None = self.metrics["goodput_pct"]
        return estimate


@dataclass(frozen=True)
class Difference:
    """Goodput of a policy less that of the best static size, paired by seed [points]."""

    policy: str
    baseline: str
    goodput_points: Estimate


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes
    ----------
    rows : tuple of Row
        In the order the policies were given.
    seeds : tuple of int
        Each drew the arrivals and the policy's choices once for every policy.
    warnings : tuple of str
        What the runs had to say: of each kind the first, and in how many runs.
    """

    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    warnings: tuple[str, ...]

    @property
    def best_static(self) -> Row | None:
        """The static size with the highest mean goodput, the first of equals."""
        static = [row for row in self.rows if row.fixed_size and row.goodput_pct is not None]
        return max(static, key=_mean_goodput, default=None)

    @property
    def differences(self) -> tuple[Difference, ...]:
        """Every other policy against the best static size.

        The best size is picked from the same runs after the fact, which flatters it.
        """
        best = self.best_static
        if best is None:
            return ()
        return tuple(
            Difference(row.policy, best.policy, paired)
            for row in self.rows
            if not row.fixed_size
            and (paired := mean_difference(row.goodput_by_seed, best.goodput_by_seed)) is not None
        )

    def to_dict(self) -> dict[str, Any]:
        """Return rows, differences, seeds and warnings in JSON's types."""
        return {
            "rows": [
                {
                    "policy": row.policy,
                    **{name: _as_dict(value) for name, value in row.metrics.items()},
                    "statuses": dict(row.statuses),
                    "goodput_by_seed": list(row.goodput_by_seed),
                }
                for row in self.rows
            ],
            "differences": [asdict(difference) for difference in self.differences],
            "seeds": list(self.seeds),
            "confidence": CONFIDENCE,
            "warnings": list(self.warnings),
        }


def compare(
    trace_of: Callable[[int], Trace],
    profile: Profile | Sequence[Replica],
    policies: Sequence[str | Policy],
    *,
    seeds: Sequence[int] = range(30),
    replicas: int = 1,
    jobs: int = 1,
    options: RunOptions | None = None,
    on_done: Callable[[int], None] | None = None,
) -> Comparison:
    """Run every policy on the requests of every seed.

    On one seed all policies see the same arrivals (common random numbers), so differences
    between them are paired.

    Parameters
    ----------
    trace_of : callable
        The trace of a seed; picklable where `jobs` is not 1.
    profile : Profile or sequence of Replica
        What the replicas run on, as `sim.simulate` takes it.
    policies : sequence of str or Policy
        As `policies.catalog.make_policy` takes them.
    seeds : sequence of int
        One run of every policy for each.
    replicas : int
        Engines side by side, of the one profile.
    jobs : int
        Worker processes, -1 for one a core; the result is the same for any number.
    options : RunOptions, optional
        How to run.
    on_done : callable, optional
        Called with the number of runs finished so far.

    Returns
    -------
    Comparison

    Raises
    ------
    OptionError, PolicyError, TraceError
        For what cannot be run, in one line.
    """
    made = [make_policy(policy) for policy in policies]
    check_lineup(made, seeds, jobs)
    runs = _each_run(trace_of, profile, made, seeds, replicas, jobs, options or RunOptions())
    by_policy: list[list[dict[str, Any]]] = [[] for _ in made]
    for done, summary in enumerate(runs):
        by_policy[done % len(made)].append(summary)
        if on_done is not None:
            on_done(done + 1)
    return Comparison(
        rows=tuple(
            row_of(policy, summaries) for policy, summaries in zip(made, by_policy, strict=True)
        ),
        seeds=tuple(seeds),
        warnings=gathered([each["warnings"] for summaries in by_policy for each in summaries]),
    )


def gathered(by_run: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return each kind of warning once: they differ from run to run in their numbers only."""
    kinds: dict[str, list[str]] = {}
    for text in (text for warnings in by_run for text in warnings):
        kinds.setdefault(re.sub(r"\d[\d.,]*", "#", text), []).append(text)
    return tuple(
        texts[0] + (f" ({len(texts)} of {len(by_run)} runs)" if len(texts) < len(by_run) else "")
        for texts in kinds.values()
    )


def check_lineup(policies: Sequence[Policy], seeds: Sequence[int], jobs: int) -> None:
    """Raise OptionError for a comparison of nothing, or of a policy with itself."""
    if not policies:
        raise OptionError("no policy to compare: expected at least one, such as saber")
    if not seeds:
        raise OptionError("no seed to run: expected at least one")
    check_jobs(jobs)
    labels = Counter(policy.label for policy in policies)
    label, count = labels.most_common(1)[0]
    if count > 1:
        raise OptionError(f"policy {label} is given {count} times: expected each once")


def _each_run(
    trace_of: Callable[[int], Trace],
    profile: Profile | Sequence[Replica],
    policies: Sequence[Policy],
    seeds: Sequence[int],
    replicas: int,
    jobs: int,
    options: RunOptions,
) -> Iterator[dict[str, Any]]:
    """Yield the summaries, seed by seed and for each seed policy by policy."""
    if jobs == 1:
        for seed in seeds:
            trace = trace_of(seed)
            for policy in policies:
                yield _run(trace, profile, policy, seed, replicas, options).summary()
        return
    from joblib import Parallel, delayed

    yield from Parallel(n_jobs=jobs, return_as="generator")(
        delayed(_run_drawn)(trace_of, profile, policy, seed, replicas, options)
        for seed, policy in product(seeds, policies)
    )


def _run_drawn(
    trace_of: Callable[[int], Trace],
    profile: Profile | Sequence[Replica],
    policy: Policy,
    seed: int,
    replicas: int,
    options: RunOptions,
) -> dict[str, Any]:
    """Return the summary of one run; only that travels back from a worker."""
    return _run(trace_of(seed), profile, policy, seed, replicas, options).summary()


def _run(
    trace: Trace,
    profile: Profile | Sequence[Replica],
    policy: Policy,
    seed: int,
    replicas: int,
    options: RunOptions,
) -> Result:
    from sim.simulation import simulate

    return simulate(trace, profile, policy=policy, replicas=replicas, seed=seed, **vars(options))


def row_of(policy: Policy, summaries: Sequence[Mapping[str, Any]]) -> Row:
    """Return a policy's row from the summaries of its runs, one for each seed."""
    statuses: Counter[str] = Counter()
    for summary in summaries:
        statuses.update(summary["statuses"])
    return Row(
        policy=policy.label,
        fixed_size=isinstance(policy, Static),
        metrics={
            name: _over_seeds([summary[name] for summary in summaries], name)
            for name in summaries[0]
            if name not in ("statuses", "warnings")
        },
        statuses={status: statuses[status] for status in summaries[0]["statuses"]},
        goodput_by_seed=tuple(summary["goodput_pct"] for summary in summaries),
    )


def _over_seeds(values: Sequence[Any], name: str) -> Any:
    """Return the Estimate of numbers, or for mappings a mapping of Estimates."""
    if isinstance(values[0], Mapping):
        return {key: _over_seeds([value[key] for value in values], key) for key in values[0]}
    return mean_within(values, 100.0 if name == "goodput_pct" else math.inf)


def _mean_goodput(row: Row) -> float:
    return -math.inf if row.goodput_pct is None else row.goodput_pct.mean


def _as_dict(value: Any) -> Any:
    if isinstance(value, Estimate):
        return asdict(value)
    if isinstance(value, Mapping):
        return {key: _as_dict(item) for key, item in value.items()}
    return value
