"""`saber plan`: how many of which replica, under which policy, at what cost, and how sure."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sim import cli_options as given
from sim import cli_plan_inputs as asked
from sim import console
from sim.cli_cluster import SCALING, ClusterFlags
from sim.cli_figure import NoFigure, figure_file, write_figure
from sim.cli_group import flags_of
from sim.described import described
from sim.options import RunOptions

if TYPE_CHECKING:
    from sim.plan.planning import Plan

PLANNING = "What is wanted, and what may be bought"
DEFAULT_POLICIES = "saber,static"
DEFAULT_FIGURE = Path("saber-plan.png")
DEFAULT_N = 1000
SEEDS_OF_TRACE, SEEDS_OF_WORKLOAD = 5, 30
NOT_REACHED = 1


@flags_of("cluster", ClusterFlags, without=(*SCALING, "users"))
def plan(
    trace: given.TraceFile = None,
    workload: given.Workload = None,
    rps: given.Rps = None,
    n: Annotated[
        int | None,
        typer.Option(
            help="Number of requests of the workload.",
            show_default=str(DEFAULT_N),
            rich_help_panel=given.REQUESTS,
            parser=given.whole(1),
            metavar="N",
        ),
    ] = None,
    arrivals: given.Arrivals = None,
    sla: given.Sla = None,
    rate_scale: given.RateScale = None,
    skip_bad: given.SkipBad = False,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="CONDITION,...",
            help='What to keep: "goodput>=95%", "ttft_p99<=0.5", "e2e_p95<=2s", "tpot_mean<=50ms", '
            "or several with commas.",
            show_default=asked.DEFAULT_TARGET,
            rich_help_panel=PLANNING,
        ),
    ] = None,
    target_percentile: Annotated[
        float | None,
        typer.Option(
            parser=given.decimal,
            metavar="P",
            help="At least this share of the requests within their SLA or the --goodput limits "
            "(%).",
            show_default="99 with --goodput",
            rich_help_panel=PLANNING,
        ),
    ] = None,
    goodput: given.Goodput = None,
    profile: Annotated[
        str,
        typer.Option(
            "--profile",
            metavar="NAME|FILE,...",
            help="The kinds of replica that may be bought: profiles, with commas.",
            rich_help_panel=PLANNING,
        ),
    ] = given.DEFAULT_PROFILE,
    price: Annotated[
        str | None,
        typer.Option(
            metavar="X,...",
            help="What one replica of each profile costs an hour, in any currency.",
            rich_help_panel=PLANNING,
        ),
    ] = None,
    policies: Annotated[
        str,
        typer.Option(
            help='Comma-separated, such as "saber, static(32)"; a bare static is the best size.',
            rich_help_panel=PLANNING,
        ),
    ] = DEFAULT_POLICIES,
    replicas: Annotated[
        int | None,
        typer.Option(
            help="Find the highest rate for this many replicas.",
            show_default="the least that meets the target",
            rich_help_panel=PLANNING,
            parser=given.whole(1),
            metavar="N",
        ),
    ] = None,
    max_replicas: Annotated[
        int,
        typer.Option(
            help="The most replicas to consider.",
            rich_help_panel=PLANNING,
            parser=given.whole(1),
            metavar="N",
        ),
    ] = 64,
    confidence: Annotated[
        float | None,
        typer.Option(
            parser=given.decimal,
            metavar="PERCENT",
            help="Be cautious: the worse end of the interval of this level has to meet the target.",
            show_default="the mean over seeds has to",
            rich_help_panel=PLANNING,
        ),
    ] = None,
    discipline: given.DisciplineName = None,
    max_num_seqs: given.MaxNumSeqs = None,
    max_num_batched_tokens: given.MaxNumBatchedTokens = RunOptions.max_num_batched_tokens,
    max_model_len: given.MaxModelLen = None,
    block_size: given.BlockSize = RunOptions.block_size,
    kv_tokens: given.KvTokens = None,
    gpu_memory_utilization: given.GpuMemoryUtilization = None,
    allow_refused: given.AllowRefused = False,
    seeds: Annotated[
        int | None,
        typer.Option(
            help="Repetitions near the target: new draws of a workload; of a trace itself, then "
            "its minutes drawn anew in blocks.",
            show_default="30; 5 with --trace",
            rich_help_panel=given.MEASURING,
            parser=given.whole(1),
            metavar="N",
        ),
    ] = None,
    client_overhead_s: given.ClientOverheadS = None,
    feedback_delay_s: given.FeedbackDelayS = 0.0,
    until_s: given.UntilS = None,
    warmup_s: given.WarmupS = 0.0,
    jitter_cv: given.JitterCv = 0.0,
    jobs: Annotated[
        int,
        typer.Option(
            help="Worker processes, -1 for one a core; results do not depend on it.",
            rich_help_panel=given.MEASURING,
        ),
    ] = -1,
    figure: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where to draw: .png, .svg or .pdf.",
            show_default=str(DEFAULT_FIGURE),
            rich_help_panel=given.OUTPUT,
        ),
    ] = None,
    no_figure: NoFigure = False,
    json: given.Json = False,
    *,
    cluster: ClusterFlags,
) -> None:
    """Find how many replicas keep a target, what they cost, and how sure that is.

    For each profile and policy: the least number of replicas, the highest rate they take, what one
    more or fewer would do, and what breaks first; the best static batch size beside SABER; with
    prices, the cheapest mix of kinds.  An SLA in terms of "unloaded" is the first profile's for
    all: what users are promised does not depend on what is bought.

    Exit code 1: nothing considered reaches the target.

    Examples:
      saber plan --workload W3 --rps 40 --target "goodput>=95%"
      saber plan --trace code.csv --goodput ttft:500 tpot:50 --target-percentile 99
      saber plan --trace code.csv --target "ttft_p99<=1" --profile roofline-h100-qwen2.5-coder-7b,\
