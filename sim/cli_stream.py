"""`saber run --stream`: from the command line's words to a trace that is read batch by batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sim.cli_inputs import one_seat, sla_of
from sim.feasible import Unloaded, refuse_hopeless_goals, refuse_oversized
from sim.options import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from calibrate.profile import Profile
    from sim.cluster.fleet import Replica
    from sim.options import RunOptions
    from traces.batches import Batches


@dataclass(frozen=True)
class Streamed:
    """A trace file that is larger than memory."""

    path: Path
    batches: Batches
    fixed = True

    def describe(self) -> dict[str, Any]:
        """Return what a reader of results should know of it."""
        return {"trace": str(self.path), "stream": True}

    @property
    def title(self) -> str:
        """One line for tables."""
        return f"{self.path.name}, batch by batch"


def stream_of(
    *,
    trace: Path | None,
    sla: str | None,
    rate_scale: float | None,
    skip_bad: bool,
    profile: Profile,
    options: RunOptions,
    **without_effect: float | str | None,
) -> Streamed:
    """Return the requests of `trace` in batches; the parameters are those of `requests_of`.

    Raises
    ------
    OptionError
        For options that contradict each other or have no effect.
    TraceError
        For a trace or SLA that is wrong.
    """
    from traces.batches import load_batches

    if trace is None:
        raise OptionError("--stream has no effect without --trace: expected a trace file")
    for name, value in without_effect.items():
        if value is not None:
            raise OptionError(
                f"--{name} {value} has no effect with --stream: expected a trace with requests and "
                "times of its own ('saber trace convert' makes them)"
            )
    batches = load_batches(trace, skip_bad=skip_bad)
    if rate_scale is not None:
        batches = batches.at_rate(rate_scale)
    if sla is not None:
        batches = batches.with_sla(sla_of(sla), profile=Unloaded(profile, options))
    return Streamed(trace, batches)


def check_stream(
    source: Streamed, fleet: Sequence[Replica], options: RunOptions, *, allow_refused: bool
) -> None:
    """Refuse runs that cannot answer anything, as `sim.cli_inputs.check` does.

    Raises
    ------
    OptionError
        No request can meet its SLA, or one can never fit the KV cache and that is not allowed.
    """
    engines = [Unloaded(kind.profile, options) for kind in fleet]
    hopeless: OptionError | None = None
    some_hope = False
    for batch in source.batches:
        if not some_hope:
            try:
                refuse_hopeless_goals(batch, engines, options.goodput_ms)
                some_hope = True
            except OptionError as error:
                hopeless = hopeless or error
        if not allow_refused:
            for kind in fleet:
                refuse_oversized(batch, one_seat(kind.profile, options), options.max_model_len)
        elif some_hope:
            return
    if hopeless is not None and not some_hope:
        raise hopeless
