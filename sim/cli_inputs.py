"""From the command line's words to requests, profiles and policies."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, cast

from sim.feasible import Unloaded
from sim.options import EngineLimits, OptionError
from sim.sources import Drawn, Recorded, Timed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from calibrate.profile import Profile
    from policies.protocol import Policy
    from sim.cluster.fleet import Kind, Replica
    from sim.options import Discipline, RunOptions
    from sim.sources import Source

DEFAULT_WORKLOAD = "W3"
DEFAULT_RPS = 10.0
DEFAULT_N = 100
DEFAULT_ARRIVALS = "poisson"


def requests_of(
    *,
    trace: Path | None,
    workload: str | None,
    rps: float | None,
    n: int | None,
    arrivals: str | None,
    sla: str | None,
    skip_bad: bool,
    profile: Profile,
    options: RunOptions,
    rate_scale: float | None = None,
) -> Source:
    """Return where the requests come from.

    Raises
    ------
    OptionError
        For options that contradict each other or have no effect.
    TraceError
        For a trace, workload or SLA that is wrong.
    """
    wanted = None if sla is None else sla_of(sla)
    users = None if options.clients is None else options.clients.users
    rates = {"--rps": None if trace else rps, "--rate-scale": rate_scale}
    for option, rate in rates.items():
        if users is not None and rate is not None:
            raise OptionError(
                f"{option} {rate:g} has no effect with --users {users}: in a closed loop requests "
                "come when users are ready; leave it out"
            )
    engine = Unloaded(profile, options)
    if trace is None:
        if skip_bad:
            raise OptionError("--skip-bad has no effect without --trace: expected a trace file")
        if rate_scale is not None:
            raise OptionError(
                f"--rate-scale {rate_scale:g} needs a trace with times: expected --trace, or "
                "--rps for a workload"
            )
        return Drawn(
            workload=DEFAULT_WORKLOAD if workload is None else workload,
            rps=DEFAULT_RPS if rps is None else rps,
            n=DEFAULT_N if n is None else n,
            arrivals=DEFAULT_ARRIVALS if arrivals is None else arrivals,
            sla=wanted,
            engine=engine,
        )
    for name, value in {"--workload": workload, "--n": n}.items():
        if value is not None:
            raise OptionError(
                f"{name} {value} has no effect with --trace {trace}, which has its own requests: "
                "expected one of the two ('saber trace convert' takes parts of a trace)"
            )
    from traces.formats import load

    # Refuses a rate where the file has times of its own, and asks for one where it has none.
    recorded = load(trace, skip_bad=skip_bad, rps=rps, arrivals=arrivals)
    if rate_scale is not None:
        if rps is not None:
            raise OptionError(
                f"--rate-scale {rate_scale:g} beside --rps {rps:g}: expected one of the two"
            )
        from traces.transform import scale_rate

        recorded = scale_rate(recorded, rate_scale)
    if wanted is not None:
        recorded = recorded.with_sla(wanted, profile=engine)
    if rps is None:
        return Recorded(str(trace), recorded)
    return Timed(str(trace), recorded, rps, arrivals or DEFAULT_ARRIVALS)


def title_of(source: Source, options: RunOptions) -> str:
    """Return one line that says what arrives; in a closed loop the users, not a rate."""
    if options.clients is None or options.clients.users is None:
        return source.title
    described = source.describe()
    name = described.get("workload") or os.path.basename(described["trace"])
    return f"{name}, {described['n']:,} requests, {options.clients.users} users in turn"


def sla_of(text: str) -> float | str | dict[str, float | str]:
    """Return the SLA in the form `Trace.with_sla` takes: seconds, an expression, or by task."""
    if "=" not in text:
        return _seconds_or_expression(text)
    by_task: dict[str, float | str] = {}
    for part in text.split(","):
        task, separator, sla = (word.strip() for word in part.partition("="))
        if not (task and separator and sla):
            raise OptionError(f"--sla {text!r}: expected TASK=SECONDS,TASK=SECONDS at {part!r}")
        if task in by_task:
            raise OptionError(f"--sla {text!r} names {task!r} twice: expected each task once")
        by_task[task] = _seconds_or_expression(sla)
    return by_task


def _seconds_or_expression(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def profile_of(name: str, options: RunOptions) -> Profile:
    """Return the profile, with the KV capacity of this run where that is given."""
    from calibrate.library import load_profile
    from sim.setup import with_kv_capacity

    return with_kv_capacity(load_profile(name), options)


def fleet_of(
    text: str, replicas: int | None, price: str | None, options: RunOptions
) -> tuple[Replica, ...]:
    """Return the kinds of replicas that ``A`` or ``A*2, B*4`` means, with the run's KV capacity.

    Parameters
    ----------
    text : str
        As `sim.cluster.fleet.parse_fleet` reads it.
    replicas : int or None
        How many of a single profile.
    price : str or None
        Prices an hour, with commas, in the order of the profiles.

    Raises
    ------
    OptionError, ProfileError
        For counts given twice or not at all, and prices that do not match.
    """
    from sim.cluster.fleet import Replica, parse_fleet

    kinds = parse_fleet(text)
    if len(kinds) > 1 and replicas is not None:
        raise OptionError(
            f"--replicas {replicas} with several profiles: expected a count for each, such as "
            f"{kinds[0].name}*{replicas}"
        )
    if replicas is not None and kinds[0].count is not None:
        raise OptionError(
            f"--replicas {replicas} beside --profile {text!r}, which has a count of its own: "
            "expected one of the two"
        )
    return tuple(
        Replica(profile_of(kind.name, options), kind.count or replicas or 1, per_h)
        for kind, per_h in zip(kinds, _prices(price, text, kinds), strict=True)
    )


def _prices(text: str | None, profiles: str, kinds: tuple[Kind, ...]) -> list[float | None]:
    if text is None:
        return [kind.price_per_h for kind in kinds]
    if any(kind.price_per_h is not None for kind in kinds):
        raise OptionError(
            f"--price {text!r} beside --profile {profiles!r}, which has prices of its own: "
            "expected one of the two"
        )
    try:
        prices: list[float | None] = [float(word) for word in text.split(",")]
    except ValueError:
        raise OptionError(f"--price {text!r}: expected numbers with commas") from None
    if len(prices) != len(kinds):
        raise OptionError(
            f"--price {text!r} has {len(prices)} prices for {len(kinds)} profiles: expected one "
            "for each"
        )
    return prices


def policies_of(texts: Iterable[str]) -> list[Policy]:
    """Return the policies; ``module:object`` is also looked for in the current folder."""
    from policies.catalog import make_policy

    look_here()
    return [make_policy(text) for text in texts]


def look_here() -> None:
    """Let ``module:object`` be found in the current folder too."""
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)  # last, so that a folder named `traces` hides nothing of ours


def refuse_idle_seeds(
    given: Mapping[str, int | None], policies: Iterable[Policy], options: RunOptions
) -> None:
    """Raise OptionError for a seed that nothing draws from, with a trace that is always the same.

    `given` is the value of each option that chooses seeds, None where it was left out.
    """
    from policies.static import Static

    if _draws(options) or not all(isinstance(policy, Static) for policy in policies):
        return
    for name, value in given.items():
        if value is not None:
            raise OptionError(
                f"{name} {value} has no effect: the trace is fixed, and static policies without "
                "--jitter-cv draw nothing at random; leave it out"
            )


def _draws(options: RunOptions) -> bool:
    """Return whether anything but policies is drawn at random in a run."""
    from policies.routers import RoundRobin, make_router

    failures = options.failures
    return bool(
        options.jitter_cv
        or options.clients
        or (failures is not None and failures.random)
        or not isinstance(make_router(options.router), RoundRobin)
    )


def check(
    source: Source,
    seeds: Iterable[int],
    fleet: Iterable[Replica],
    options: RunOptions,
    *,
    allow_refused: bool,
) -> bool:
    """Refuse runs that cannot answer anything; return whether any request has a goal to meet.

    Raises
    ------
    OptionError
        No request can meet its SLA, or one can never fit the KV cache and that is not allowed.
    """
    import numpy as np

    from sim.feasible import refuse_hopeless_goals, refuse_oversized

    has_goal = options.goodput_ms is not None
    profiles = [kind.profile for kind in fleet]
    limits = [one_seat(profile, options) for profile in profiles]
    for seed in [0] if source.fixed else seeds:
        trace = source(seed)
        engines = [Unloaded(profile, options) for profile in profiles]
        refuse_hopeless_goals(trace, engines, options.goodput_ms)
        if not allow_refused:
            for each in limits:
                refuse_oversized(trace, each, options.max_model_len)
        has_goal = has_goal or bool(np.isfinite(trace.sla_s).any())
    return has_goal


def one_seat(profile: Profile, options: RunOptions) -> EngineLimits:
    """Return the limits of an engine with one seat: what can never be served with more either."""
    if profile.kv_tokens < options.block_size:
        raise OptionError(
            f"kv_tokens={profile.kv_tokens}: expected at least one block of "
            f"{options.block_size} tokens"
        )
    return EngineLimits(
        discipline=options.discipline or cast("Discipline", profile.discipline),
        max_num_seqs=1,
        max_num_batched_tokens=options.max_num_batched_tokens,
        blocks=profile.kv_tokens // options.block_size,
        block_size=options.block_size,
    )
