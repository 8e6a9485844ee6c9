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
    engine = Unloaded(profile, options)
    if trace is None:
        if skip_bad:
            raise OptionError("--skip-bad has no effect without --trace: expected a trace file")
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
    if wanted is not None:
        recorded = recorded.with_sla(wanted, profile=engine)
    if rps is None:
        return Recorded(str(trace), recorded)
    return Timed(str(trace), recorded, rps, arrivals or DEFAULT_ARRIVALS)


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
    from sim.simulation import with_kv_capacity

    return with_kv_capacity(load_profile(name), options)


def policies_of(texts: Iterable[str]) -> list[Policy]:
    """Return the policies; ``module:object`` is also looked for in the current folder."""
    from policies.catalog import make_policy

    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)  # last, so that a folder named `traces` hides nothing of ours
    return [make_policy(text) for text in texts]


def refuse_idle_seeds(
    given: Mapping[str, int | None], policies: Iterable[Policy], options: RunOptions
) -> None:
    """Raise OptionError for a seed that nothing draws from, with a trace that is always the same.

    `given` is the value of each option that chooses seeds, None where it was left out.
    """
    from policies.static import Static

    if options.jitter_cv or not all(isinstance(policy, Static) for policy in policies):
        return
    for name, value in given.items():
        if value is not None:
            raise OptionError(
                f"{name} {value} has no effect: the trace is fixed, and static policies without "
                "--jitter-cv draw nothing at random; leave it out"
            )


def check(
    source: Source,
    seeds: Iterable[int],
    profile: Profile,
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

    if profile.kv_tokens < options.block_size:
        raise OptionError(
            f"kv_tokens={profile.kv_tokens}: expected at least one block of "
            f"{options.block_size} tokens"
        )
    limits = EngineLimits(
        discipline=options.discipline or cast("Discipline", profile.discipline),
        max_num_seqs=1,
        max_num_batched_tokens=options.max_num_batched_tokens,
        blocks=profile.kv_tokens // options.block_size,
        block_size=options.block_size,
    )
    has_goal = options.goodput_ms is not None
    for seed in [0] if source.fixed else seeds:
        trace = source(seed)
        refuse_hopeless_goals(trace, Unloaded(profile, options), options.goodput_ms)
        if not allow_refused:
            refuse_oversized(trace, limits, options.max_model_len)
        has_goal = has_goal or bool(np.isfinite(trace.sla_s).any())
    return has_goal
