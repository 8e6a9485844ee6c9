"""`saber trace`: look at, convert and make traces."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sim import cli_options as given
from sim import cli_trace_options as trace_options
from sim import console
from sim.cli_convert import convert

app = typer.Typer(help="Look at, convert and make traces.")


@app.command()
def describe(
    file: trace_options.InFile,
    format: trace_options.Format = None,
    skip_bad: trace_options.SkipBad = False,
    rps: trace_options.FileRps = None,
    arrivals: trace_options.FileArrivals = None,
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


app.command()(convert)


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
    sla: trace_options.Sla = None,
    profile: trace_options.SlaProfile = None,
    tenants: trace_options.Tenants = None,
    seed: Annotated[
        int,
        typer.Option(
            help="Of arrivals, order of tasks and tenants.", parser=given.whole(0), metavar="N"
        ),
    ] = 0,
    json: given.Json = False,
) -> None:
    """Make a trace of a named workload.

    The same seed gives the same file.

    Examples:
      saber trace generate --out w3.csv
      saber trace generate --workload W1 --rps 5 --n 1000 --arrivals "gamma(cv=3)" --out w1.csv
    """
    from traces.workloads import workload as draw

    trace_options.check_out(out)
    trace = draw(workload, rps=rps, n=n, seed=seed, arrivals=arrivals)
    trace = trace_options.with_tenants(trace, tenants, seed)
    trace_options.write(trace_options.with_sla(trace, sla, profile), out, json)


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
