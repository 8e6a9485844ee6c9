"""`saber trace convert`: a trace in our own format, whole or changed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from sim import cli_options as given
from sim import cli_trace_options as trace_options
from sim import console
from sim.options import OptionError

if TYPE_CHECKING:
    from traces.request import Trace

CHANGING = "Changing, in this order"


def convert(
    file: trace_options.InFile,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Where to write: .csv or .parquet.")],
    format: trace_options.Format = None,
    skip_bad: trace_options.SkipBad = False,
    rps: trace_options.FileRps = None,
    arrivals: trace_options.FileArrivals = None,
    start_s: Annotated[
        float | None,
        typer.Option(
            parser=given.decimal,
            metavar="X",
            help="Keep arrivals from here on; they then count from here (s).",
            rich_help_panel=CHANGING,
        ),
    ] = None,
    end_s: Annotated[
        float | None,
        typer.Option(
            parser=given.decimal,
            metavar="X",
            help="Keep arrivals before this (s).",
            rich_help_panel=CHANGING,
        ),
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option(help="Keep these tasks, comma-separated.", rich_help_panel=CHANGING),
    ] = None,
    thin: Annotated[
        float | None,
        typer.Option(
            parser=given.decimal,
            metavar="X",
            help="Keep about this share of the requests, 0 to 1.",
            rich_help_panel=CHANGING,
        ),
    ] = None,
    thin_by: Annotated[
        str | None,
        typer.Option(
            help="What --thin keeps or drops whole: burst, session or request.",
            show_default="burst",
            rich_help_panel=CHANGING,
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            parser=given.decimal,
            metavar="X",
            help="Play the trace this many times as fast.",
            rich_help_panel=CHANGING,
        ),
    ] = None,
    scale_to_rps: Annotated[
        float | None,
        typer.Option(
            parser=given.decimal,
            metavar="X",
            help="Play the trace at this mean rate.",
            rich_help_panel=CHANGING,
        ),
    ] = None,
    sla: trace_options.Sla = None,
    profile: trace_options.SlaProfile = None,
    tenants: trace_options.Tenants = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Of what --thin, --rps and --tenants draw.",
            show_default="0",
            parser=given.whole(0),
            metavar="N",
        ),
    ] = None,
    json: given.Json = False,
) -> None:
    """Write a trace in sabersim's own format, whole or changed.

    Reads any known format, told by the content.

    Examples:
      saber trace convert azure.csv code.parquet
      saber trace convert azure.csv peak.csv --start-s 600 --end-s 1200 --scale 2
      saber trace convert azure.csv slow.csv --thin 0.25 --sla "unloaded*3"
    """
    from traces.formats import load

    if seed is not None and thin is None and rps is None and tenants is None:
        raise OptionError(
            f"--seed {seed} has no effect without --thin, --rps or --tenants: leave it out"
        )
    if thin_by is not None and thin is None:
        raise OptionError(f"--thin-by {thin_by} has no effect without --thin SHARE")
    if scale is not None and scale_to_rps is not None:
        raise OptionError(
            f"--scale {scale:g} and --scale-to-rps {scale_to_rps:g} contradict each other: "
            "expected one of them"
        )
    if out.exists() and out.samefile(file):
        raise OptionError(f"OUT {out} is FILE itself: expected another name")
    trace_options.check_out(out)
    with console.progress("converting"):
        trace = load(
            file, format=format, skip_bad=skip_bad, rps=rps, arrivals=arrivals, seed=seed or 0
        )
        trace = _cut(trace, start_s, end_s, tasks)
        trace = _slowed(trace, thin, thin_by, scale, scale_to_rps, seed or 0)
        trace = trace_options.with_tenants(trace, tenants, seed or 0)
        trace = trace_options.with_sla(trace, sla, profile)
    trace_options.write(trace, out, json)


def _cut(trace: "Trace", start_s: float | None, end_s: float | None, tasks: str | None) -> "Trace":
    from math import inf

    from traces.transform import select_tasks, window

    if start_s is not None or end_s is not None:
        trace = window(trace, start_s or 0.0, inf if end_s is None else end_s)
    if tasks is not None:
        trace = select_tasks(trace, [task.strip() for task in tasks.split(",")])
    return trace


def _slowed(
    trace: "Trace",
    thin: float | None,
    thin_by: str | None,
    scale: float | None,
    scale_to_rps: float | None,
    seed: int,
) -> "Trace":
    import numpy as np

    from traces.transform import scale_rate
    from traces.transform import thin as thinned

    if thin is not None:
        # `thinned` rejects any other word.
        unit = cast('Literal["burst", "session", "request"]', thin_by or "burst")
        trace = thinned(trace, thin, np.random.default_rng(seed), by=unit)
    if scale is not None or scale_to_rps is not None:
        trace = scale_rate(trace, scale, rps=scale_to_rps)
    return trace
