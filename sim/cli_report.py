"""`saber report`: one page that shows a run, or several side by side."""

from pathlib import Path
from typing import Annotated

import typer

from sim import cli_options as given
from sim import console
from sim.options import OptionError


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN.parquet...", help="What saber run --out wrote; up to 8."),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="Where to write the page.",
            rich_help_panel=given.OUTPUT,
        ),
    ] = Path("report.html"),
    title: Annotated[
        str,
        typer.Option(help="Heading of the page.", rich_help_panel=given.OUTPUT),
    ] = "Simulation report",
    json: given.Json = False,
) -> None:
    """Write one page of HTML that shows runs: goodput, latencies, queues, the worst misses.

    It needs no network and no other file. With two or more runs it shows what differs; a run with
    --timeline also shows its replicas over time.

    Examples:
      saber run --timeline --out saber.parquet
      saber report saber.parquet
      saber run --policy "static(32)" --timeline --out static.parquet
      saber report saber.parquet static.parquet --out compared.html
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise OptionError(f"--out {out}: expected a name that ends in .html")
    from sim.report.page import report_page
    from sim.runfile import read_run

    with console.progress("drawing"):
        found = [read_run(path) for path in runs]
        if any(out.exists() and out.samefile(path) for path in runs):
            raise OptionError(f"--out {out}: this is one of the runs; expected another name")
        console.writable(out)
        page = report_page(found, title)
        out.write_text(page, encoding="utf-8")
    if json:
        shown = [{"name": run.name, "policy": run.policy, **run.summary} for run in found]
        console.show_json({"page": str(out), "bytes": len(page.encode()), "runs": shown})
    count = f"{len(runs)} runs" if len(runs) > 1 else "the run"
    console.note(f"{count} shown in {out} ({len(page.encode()) / 1e6:.1f} MB)")
