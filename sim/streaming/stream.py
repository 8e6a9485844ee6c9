"""Runs of traces that are larger than memory: requests are known while they are in the cluster.

A run takes requests in batch by batch and lets go of them as they end, so that memory holds one
batch and what is under way at one time.  It gives each request the same instants as
`sim.simulation.simulate` gives it in a trace in one piece.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policies.catalog import make_policy
from policies.routers import make_router
from policies.routing import Fleet
from sim.cluster.fleet import describe, fleet_of
from sim.cluster.run import run_cluster
from sim.cluster.scenario import Scenario
from sim.intake import MeanContext, instants
from sim.options import OptionError, RunOptions, to_ps, whole_number
from sim.setup import (
    ROUTER_STREAM,
    options_of,
    overhead_ps,
    random_stream,
    resolved,
    specs_of,
    told,
)
from sim.streaming.histogram import RELATIVE_ERROR
from sim.streaming.rowfile import row_file
from sim.streaming.underway import Clerk, Underway
from sim.warn import warnings_of
from traces.request import Trace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from calibrate.profile import Profile
    from sim.cluster.fleet import Replica

_WHOLE = (
    "failures", "clients", "autoscale", "tenants", "prefix_caching", "startup_s", "timeline",
)  # fmt: skip
"""Options that a streamed run does not have: they need the whole trace, or more of a cluster."""


@dataclass(frozen=True, eq=False)
class StreamResult:
    """What a streamed run leaves: its summary, and its requests in a file if one was named.

    Attributes
    ----------
    policy : str
        Canonical text of the policy.
    fleet : tuple of Replica
        Kinds of replicas.
    seed : int
        As given to `simulate_stream`.
    options : RunOptions
        With the values the run used in place of None.
    warnings : tuple of str
        What a reader has to know before quoting a number.
    submitted : int
        How many requests were sent.
    out : Path or None
        The file with a row per request, with the columns of `Result.requests`, in the order in
        which requests were accounted for; sort it by id.
    """

    policy: str
    fleet: tuple[Replica, ...]
    seed: int
    options: RunOptions
    warnings: tuple[str, ...]
    submitted: int
    out: Path | None
    numbers: Mapping[str, Any]

    @property
    def profile(self) -> str:
        """Name of the profile, or of each kind with its count."""
        return describe(self.fleet)

    @property
    def replicas(self) -> int:
        """How many replicas there were."""
        return sum(kind.count for kind in self.fleet)

    def summary(self) -> dict[str, Any]:
        """Return the numbers of `Result.summary`, and how far percentiles may be off.

        Counts are exact, means up to rounding; percentiles (p50 to p99) are from histograms and
        within ``percentile_error_pct`` of those `Result.summary` gives.
        """
        error_pct = 100 * RELATIVE_ERROR
        return {
            **self.numbers,
            "percentile_error_pct": error_pct,
            "warnings": list(self.warnings),
        }


def simulate_stream(
    batches: Iterable[Trace],
    profile: Profile | Sequence[Replica],
    policy: object = "saber",
    replicas: int = 1,
    seed: int = 0,
    out: str | Path | None = None,
    **run_options: Any,
) -> StreamResult:
    """Replay a trace that comes in batches, in memory that does not grow with its length.

    The batches are read twice: once for what must be known of the trace before it begins (how many
    requests, their mean context, which policies are told, and whether all of it can be read), and
    once to run it.

    Parameters
    ----------
    batches : iterable of Trace
        In order of arrival, on one clock; to be iterated over twice, such as
        `traces.batches.load_batches` returns, or a list.
    profile, policy, replicas, seed
        As in `sim.simulation.simulate`.
    out : path, optional
        A ``.parquet`` or ``.csv`` file for a row per request.
    **run_options
        Fields of `sim.options.RunOptions`, but for those of failures, clients, scaling, tenants
        and prefix caching.

    Returns
    -------
    StreamResult

    Raises
    ------
    OptionError, PolicyError, ProfileError, TraceError
        If something that was asked for cannot be meant, or the trace cannot be read.

    Notes
    -----
    What is under way is bounded only if the cluster keeps up: requests that wait stay in memory.
    """
    options = _plain_options(run_options)
    kinds = fleet_of(profile, whole_number("replicas", replicas, 1))
    seed = whole_number("seed", seed, 0)
    chosen = make_policy(policy)
    survey = _survey(batches)
    if options.warmup_s > survey.last_arrival_s:
        raise OptionError(
            f"warmup_s={options.warmup_s:g} is after the last arrival, at "
            f"{survey.last_arrival_s:g} s: nothing would be measured"
        )
    kinds = told(kinds, options, survey.context.tokens)
    underway = Underway(options.max_model_len)
    specs = specs_of(
        kinds,
        chosen,
        options,
        seed,
        underway.ledger,
        requests=survey.context.requests,
        prompt_tokens=underway.prompt_tokens,
        output_tokens=underway.output_tokens,
        refusals=underway.refusals,
    )
    accounts = tuple(spec.account for spec in specs)
    router = make_router(options.router)
    fleet = Fleet([kind.profile for kind in kinds for _ in range(kind.count)])
    scenario = Scenario(
        specs=specs,
        route=router.start(fleet.profiles, random_stream(seed, ROUTER_STREAM, 0)),
        fleet=fleet,
        looks=router.looks,
        until_ps=None if options.until_s is None else to_ps(options.until_s),
    )
    overheads_ps = [overhead_ps(each, options) for each in fleet.profiles]
    used = resolved(options, chosen, kinds, max(overheads_ps))
    path = None if out is None else Path(out)
    with ExitStack() as files:
        write = None if path is None else files.enter_context(row_file(path))
        clerk = Clerk(underway, accounts, kinds, options, to_ps(options.warmup_s), write)
        run_cluster(clerk.requests(batches), scenario)
        clerk.close()
    prices = [kind.price_per_h for kind in kinds for _ in range(kind.count)]
    return StreamResult(
        policy=chosen.label,
        fleet=kinds,
        seed=seed,
        options=used,
        warnings=warnings_of(
            survey.warnings, survey.context.requests, kinds, chosen, used, clerk.tally, accounts
        ),
        submitted=clerk.tally.submitted,
        out=path,
        numbers=clerk.summary.summary(prices),
    )


@dataclass
class _Survey:
    """What is known of a trace before it is run."""

    context: MeanContext
    last_arrival_s: float = 0.0
    warnings: tuple[str, ...] = ()


def _survey(batches: Iterable[Trace]) -> _Survey:
    """Read all of a trace once."""
    if iter(batches) is batches:
        raise OptionError(
            "batches can be read only once, and a run reads them twice: expected something to be "
            "iterated over again, see traces.batches.load_batches(path), or a list"
        )
    survey = _Survey(MeanContext())
    for batch in batches:
        if not isinstance(batch, Trace):
            raise OptionError(
                f"batches hold a {type(batch).__name__}: expected each to be a Trace, see "
                "traces.batches.load_batches(path)"
            )
        survey.warnings = tuple(dict.fromkeys((*survey.warnings, *batch.warnings)))
        if not len(batch):
            continue
        instants(batch)  # refuses what the clock cannot hold
        if batch.arrival_s[0] < survey.last_arrival_s:
            raise OptionError(
                f"a batch begins at {batch.arrival_s[0]:g} s, before the end of the one ahead of "
                f"it, at {survey.last_arrival_s:g} s: expected batches in order of arrival"
            )
        survey.context.add(batch)
        survey.last_arrival_s = float(batch.arrival_s[-1])
    if not survey.context.requests:
        raise OptionError("the trace has no requests: expected at least one")
    return survey


def _plain_options(run_options: dict[str, Any]) -> RunOptions:
    """Return the options of a run without those that a stream does not have."""
    options = options_of(run_options)
    for name in _WHOLE:
        if getattr(options, name) not in (None, False, 0):
            raise OptionError(
                f"{name} needs the trace in one piece: leave it out of a streamed run, or take a "
                "window of the trace that fits into memory"
            )
    return options
