"""`saber validate`: a running server beside its simulation, under the same policies."""

from dataclasses import replace

import typer

from sim import cli_options as given
from sim import cli_validate_flags as flags
from sim import console
from sim.cli_figure import figure_file, write_figure
from sim.described import described
from sim.options import OptionError, RunOptions

INTERRUPTED = 130
DEFAULT_MAX_REQUESTS = 2000


def validate(
    ctx: typer.Context,
    profile: flags.Profile,
    url: flags.Url = None,
    model: flags.Model = None,
    measured: flags.Measured = None,
    api: flags.Api = "completions",
    api_key_env: flags.ApiKeyEnv = None,
    max_requests: flags.MaxRequests = DEFAULT_MAX_REQUESTS,
    timeout: flags.Timeout = "10m",
    trace: given.TraceFile = None,
    workload: given.Workload = None,
    rps: given.Rps = None,
    n: given.N = None,
    duration: flags.Duration = None,
    arrivals: given.Arrivals = None,
    sla: given.Sla = None,
    rate_scale: given.RateScale = None,
    skip_bad: given.SkipBad = False,
    policies: flags.Policies = "saber",
    max_num_seqs: flags.MaxNumSeqs = None,
    max_num_batched_tokens: flags.MaxNumBatchedTokens = RunOptions.max_num_batched_tokens,
    max_model_len: flags.MaxModelLen = None,
    discipline: given.DisciplineName = None,
    kv_tokens: given.KvTokens = None,
    client_overhead_s: given.ClientOverheadS = None,
    feedback_delay_s: flags.FeedbackDelayS = None,
    repeats: flags.Repeats = 1,
    seed: flags.Seed = 0,
    drain: flags.Drain = "60s",
    goodput: given.Goodput = None,
    tolerance: flags.Tolerance = "e2e:5,tpot:5,ttft:10,goodput:5",
    dry_run: flags.DryRun = False,
    out: flags.Out = None,
    figure: flags.Figure = None,
    json: given.Json = False,
) -> None:
    """Put policies in front of a running server and say how far their simulation is off.

    Replays requests in real time through the very policies that the simulator runs, then simulates
    the same arrivals. A fixed batch size is held in front of the server, whose own stays as it is.

    Examples:
      saber validate URL --model M --profile my.json --rps 4 --duration 3m
      saber validate URL --model M --profile my.json --policies "static(8),saber"
      saber validate URL --model M --profile my.json --trace day.csv --out day
      saber validate URL --model M --profile my.json --repeats 5 --figure cdf.png
      saber validate URL --model M --profile my.json --dry-run
      saber validate --measured result.json --profile my.json --max-num-seqs 128

    Exit codes: 0 no number is outside of its limit, 1 one is, or nothing was served, 2 bad input,
    3 nothing could be told, 130 interrupted: what there is by then is compared all the same.
    """
    from calibrate.endpoint.client import Endpoint, key_from
    from calibrate.gpu_options import seconds_of
    from policies.catalog import split_policies
    from sim import cli_inputs
    from sim import cli_validate_show as show
    from sim.validate import session
    from sim.validate.asks import latest_s
    from sim.validate.caveats import caveats_of_machine, caveats_of_server, load_average
    from sim.validate.document import server_dict
    from sim.validate.figure import plot_validation
    from sim.validate.files import DOCUMENT, write_all
    from sim.validate.live import in_turn, look, replay_all
    from sim.validate.replay import Setting, simulated
    from sim.validate.verdict import parse_tolerance

    options = given.run_options(
        discipline=discipline,
        goodput=goodput,
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=max_num_batched_tokens,
        max_model_len=max_model_len,
        kv_tokens=kv_tokens,
        client_overhead_s=client_overhead_s,
    )
    if measured is not None:
        from sim.cli_validate_imported import refuse_idle, validate_imported

        refuse_idle(ctx, measured)
        validate_imported(
            measured,
            profile=profile,
            options=options,
            sla=sla,
            seed=seed,
            tolerance=tolerance,
            out=out,
            figure=figure,
            json=json,
        )
        return
    if url is None or model is None:
        missing = "URL" if url is None else "--model"
        raise OptionError(f"{missing} is missing: expected URL and --model, or --measured FILE")
    limits = parse_tolerance(tolerance)
    duration_each_s = None if duration is None else seconds_of(duration, "--duration")
    drain_s, timeout_s = seconds_of(drain, "--drain"), seconds_of(timeout, "--timeout")
    endpoint = Endpoint(url, model, api=api, key="" if dry_run else key_from(api_key_env))
    for path, flag in ((out, "--out"), (figure, "--figure")):
        if dry_run and path is not None:
            raise OptionError(f"{flag} {path} has no effect with --dry-run, which measures nothing")
    picture = None if figure is None else figure_file(figure, False, figure)
    if out is not None:
        console.writable(out / DOCUMENT)
    with console.stdout_for_json(json), console.progress("reading"):
        found = cli_inputs.profile_of(profile, options)
        if feedback_delay_s is None:
            known_s = options.client_overhead_s
            feedback_delay_s = found.client_overhead_s if known_s is None else known_s
        options = replace(options, feedback_delay_s=feedback_delay_s)
        texts = split_policies(policies)
        chosen = session.in_front_of(cli_inputs.policies_of(texts), options)
        source = cli_inputs.requests_of(
            trace=trace,
            workload=workload,
            rps=rps,
            n=_requests_in(duration_each_s, rps, n) if trace is None else n,
            arrivals=arrivals,
            sla=sla,
            skip_bad=skip_bad,
            profile=found,
            options=options,
            rate_scale=rate_scale,
        )
        length_s = None if trace is None else duration_each_s
        seeds = range(seed, seed + repeats)
        traces = [session.part_of(source(each), length_s) for each in seeds]
    jobs = in_turn(chosen, traces, seeds)
    configuration = {
        **source.describe(),
        "url": url,
        "model": model,
        "duration_s": duration_each_s,
        "drain_s": drain_s,
        "timeout_s": timeout_s,
        "sla": sla,
        "profile": profile,
        "policies": texts,
        "repeats": repeats,
        "seed": seed,
        "tolerance": {limit.name: limit.most for limit in limits},
    }
    sending = session.sending_of(jobs, drain_s, max_model_len)
    console.note(f"{'would send' if dry_run else 'at most'} {sending}")
    session.refuse_too_many(sending, max_requests)
    if dry_run:
        results = [
            simulated(
                job.trace,
                job.policy,
                Setting(found, options),
                job.seed,
                latest_s(job.trace, drain_s),
            )
            for job in jobs
        ]
        show.show_dry_run(results, {**configuration, **described(options)}, sending, json=json)
        return
    load = load_average()
    server = look(endpoint, seed)
    sending = session.sending_of(jobs, drain_s, max_model_len or server.max_model_len)
    session.refuse_too_many(sending, max_requests, server.requests)
    setting = Setting(found, session.as_the_server(options, server))
    with (
        console.stdout_for_json(json),
        console.progress("replaying", total=sum(len(job.trace) for job in jobs)) as on_done,
    ):
        done, interrupted = replay_all(
            jobs,
            setting,
            server,
            drain_s=drain_s,
            timeout_s=timeout_s,
            max_model_len=setting.options.max_model_len,
            on_done=on_done,
        )
    with console.stdout_for_json(json), console.progress("simulating"):
        validated = session.validated_of(done, texts, setting, limits, seed)
    outcome = session.outcome_of(validated)
    warnings = session.warnings_of(
        validated,
        [*caveats_of_machine(url, load), *caveats_of_server(found, options, server)],
    )
    document = session.document_of(
        {**configuration, **described(setting.options)},
        server_dict(server),
        validated,
        warnings,
        outcome=outcome,
        interrupted=interrupted,
    )
    if out is not None and validated:
        for path in write_all(out, validated, document, configuration):
            console.note(f"written: {path}")
    if picture is not None and validated:
        write_figure(plot_validation(validated, f"{source.title}, on {model}"), picture)
    for warning in warnings:
        console.note(f"warning: {warning}")
    if json:
        console.show_json(document)
    else:
        show.show_validated(validated, source.title, limits)
    if interrupted:
        console.note("interrupted: this is what there was by then")
        raise typer.Exit(INTERRUPTED)
    if session.EXIT_CODES[outcome]:
        raise typer.Exit(session.EXIT_CODES[outcome])


def _requests_in(duration_each_s: float | None, rps: float | None, n: int | None) -> int | None:
    """Return how many requests of a workload to draw."""
    if duration_each_s is None:
        return n
    if n is not None:
        raise OptionError(f"--n {n} and --duration both say how long it takes: give one of them")
    from sim.cli_inputs import DEFAULT_RPS

    return max(1, round((DEFAULT_RPS if rps is None else rps) * duration_each_s))
