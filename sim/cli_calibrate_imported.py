"""`saber calibrate imported`: a profile from what other tools measured."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim import cli_options as given
from sim import console

if TYPE_CHECKING:
    from calibrate.imported.result import Imported
    from calibrate.profile import Profile

ERRORS = ("mape", "p95", "max")


def imported(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Results of vllm bench serve, reports of GuideLLM or inference-perf.",
            show_default=False,
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="What the model is called.", show_default="as the files say"
        ),
    ] = None,
    discipline: Annotated[
        str,
        typer.Option(help="How the engine forms its steps: chunked (vLLM V1) or prefill-first."),
    ] = "chunked",
    kv_tokens: Annotated[
        int | None,
        typer.Option(
            parser=given.whole(1),
            metavar="N",
            help="Tokens its KV cache holds; vLLM says so when it starts.",
            show_default="assumed never to be full",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The profile to write.",
            show_default="MODEL-imported.json",
            rich_help_panel=given.OUTPUT,
        ),
    ] = None,
    json: given.Json = False,
) -> None:
    """Make a profile of results that other tools saved; no server is touched.

    Give several files of one server: a cost needs prompts of two lengths alone on it,
    and two different loads.  vllm bench saves what is needed with --save-result
    --save-detailed.

    Examples:
      saber calibrate imported one.json sixteen.json --out my.json
      saber calibrate imported benchmarks.json --kv-tokens 480000
      saber calibrate imported per_request_lifecycle_metrics.json --json
    """
    from calibrate.imported.profile import ImportOptions, imported_profile
    from calibrate.imported.read import read_results

    options = ImportOptions(model=model, discipline=discipline, kv_tokens=kv_tokens)
    if out is not None:
        console.writable(out)
    runs: list[Imported] = []
    with console.progress("reading", total=len(files)) as on_done:
        for done, file in enumerate(files, start=1):
            runs += read_results(file)
            on_done(done)
    with console.progress("fitting"):
        profile = imported_profile(runs, options)
    path = Path(f"{profile.name}.json") if out is None else out
    profile.save(path)
    if json:
        console.show_json(_document(path, runs, profile))
    else:
        _show(path, runs, profile)


def _document(path: Path, runs: "list[Imported]", profile: "Profile") -> dict[str, Any]:
    from calibrate.describe import describe_profile

    return {
        "path": str(path),
        "runs": [_run(run) for run in runs],
        "profile": describe_profile(profile),
    }


def _run(run: "Imported") -> dict[str, Any]:
    return {
        "source": run.source,
        "tool": run.tool,
        "version": run.version or None,
        "model": run.model or None,
        "date": run.date or None,
        "concurrency": run.concurrency,
        "request_rate": run.request_rate,
        "requests": run.requests_made,
        "failed": run.failed,
        "requests_listed": len(run.requests),
        "loads_known": run.has_loads,
        "notes": list(run.notes),
    }


def _show(path: Path, runs: "list[Imported]", profile: "Profile") -> None:
    console.show_table(
        "Results",
        ["run", "tool", "at once", "a second", "requests", "failed", "load over time"],
        [
            [
                run.source,
                f"{run.tool} {run.version}".strip(),
                console.MISSING if run.concurrency is None else f"{run.concurrency}",
                console.number(run.request_rate),
                f"{run.requests_made:,}",
                f"{run.failed:,}",
                "known" if run.has_loads else "unknown",
            ]
            for run in runs
        ],
    )
    columns = [(sample, errors) for sample, errors in profile.fit.items() if errors]
    if columns:
        console.show_table(
            "Error of the fit [%]",
            ["steps", "rows", "mean", "95th percentile", "largest"],
            [
                [
                    region,
                    sample.replace("_", " "),
                    *(console.number(round(getattr(error, key), 2)) for key in ERRORS),
                ]
                for sample, errors in columns
                for region, error in errors.items()
            ],
        )
    steps = {
        name: batches for name, batches in profile.provenance["decode_steps"].items() if batches
    }
    console.show(
        *(
            f"Decode steps from {name}: batches {', '.join(map(str, batches))}"
            for name, batches in steps.items()
        ),
        f"Client overhead: {1e3 * profile.client_overhead_s:.2f} ms "
        f"({profile.sources['client_overhead_s']})",
        f"KV cache: {profile.kv_tokens:,} tokens ({profile.kv_source})",
        f"Speeds for SABER's estimator: {len(profile.speed_points or ()):,}",
        *(f"Warning: {warning}" for warning in profile.provenance["warnings"]),
        f"The profile is {path}. Next: saber calibrate show {path}",
    )
