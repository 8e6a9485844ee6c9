"""`saber validate --measured`: what another tool measured beside its simulation."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sim import console
from sim.cli_figure import figure_file, write_figure
from sim.described import described
from sim.options import DEFAULT_MAX_NUM_SEQS, OptionError, RunOptions

if TYPE_CHECKING:
    from calibrate.imported.result import Imported
    from calibrate.profile import Profile

TAKEN = (
    "measured", "profile", "sla", "goodput", "max_num_seqs", "max_num_batched_tokens",
    "discipline", "kv_tokens", "client_overhead_s", "seed", "tolerance", "out", "figure", "json",
)  # fmt: skip


def refuse_idle(ctx: typer.Context, measured: Path) -> None:
    """Raise OptionError for the first option given that has no effect on a file."""
    for parameter in ctx.command.params:
        name = parameter.name or ""
        source = ctx.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE" and name not in TAKEN:
            shown = parameter.opts[0] if parameter.param_type_name == "option" else "URL"
            raise OptionError(
                f"{shown} has no effect with --measured {measured}: its requests were sent already"
            )


def validate_imported(
    measured: Path,
    *,
    profile: str,
    options: RunOptions,
    sla: str | None,
    seed: int,
    tolerance: str,
    out: Path | None,
    figure: Path | None,
    json: bool,
) -> None:
    """Simulate what a result file has, and say how far the simulation is off.

    Ends with the exit codes of `saber validate`.

    Raises
    ------
    OptionError, ProfileError
        For what cannot be used, in one line.
    """
    from calibrate.imported.read import read_results
    from sim import cli_inputs
    from sim import cli_validate_show as show
    from sim.feasible import Unloaded
    from sim.validate import session
    from sim.validate.figure import plot_validation
    from sim.validate.files import DOCUMENT, write_all
    from sim.validate.imported import done_of
    from sim.validate.replay import Setting
    from sim.validate.verdict import parse_tolerance

    limits = parse_tolerance(tolerance)
    picture = None if figure is None else figure_file(figure, False, figure)
    if out is not None:
        console.writable(out / DOCUMENT)
    with console.progress("reading"):
        found = cli_inputs.profile_of(profile, options)
        runs = read_results(measured)
        # The engine's seats are its policy here: everything was sent straight to it.
        seats = options.max_num_seqs
        options = replace(options, max_num_seqs=None)
        done = [done_of(run, seats, seed, place) for place, run in enumerate(runs)]
        if sla is not None:
            wanted, engine = cli_inputs.sla_of(sla), Unloaded(found, options)
            done = [
                replace(
                    each,
                    job=replace(each.job, trace=each.job.trace.with_sla(wanted, profile=engine)),
                )
                for each in done
            ]
    texts = [run.source for run in runs]
    with console.progress("simulating"):
        validated = session.validated_of(done, texts, Setting(found, options), limits, seed)
    if len(runs) > 1:
        validated = [replace(each, policy=f"{each.policy}: {each.text}") for each in validated]
    outcome = session.outcome_of(validated)
    warnings = session.warnings_of(validated, _warnings(runs, found, seats))
    configuration: dict[str, Any] = {
        "measured": str(measured),
        "tool": runs[0].tool,
        "model": runs[0].model,
        "sla": sla,
        "profile": profile,
        "seed": seed,
        "tolerance": {limit.name: limit.most for limit in limits},
    }
    document = session.document_of(
        {**configuration, **described(options)},
        {},
        validated,
        warnings,
        outcome=outcome,
        interrupted=False,
    )
    title = f"{measured.name} of {runs[0].tool}"
    if out is not None:
        for path in write_all(out, validated, document, configuration):
            console.note(f"written: {path}")
    if picture is not None:
        write_figure(plot_validation(validated, title), picture)
    for warning in warnings:
        console.note(f"warning: {warning}")
    if json:
        console.show_json(document)
    else:
        show.show_validated(validated, title, limits)
    if session.EXIT_CODES[outcome]:
        raise typer.Exit(session.EXIT_CODES[outcome])


def _warnings(runs: "tuple[Imported, ...]", profile: "Profile", seats: int | None) -> list[str]:
    found = [f"{run.source}: {note}" for run in runs for note in run.notes]
    made_of = {entry.get("source") for entry in profile.provenance.get("files", ())}
    for run in runs:
        if run.source in made_of:
            found.append(
                f"the profile was made of {run.source} itself: this says how well it fits, not "
                "whether it is right"
            )
    if seats is None:
        found.append(
            f"the simulated engine runs at most {DEFAULT_MAX_NUM_SEQS} requests at a time: give "
            "--max-num-seqs if the server was started with another limit"
        )
    return found
