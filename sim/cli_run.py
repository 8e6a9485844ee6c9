"""`saber run`: one trace under one policy."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim import cli_options as given
from sim import console
from sim.cli_cluster import ClusterFlags
from sim.cli_group import flags_of
from sim.described import described
from sim.options import OptionError, RunOptions

if TYPE_CHECKING:
    from sim.result import Result
    from sim.streaming.stream import StreamResult


@flags_of("cluster", ClusterFlags)
def run(
    trace: given.TraceFile = None,
    workload: given.Workload = None,
    rps: given.Rps = None,
    n: given.N = None,
    arrivals: given.Arrivals = None,
    sla: given.Sla = None,
    rate_scale: given.RateScale = None,
    skip_bad: given.SkipBad = False,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream",
            help="Read and simulate the trace batch by batch, for traces larger than memory.",
            rich_help_panel=given.REQUESTS,
        ),
    ] = False,
    policy: Annotated[
        str,
        typer.Option(
            help='Such as "static(32)", "saber(estimator=linear)" or module:object.',
            rich_help_panel=given.SERVING,
        ),
    ] = "saber",
    profile: given.ProfileName = given.DEFAULT_PROFILE,
    replicas: given.Replicas = None,
    price: given.Price = None,
    discipline: given.DisciplineName = None,
    max_num_seqs: given.MaxNumSeqs = None,
    max_num_batched_tokens: given.MaxNumBatchedTokens = RunOptions.max_num_batched_tokens,
    max_model_len: given.MaxModelLen = None,
    block_size: given.BlockSize = RunOptions.block_size,
    kv_tokens: given.KvTokens = None,
    gpu_memory_utilization: given.GpuMemoryUtilization = None,
    allow_refused: given.AllowRefused = False,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Draws the arrivals and the policy's choices.",
            show_default="0",
            rich_help_panel=given.MEASURING,
            parser=given.whole(0),
            metavar="N",
        ),
    ] = None,
    goodput: given.Goodput = None,
    client_overhead_s: given.ClientOverheadS = None,
    feedback_delay_s: given.FeedbackDelayS = 0.0,
    until_s: given.UntilS = None,
    warmup_s: given.WarmupS = 0.0,
    jitter_cv: given.JitterCv = 0.0,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a row per request (.csv), or the whole run for `saber report` (.parquet).",
            rich_help_panel=given.OUTPUT,
        ),
    ] = None,
    timeline: Annotated[
        bool,
        typer.Option(
            "--timeline",
            help="Record queues, batches and KV blocks of every replica over time.",
            rich_help_panel=given.OUTPUT,
        ),
    ] = False,
    perfetto: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a trace for ui.perfetto.dev or Chrome: .json or .json.gz.",
            rich_help_panel=given.OUTPUT,
        ),
    ] = None,
    metrics: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write Prometheus metrics with vLLM's names: .prom, a scrape at the end; or .om, "
            "OpenMetrics over time, with --timeline.",
            rich_help_panel=given.OUTPUT,
        ),
    ] = None,
    json: given.Json = False,
    *,
    cluster: ClusterFlags,
) -> None:
    """Run one trace under one policy and summarise it.

    Without options: the study's balanced workload W3 at 10 requests a second under SABER.

    Examples:
      saber run
      saber run --policy "static(32)" --rps 5 --out requests.csv
      saber run --timeline --out run.parquet --perfetto run.json.gz --metrics run.om
      saber run --trace mooncake.jsonl --sla "unloaded*3" --discipline chunked --allow-refused
      saber run --trace huge.csv --stream --replicas 64 --router least-tokens --out requests.parquet
    """
    from sim import cli_inputs, cli_stream
    from sim.breakdown import LABELS, breakdown, jain
    from sim.cli_run_show import show_groups, show_summary
    from sim.export.perfetto import check_perfetto
    from sim.export.prometheus import check_metrics
    from sim.result import Result
    from sim.simulation import simulate
    from sim.streaming.stream import simulate_stream

    if out is not None:
        if out.suffix not in (".parquet", ".csv"):
            raise OptionError(f"--out {out}: expected a name that ends in .parquet or .csv")
        if trace is not None and out.exists() and trace.exists() and out.samefile(trace):
            raise OptionError(f"--out {out} is the trace itself: expected another name")
        console.writable(out)
    if perfetto is not None:
        check_perfetto(perfetto)
    if metrics is not None:
        check_metrics(metrics, timeline=timeline)
    for path in (perfetto, metrics):
        if path is not None:
            if stream:
                raise OptionError(
                    f"{path}: a streamed run keeps nothing to write there: leave --stream out"
                )
            console.writable(path)
    options = given.run_options(
        discipline=discipline,
        goodput=goodput,
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=max_num_batched_tokens,
        max_model_len=max_model_len,
        block_size=block_size,
        kv_tokens=kv_tokens,
        gpu_memory_utilization=gpu_memory_utilization,
        client_overhead_s=client_overhead_s,
        feedback_delay_s=feedback_delay_s,
        until_s=until_s,
        warmup_s=warmup_s,
        jitter_cv=jitter_cv,
        timeline=timeline,
        **cluster.options(),
    )
    fleet = cli_inputs.fleet_of(profile, replicas, price, options)
    with console.stdout_for_json(json), console.progress("simulating"):
        [chosen] = cli_inputs.policies_of([policy])
        source = (cli_stream.stream_of if stream else cli_inputs.requests_of)(
            trace=trace,
            workload=workload,
            rps=rps,
            n=n,
            arrivals=arrivals,
            sla=sla,
            skip_bad=skip_bad,
            profile=fleet[0].profile,
            options=options,
            rate_scale=rate_scale,
        )
        if source.fixed:
            cli_inputs.refuse_idle_seeds({"--seed": seed}, [chosen], options)
        result: Result | StreamResult
        if isinstance(source, cli_stream.Streamed):
            cli_stream.check_stream(source, fleet, options, allow_refused=allow_refused)
            result = simulate_stream(
                source.batches, fleet, policy=chosen, seed=seed or 0, out=out, **vars(options)
            )
        else:
            cli_inputs.check(source, [seed or 0], fleet, options, allow_refused=allow_refused)
            result = simulate(
                source(seed or 0), fleet, policy=chosen, seed=seed or 0, **vars(options)
            )
        configuration = {
            **source.describe(),
            "sla": sla,
            "profile": profile,
            "replicas": sum(kind.count for kind in fleet),
            "seed": seed or 0,
        }
        if isinstance(result, Result):
            _write(result, configuration, out, perfetto, metrics)
    for path in (out, perfetto, metrics):
        if path is not None:
            console.note(f"{result.submitted:,} requests written to {path}")
    summary = result.summary()
    for warning in summary["warnings"]:
        console.note(f"warning: {warning}")
    if stream:
        console.note(
            f"percentiles are within {summary['percentile_error_pct']:.2g} % of exact ones"
        )
    groups, over_time = {}, None
    if isinstance(result, Result):  # a streamed run keeps no requests to group
        over_time = result.timeline
        groups = {label: breakdown(result, label) for label in LABELS}
    if json:
        console.show_json(
            {
                "configuration": {**configuration, **described(result.options)},
                "policy": chosen.label,
                **summary,
                **{f"by_{label}": groups.get(label) for label in LABELS},
                "fairness": {label: jain(groups.get(label, {})) for label in LABELS},
                **({} if over_time is None else {"timeline": over_time.to_lists()}),
            }
        )
        return
    if isinstance(source, cli_stream.Streamed):
        title = source.title
    else:
        title = cli_inputs.title_of(source, options)
    show_summary(
        summary,
        f"{title}, under {chosen.label}",
        limited=goodput is not None,
        timeline=over_time,
    )
    for label, group in groups.items():
        show_groups(label, group)


def _write(
    result: "Result",
    configuration: dict[str, Any],
    out: Path | None,
    perfetto: Path | None,
    metrics: Path | None,
) -> None:
    """Write what was asked for; what a run holds besides its requests is put together once."""
    from sim.export.perfetto import write_perfetto
    from sim.export.prometheus import write_metrics
    from sim.runfile import run_of, write_run

    if out is not None and out.suffix == ".csv":
        result.save(out)
        out = None
    if out is None and perfetto is None and metrics is None:
        return
    run = run_of(result, configuration)
    if out is not None:
        write_run(run, out)
    if perfetto is not None:
        write_perfetto(run, perfetto)
    if metrics is not None:
        write_metrics(run, metrics)
