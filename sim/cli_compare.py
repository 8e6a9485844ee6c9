"""`saber compare`: SABER beside every static batch size, with intervals over seeds."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sim import cli_options as given
from sim import console
from sim.cli_cluster import ClusterFlags
from sim.cli_compare_show import show_comparison
from sim.cli_figure import NoFigure, figure_file, write_figure
from sim.cli_group import flags_of
from sim.cli_leaderboard import LeaderboardFlags, refuse_without_effect, show_leaderboard
from sim.described import described
from sim.lineup import lineup
from sim.options import OptionError, RunOptions

if TYPE_CHECKING:
    from sim.compare import Comparison

DEFAULT_POLICIES = ",".join([*(f"static({size})" for size in range(10, 101, 10)), "saber"])
DEFAULT_FIGURE = Path("saber-compare.png")
DEFAULT_SEEDS = 30


@flags_of("board", LeaderboardFlags)
@flags_of("cluster", ClusterFlags)
def compare(
    context: typer.Context,
    trace: given.TraceFile = None,
    workload: given.Workload = None,
    rps: given.Rps = None,
    n: given.N = None,
    arrivals: given.Arrivals = None,
    sla: given.Sla = None,
    rate_scale: given.RateScale = None,
    skip_bad: given.SkipBad = False,
    policies: Annotated[
        str | None,
        typer.Option(
            help='Comma-separated, such as "static(8), saber(lpq=all)"; "all" is every policy '
            "there is, module:object one of your own.",
            show_default="static(10) to static(100) by 10, and saber; all with --leaderboard",
            rich_help_panel=given.SERVING,
        ),
    ] = None,
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
    seeds: Annotated[
        int | None,
        typer.Option(
            help="Repetitions: each draws arrivals and policies' choices anew.",
            show_default="30; 1 with --trace",
            rich_help_panel=given.MEASURING,
            parser=given.whole(1),
            metavar="N",
        ),
    ] = None,
    first_seed: Annotated[
        int | None,
        typer.Option(
            help="The first seed; the others follow it.",
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
    jobs: Annotated[
        int | None,
        typer.Option(
            help="Worker processes, -1 for one a core; results do not depend on it.",
            show_default="1; -1 with --leaderboard",
            rich_help_panel=given.MEASURING,
        ),
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where to draw: .png, .svg or .pdf.",
            show_default=f"{DEFAULT_FIGURE}; saber-leaderboard.png with --leaderboard",
            rich_help_panel=given.OUTPUT,
        ),
    ] = None,
    no_figure: NoFigure = False,
    json: given.Json = False,
    *,
    cluster: ClusterFlags,
    board: LeaderboardFlags,
) -> None:
    """Compare SABER with fixed batch sizes on the same requests.

    Without options: the study's balanced workload W3 at 10 requests a second on its engine.

    Examples:
      saber compare
      saber compare --workload W1 --rps 5 --policies "static(8),saber"
      saber compare --trace code.csv --sla "unloaded*3" --discipline chunked
      saber compare --goodput ttft:200 tpot:20 --no-figure --json
      saber compare --policies all --workload W1 --rps 8
      saber compare --leaderboard --out leaderboard
    """
    from sim import cli_inputs
    from sim.compare import compare as compare_policies

    refuse_without_effect(board, _typed(context))
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
    if board.leaderboard:
        show_leaderboard(
            board,
            policies=policies,
            profile=profile,
            options=options,
            seeds=seeds,
            first_seed=first_seed,
            jobs=jobs,
            figure=figure,
            no_figure=no_figure,
            json=json,
        )
        return
    picture = figure_file(figure, no_figure, DEFAULT_FIGURE)
    fleet = cli_inputs.fleet_of(profile, replicas, price, options)
    with console.stdout_for_json(json), console.progress("reading"):
        made = cli_inputs.policies_of(lineup(policies or DEFAULT_POLICIES))
        source = cli_inputs.requests_of(
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
            cli_inputs.refuse_idle_seeds(
                {"--seeds": seeds, "--first-seed": first_seed}, made, options
            )
        count = seeds if seeds is not None else 1 if source.fixed else DEFAULT_SEEDS
        drawn = range(first_seed or 0, (first_seed or 0) + count)
        has_goal = cli_inputs.check(source, drawn, fleet, options, allow_refused=allow_refused)
    if figure is not None and not has_goal:
        raise OptionError(
            f"--figure {figure} shows goodput, but no request has an SLA: give one with --sla, or "
            "limits with --goodput"
        )
    total = len(drawn) * len(made)
    with console.stdout_for_json(json), console.progress("simulating", total=total) as on_done:
        comparison = compare_policies(
            source,
            fleet,
            made,
            seeds=drawn,
            jobs=1 if jobs is None else jobs,
            options=options,
            on_done=on_done,
        )
    if picture is not None and has_goal:
        _draw(comparison, picture, cli_inputs.title_of(source, options), options.goodput_ms)
    for warning in comparison.warnings:
        console.note(f"warning: {warning}")
    if json:
        configuration = {
            **source.describe(),
            "sla": sla,
            "profile": profile,
            "replicas": sum(kind.count for kind in fleet),
            **described(options),
        }
        console.show_json(
            {
                "configuration": configuration,
                **comparison.to_dict(),
                "figure": picture if has_goal else None,
            }
        )
        return
    show_comparison(comparison, cli_inputs.title_of(source, options))


def _typed(context: typer.Context) -> list[str]:
    """Return the names of the options that were given on the command line."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return [name for name, at in sources.items() if at is not None and at.name == "COMMANDLINE"]


def _draw(
    comparison: "Comparison", picture: Path, title: str, goodput_ms: Mapping[str, float] | None
) -> None:
    from matplotlib.figure import Figure

    from sim.figures import plot_comparison

    figure = plot_comparison(comparison, title=title, goodput_ms=goodput_ms).figure
    assert isinstance(figure, Figure)
    write_figure(figure, picture)
