"""`saber trace`: look at, convert and make traces."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from sim import cli_options as given
from sim import console
from sim.options import OptionError

if TYPE_CHECKING:
    from traces.request import Trace

app = typer.Typer(help="Look at, convert and make traces.")

READING = "Reading"
CHANGING = "Changing, in this order"

InFile = Annotated[Path, typer.Argument(metavar="FILE", help="A trace in any known format.")]
Format = Annotated[
    str | None,
    typer.Option("--format", help="Its format, where the content does not tell."),
]
FileRps = Annotated[
    float | None,
    typer.Option(
        parser=given.decimal,
        metavar="X",
        help="Requests a second, for files of lengths without arrival times.",
    ),
]
FileArrivals = Annotated[
    str | None,
    typer.Option(help="Arrival process for such files.", show_default="poisson"),
]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Drop and count rows that cannot be read.")
]
SlaProfile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="NAME|FILE",
        help="Answers `unloaded` in --sla.",
        show_default=given.DEFAULT_PROFILE,
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        help="Of what is drawn at random.", show_default="0", parser=given.whole(0), metavar="N"
    ),
]


@app.command()
def describe(
    file: InFile,
    format: Format = None,
    skip_bad: SkipBad = False,
    rps: FileRps = None,
    arrivals: FileArrivals = None,
    json: given.Json = False,
) -> None:
    """Print the numbers of a trace: rates, bursts, lengths, tasks.

    The format is told by the content, never by the name; gzip and zstandard are opened.

    Examples:
      saber trace describe trace.csv
      saber trace describe sharegpt.json --rps 5 --json
    """
    from traces.describe import describe as numbers_of
    from traces.formats import load

    with console.progress("reading"):
        trace = load(file, format=format, skip_bad=skip_bad, rps=rps, arrivals=arrivals)
        numbers = numbers_of(trace)
    for warning in trace.warnings:
        console.note(f"warning: {warning}")
    if json:
        console.show_json(
            {
                "trace": file,
                "format": trace.meta.get("format"),
                **numbers,
                "warnings": trace.warnings,
            }
        )
        return
    _show(numbers, f"{file} ({trace.meta.get('format')})")


@app.command()
def convert(
    file: InFile,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Where to write: .csv or .parquet.")],
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="Format of FILE, where the content does not tell.",
            rich_help_panel=READING,
        ),
    ] = None,
    skip_bad: Annotated[
        bool,
        typer.Option(
            "--skip-bad", help="Drop and count rows that cannot be read.", rich_help_panel=READING
        ),
    ] = False,
    rps: Annotated[
        float | None,
        typer.Option(
            parser=given.decimal,
            metavar="X",
            help="Requests a second, for files of lengths without arrival times.",
            rich_help_panel=READING,
        ),
    ] = None,
    arrivals: Annotated[
        str | None,
        typer.Option(
            help="Arrival process for such files.", show_default="poisson", rich_help_panel=READING
        ),
    ] = None,
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
    sla: Annotated[
        str | None,
        typer.Option(
            help='Seconds, an expression ("unloaded*3") or by task ("code_qna=1,...").',
            rich_help_panel=CHANGING,
        ),
    ] = None,
    profile: SlaProfile = None,
    seed: Seed = None,
) -> None:
    """Write a trace in sabersim's own format, whole or changed.

    Reads any known format, told by the content.

    Examples:
      saber trace convert azure.csv code.parquet
      saber trace convert azure.csv peak.csv --start-s 600 --end-s 1200 --scale 2
      saber trace convert azure.csv slow.csv --thin 0.25 --seed 7 --sla "unloaded*3"
    """
    from traces.formats import load, save

    if seed is not None and thin is None and rps is None:
        raise OptionError(f"--seed {seed} has no effect without --thin or --rps: leave it out")
    if thin_by is not None and thin is None:
        raise OptionError(f"--thin-by {thin_by} has no effect without --thin SHARE")
    if scale is not None and scale_to_rps is not None:
        raise OptionError(
            f"--scale {scale:g} and --scale-to-rps {scale_to_rps:g} contradict each other: "
            "expected one of them"
        )
    if out.exists() and out.samefile(file):
        raise OptionError(f"OUT {out} is FILE itself: expected another name")
    _own_file(out)
    with console.progress("converting"):
        trace = load(
            file, format=format, skip_bad=skip_bad, rps=rps, arrivals=arrivals, seed=seed or 0
        )
        trace = _cut(trace, start_s, end_s, tasks)
        trace = _slowed(trace, thin, thin_by, scale, scale_to_rps, seed or 0)
        trace = _with_sla(trace, sla, profile)
        save(trace, out)
    for warning in trace.warnings:
        console.note(f"warning: {warning}")
    console.note(f"{len(trace):,} requests written to {out}")


@app.command()
def generate(
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to write: .csv or .parquet.")],
    workload: Annotated[str, typer.Option(help="Named workload: W1, W2 or W3.")] = "W3",
    rps: Annotated[
        float, typer.Option(parser=given.decimal, metavar="X", help="Mean requests a second.")
    ] = 10.0,
    n: Annotated[
        int, typer.Option(help="Number of requests.", parser=given.whole(1), metavar="N")
    ] = 100,
    arrivals: Annotated[str, typer.Option(help=given.ARRIVALS_HELP)] = "poisson",
    sla: Annotated[
        str | None,
        typer.Option(
            help='Seconds, an expression ("unloaded*3") or by task ("code_qna=1,...").',
            show_default="the study's",
        ),
    ] = None,
    profile: SlaProfile = None,
    seed: Annotated[
        int,
        typer.Option(help="Of arrivals and order of tasks.", parser=given.whole(0), metavar="N"),
    ] = 0,
) -> None:
    """Make a trace of a named workload.

    The same seed gives the same file.

    Examples:
      saber trace generate --out w3.csv
      saber trace generate --workload W1 --rps 5 --n 1000 --arrivals "gamma(cv=3)" --out w1.csv
    """
    from traces.formats import save
    from traces.workloads import workload as draw

    _own_file(out)
    trace = _with_sla(draw(workload, rps=rps, n=n, seed=seed, arrivals=arrivals), sla, profile)
    save(trace, out)
    console.note(f"{len(trace):,} requests written to {out}")


def _own_file(out: Path) -> None:
    """Refuse a name that `traces.formats.save` would refuse, before the work starts."""
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise OptionError(f"{out}: expected a name that ends in .csv or .parquet")
    console.writable(out)


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


def _with_sla(trace: "Trace", sla: str | None, profile: str | None) -> "Trace":
    from calibrate.profile import load_profile
    from sim.cli_inputs import sla_of

    if profile is not None and (sla is None or "unloaded" not in sla):
        raise OptionError(
            f"--profile {profile} has no effect: only an --sla with `unloaded` asks for it"
        )
    if sla is None:
        return trace
    return trace.with_sla(sla_of(sla), profile=load_profile(profile or given.DEFAULT_PROFILE))


def _show(numbers: dict[str, Any], title: str) -> None:
    tokens = ("mean", "p50", "p90", "p99", "max")
    console.show_table(
        title,
        ["tokens", *tokens],
        [
            [name, *(console.number(numbers[name][part]) for part in tokens)]
            for name in ("prompt", "output")
        ],
    )
    idle = 100 * numbers["idle_seconds_share"]
    facts = {
        "requests": f"{numbers['n']:,}",
        "span": f"{numbers['span_s']:,.1f} s",
        "mean rate": f"{console.number(numbers['mean_rps'], 4)} requests/s",
        "inter-arrival CV": console.number(numbers["interarrival_cv"], 4),
        "idle seconds": f"{idle:.1f} %",
        "busiest": f"{numbers['peak_1s']:,} in 1 s, {numbers['peak_60s']:,} in 60 s",
        "correlation": f"{console.number(numbers['correlation'])} of prompt and output tokens",
    }
    if numbers["tasks"]:
        facts["tasks"] = ", ".join(f"{name} {n:,}" for name, n in numbers["tasks"].items())
    if "sla" in numbers:
        sla = numbers["sla"]
        facts["SLA"] = (
            f"mean {console.number(sla['mean_s'])} s, {console.number(sla['min_s'])} to "
            f"{console.number(sla['max_s'])} s, {sla['requests']:,} requests"
        )
    console.show(*(f"{name:17} {value}" for name, value in facts.items()))
