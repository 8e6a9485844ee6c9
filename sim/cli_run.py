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
    from sim.streaming.stream import StreamResult

MOST_GROUPS = 16


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
    until_s: given.UntilS = None,
    warmup_s: given.WarmupS = 0.0,
    jitter_cv: given.JitterCv = 0.0,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a row per request: .parquet or .csv.",
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
      saber run --trace mooncake.jsonl --sla "unloaded*3" --discipline chunked --allow-refused
      saber run --trace huge.csv --stream --replicas 64 --router least-tokens --out requests.parquet
    """
    from sim import cli_inputs, cli_stream
    from sim.breakdown import LABELS, breakdown, jain
    from sim.result import Result
    from sim.simulation import simulate
    from sim.streaming.stream import simulate_stream

    if out is not None:
        if out.suffix not in (".parquet", ".csv"):
            raise OptionError(f"--out {out}: expected a name that ends in .parquet or .csv")
        if trace is not None and out.exists() and trace.exists() and out.samefile(trace):
            raise OptionError(f"--out {out} is the trace itself: expected another name")
        console.writable(out)
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
        until_s=until_s,
        warmup_s=warmup_s,
        jitter_cv=jitter_cv,
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
            if out is not None:
                result.save(out)
    if out is not None:
        console.note(f"{result.submitted:,} requests written to {out}")
    summary = result.summary()
    for warning in summary["warnings"]:
        console.note(f"warning: {warning}")
    if stream:
        console.note(
            f"percentiles are within {summary['percentile_error_pct']:.2g} % of exact ones"
        )
    groups = {}
    if isinstance(result, Result):  # a streamed run keeps no requests to group
        groups = {label: breakdown(result, label) for label in LABELS}
    if json:
        configuration = {
            **source.describe(),
            "sla": sla,
            "profile": profile,
            "replicas": sum(kind.count for kind in fleet),
            "seed": seed or 0,
            **described(result.options),
        }
        console.show_json(
            {
                "configuration": configuration,
                "policy": chosen.label,
                **summary,
                **{f"by_{label}": groups.get(label) for label in LABELS},
                "fairness": {label: jain(groups.get(label, {})) for label in LABELS},
            }
        )
        return
    if isinstance(source, cli_stream.Streamed):
        title = source.title
    else:
        title = cli_inputs.title_of(source, options)
    _show(summary, f"{title}, under {chosen.label}", limited=goodput is not None)
    for label, group in groups.items():
        _show_groups(label, group)


def _show(summary: dict[str, Any], title: str, *, limited: bool) -> None:
    spread = ("mean", "p50", "p90", "p95", "p99")
    latencies = {
        "TTFT [s]": ("ttft_s", 1.0),
        "TPOT [ms]": ("tpot_s", 1e3),
        "ITL [ms]": ("itl_s", 1e3),
        "E2E [s]": ("e2e_s", 1.0),
    }
    console.show_table(
        title,
        ["", *spread],
        [
            [name, *(_scaled(summary[key][part], scale) for part in spread)]
            for name, (key, scale) in latencies.items()
        ],
    )
    ratio = summary["sla_ratio"]
    statuses = [f"{count:,} {name}" for name, count in summary["statuses"].items() if count]
    counted = "all requests, within the limits" if limited else "the requests with an SLA"
    facts = {
        "goodput": f"{console.number(summary['goodput_pct'])} % of {counted}, "
        f"{console.number(summary['goodput_rps'])} requests/s",
        "SLA ratio": f"mean {console.number(ratio['mean'])}, CV {console.number(ratio['cv'])}",
        "throughput": f"{console.number(summary['throughput_tok_s'])} output tokens/s",
        "utilisation": f"{_scaled(summary['utilisation'], 100)} % of "
        f"{console.number(summary['duration_s'])} s",
        "requests": ", ".join(statuses),
        "preemptions": f"{summary['preemptions']:,}",
        "demoted": f"{summary['demoted']:,}",
        "replicas": f"{console.number(summary['replica_hours'])} replica-hours",
    }
    if summary["cost"] is not None:
        facts["replicas"] += f", cost {console.number(summary['cost'])}"
    again = summary["attempts"] - summary["requests"]
    if again:
        facts["sent again"] = (
            f"{again:,} times ({summary['attempts'] / summary['requests']:.2f} attempts a "
            f"request); {summary['wasted_tokens']:,} output tokens for nothing"
        )
    if summary["prefix_hit_pct"] is not None:
        facts["prefix hits"] = f"{console.number(summary['prefix_hit_pct'])} % of prompt tokens"
    console.show(*(f"{name:12} {value}" for name, value in facts.items()))


def _show_groups(label: str, groups: dict[str, dict[str, Any]]) -> None:
    """Print a line for each group, where there are several and not too many to read."""
    if not 2 <= len(groups) <= MOST_GROUPS:
        return
    headings = ["requests", "finished", "goodput [%]"]
    latencies = [(key, part) for key in ("ttft_s", "e2e_s") for part in ("p50", "p99")]
    console.show_table(
        f"by {label}",
        [label, *headings, *(f"{key[:-2].upper()} {part} [s]" for key, part in latencies)],
        [
            [
                name or "(none)",
                f"{group['requests']:,}",
                f"{group['finished']:,}",
                console.number(group["goodput_pct"]),
                *(console.number(group[key][part]) for key, part in latencies),
            ]
            for name, group in groups.items()
        ],
    )


def _scaled(value: float | None, scale: float) -> str:
    return console.number(None if value is None else value * scale)
