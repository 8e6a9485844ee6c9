"""What the commands of `saber trace` share: options, and what they mean."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sim import cli_options as given
from sim import console
from sim.options import OptionError

if TYPE_CHECKING:
    from traces.request import Trace

READING = "Reading"

InFile = Annotated[Path, typer.Argument(metavar="FILE", help="A trace in any known format.")]
Format = Annotated[
    str | None,
    typer.Option(help="Format of FILE, where the content does not tell.", rich_help_panel=READING),
]
SkipBad = Annotated[
    bool,
    typer.Option(
        "--skip-bad", help="Drop and count rows that cannot be read.", rich_help_panel=READING
    ),
]
FileRps = Annotated[
    float | None,
    typer.Option(
        parser=given.decimal,
        metavar="X",
        help="Requests a second, for files of lengths without arrival times.",
        rich_help_panel=READING,
    ),
]
FileArrivals = Annotated[
    str | None,
    typer.Option(
        help="Arrival process for such files.", show_default="poisson", rich_help_panel=READING
    ),
]
Sla = Annotated[
    str | None,
    typer.Option(
        help='Seconds ("12"), an expression ("unloaded*3") or by task ("code_qna=1,...").',
        show_default="the trace's own",
    ),
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
Tenants = Annotated[
    str | None,
    typer.Option(
        metavar="NAME=X,...",
        help='Draw a tenant for each session or request by shares of the traffic: "a=3,b=1".',
        show_default="the trace's own",
    ),
]


def check_out(out: Path) -> None:
    """Refuse a name that `traces.formats.save` would refuse, before the work starts."""
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise OptionError(f"{out}: expected a name that ends in .csv or .parquet")
    console.writable(out)


def write(trace: "Trace", out: Path, json: bool) -> None:
    """Write the trace and say so."""
    from traces.formats import save

    save(trace, out)
    for warning in trace.warnings:
        console.note(f"warning: {warning}")
    console.note(f"{len(trace):,} requests written to {out}")
    if json:
        console.show_json(
            {
                "trace": out,
                "n": len(trace),
                "span_s": trace.span_s,
                "warnings": trace.warnings,
            }
        )


def with_sla(trace: "Trace", sla: str | None, profile: str | None) -> "Trace":
    """Return the trace with the SLAs asked for; OptionError for a profile nothing asks for."""
    from calibrate.library import load_profile
    from sim.cli_inputs import sla_of

    if profile is not None and (sla is None or "unloaded" not in sla):
        raise OptionError(
            f"--profile {profile} has no effect: only an --sla with `unloaded` asks for it"
        )
    if sla is None:
        return trace
    return trace.with_sla(sla_of(sla), profile=load_profile(profile or given.DEFAULT_PROFILE))


def with_tenants(trace: "Trace", tenants: str | None, seed: int) -> "Trace":
    """Return the trace with the tenants asked for."""
    if tenants is None:
        return trace
    from sim.cluster.tenants import parse_shares
    from traces import tenancy
    from traces.seeds import stream

    return tenancy.with_tenants(trace, parse_shares(tenants), stream(seed, "tenants"))
