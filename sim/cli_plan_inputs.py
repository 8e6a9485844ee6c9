"""From the words of `saber plan` to a target, kinds of replica and rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.options import OptionError

if TYPE_CHECKING:
    from sim.cluster.fleet import Replica
    from sim.options import RunOptions
    from sim.plan.band import Rules
    from sim.plan.target import Target
    from sim.sources import Source

DEFAULT_TARGET = "goodput>=95%"
DEFAULT_PERCENTILE = 99.0


def target_of(text: str | None, percentile: float | None, goodput: list[str] | None) -> Target:
    """Return the target that the options ask for together."""
    from sim.plan.target import Condition, Target, parse_target

    if percentile is not None and not 0 < percentile <= 100:
        raise OptionError(f"--target-percentile {percentile:g}: expected above 0 and up to 100")
    if text is None and percentile is None:
        if goodput is None:
            return parse_target(DEFAULT_TARGET)
        percentile = DEFAULT_PERCENTILE
    conditions = parse_target(text).conditions if text is not None else ()
    asked = any(condition.is_goodput for condition in conditions)
    if percentile is not None and asked:
        raise OptionError(
            f"--target {text!r} and --target-percentile {percentile:g} both set the goodput: give "
            "one of them"
        )
    if goodput is not None and percentile is None and not asked:
        raise OptionError(
            f"--goodput has no effect on --target {text!r}: add --target-percentile, or a "
            "goodput>=P% to the target"
        )
    if percentile is not None:
        conditions = (Condition("goodput", None, percentile), *conditions)
    return Target(conditions)


def refuse_what_is_planned(options: RunOptions) -> None:
    """Refuse options that name what a plan is to find."""
    for outage in () if options.failures is None else options.failures.scripted:
        if outage.replica:
            raise OptionError(
                f"--failures name replica {outage.replica}, but a plan looks at clusters of one "
                "replica too: expected replica 0, or random failures"
            )


def kinds_of(profiles: str, prices: str | None, options: RunOptions) -> list[Replica]:
    """Return the kinds of replica that may be bought, one of each."""
    from sim import cli_inputs
    from sim.cluster.fleet import parse_fleet

    names = [kind.name for kind in parse_fleet(profiles)]
    for kind in parse_fleet(profiles):
        if kind.count is not None:
            raise OptionError(
                f"--profile {profiles!r} says how many {kind.name}, which a plan is to find: leave "
                "the count out"
            )
        if names.count(kind.name) > 1:
            raise OptionError(f"--profile names {kind.name} twice: expected each once")
    return list(cli_inputs.fleet_of(profiles, None, prices, options))


def rate_of(source: Source) -> float:
    """Return the mean rate of the requests as given."""
    from sim.sources import Recorded

    if not isinstance(source, Recorded):
        return source.rps
    trace = source.trace
    if not trace.span_s:
        raise OptionError(
            f"{source.path}: all requests ({len(trace)}) come at one instant, but a plan needs a "
            "rate: expected at least two at different times"
        )
    return (len(trace) - 1) / trace.span_s


def usable(
    kinds: list[Replica],
    source: Source,
    target: Target,
    options: RunOptions,
    *,
    allow_refused: bool,
) -> tuple[list[Replica], list[str]]:
    """Return the kinds that can hold the requests, and why the others cannot."""
    from numpy import float64

    from sim import cli_inputs
    from sim.sources import Recorded
    from traces.columns import absent

    trace = source(0)
    if not target.needs_goodput:  # then an SLA that nobody can meet is no reason to stop
        trace = trace.replace(sla_s=absent(len(trace), float64))
    first = Recorded(source.title, trace)
    able: list[Replica] = []
    problems: list[str] = []
    for kind in kinds:
        try:
            has_goal = cli_inputs.check(first, [0], [kind], options, allow_refused=allow_refused)
        except OptionError as error:
            problems.append(f"{kind.profile.name}: {error}")
            continue
        if target.needs_goodput and not has_goal:
            raise OptionError(
                f"the target is {target.text}, but no request has an SLA: give one with --sla, "
                "limits with --goodput, or a target of latencies"
            )
        able.append(kind)
    if not able:
        raise OptionError(problems[0])
    return able, problems


def rules_of(target: Target, seeds: int, confidence: float | None, first: int) -> Rules:
    """Return how a plan decides; with a confidence, by the worse end of its interval."""
    from sim.plan.band import Rules

    if confidence is None:
        return Rules(target, seeds, first)
    if not 50 <= confidence < 100:
        raise OptionError(f"--confidence {confidence:g}: expected percent from 50 to below 100")
    if seeds == 1:
        raise OptionError("--confidence needs an interval, and one seed has none: raise --seeds")
    return Rules(target, seeds, first, level_pct=confidence, cautious=True)