roofline-l4-qwen2.5-coder-7b --price 4,0.7 --router least-requests
    """
    from policies.catalog import split_policies
    from sim import cli_inputs
    from sim.plan.document import document
    from sim.plan.planning import STATIC
    from sim.plan.planning import plan as make_plan
    from sim.plan.runner import Requests

    picture = figure_file(figure, no_figure, DEFAULT_FIGURE)
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
        **cluster.options(),
    )
    asked.refuse_what_is_planned(options)
    wanted = asked.target_of(target, target_percentile, goodput)
    kinds = asked.kinds_of(profile, price, options)
    with console.stdout_for_json(json), console.progress("reading"):
        texts = split_policies(policies)
        made = [text if text == STATIC else cli_inputs.policies_of([text])[0] for text in texts]
        source = cli_inputs.requests_of(
            trace=trace,
            workload=workload,
            rps=rps,
            n=DEFAULT_N if trace is None and n is None else n,
            arrivals=arrivals,
            sla=sla,
            skip_bad=skip_bad,
            profile=kinds[0].profile,
            options=options,
            rate_scale=rate_scale,
        )
        rate_rps = asked.rate_of(source)
        kinds, problems = asked.usable(kinds, source, wanted, options, allow_refused=allow_refused)
    for problem in problems:
        console.note(f"warning: left out: {problem}")
    count = seeds or (SEEDS_OF_TRACE if source.fixed else SEEDS_OF_WORKLOAD)
    rules = asked.rules_of(wanted, count, confidence, first=1 if source.fixed else 5)
    with console.stdout_for_json(json), console.progress("simulating") as on_done:
        found = make_plan(
            Requests(source),
            kinds,
            made,
            rules,
            options=options,
            cap=max_replicas,
            replicas=replicas,
            jobs=jobs,
            on_done=on_done,
        )
    warnings = _warnings(found)
    for warning in warnings:
        console.note(f"warning: {warning}")
    if picture is not None:
        from sim.plan.figure import plot_plan

        write_figure(plot_plan(found, rate_rps, title=source.title), picture)
    if json:
        configuration = {
            **source.describe(),
            "sla": sla,
            "profiles": [kind.profile.name for kind in kinds],
            "prices_per_h": [kind.price_per_h for kind in kinds],
            "left_out": problems,
            **described(options),
        }
        report = document(found, rate_rps, warnings)
        console.show_json({"configuration": configuration, **report, "figure": picture})
    else:
        _show(found, rate_rps, source.title)
    if found.best is None:
        raise typer.Exit(NOT_REACHED)


def _warnings(found: "Plan") -> list[str]:
    """Return what the runs behind the answers had to say, once each."""
    said: dict[str, None] = {}
    for answer in found.answers:
        name = found.kinds[answer.lane.kind].profile.name
        for warning in answer.at.samples[0].warnings:
            said[f"{name}: {warning}"] = None
    return list(said)


def _show(found: "Plan", rate_rps: float, title: str) -> None:
    from sim.plan.words import headings, rows, sentences

    heading = f"{title}; {console.number(rate_rps)} requests/s; {found.rules.target.text}"
    console.show_table(heading, headings(found), rows(found, rate_rps))
    console.show(*sentences(found, rate_rps))
