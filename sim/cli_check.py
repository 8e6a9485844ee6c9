"""`saber check`: whether a change of policies or simulator made anything worse."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sim import cli_options as given
from sim import console
from sim.options import OptionError

if TYPE_CHECKING:
    from sim.check.asked import Asked

COMPARING = "What is compared"


def check(
    suite: Annotated[
        Path | None, typer.Argument(metavar="SUITE", help="A TOML file; see --example.")
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What earlier runs gave.",
            show_default="SUITE's name with .baseline.json",
            rich_help_panel=COMPARING,
        ),
    ] = None,
    update_baseline: Annotated[
        bool,
        typer.Option(
            "--update-baseline",
            help="Measure, write the baseline, say what changed; nothing is judged.",
            rich_help_panel=COMPARING,
        ),
    ] = False,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="git:REV",
            help="Compare with another version of the code in place of a baseline.",
            show_default=False,
            rich_help_panel=COMPARING,
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCENARIO",
            help="Leave out all other scenarios; may be given several times.",
            show_default=False,
            rich_help_panel=COMPARING,
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Seeds of the first look; with --update-baseline, all seeds.",
            show_default="the suite's",
            parser=given.whole(1),
            rich_help_panel=given.RUNNING,
        ),
    ] = None,
    max_seeds: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Add seeds up to so many while a guard is undecided.",
            show_default="the suite's",
            parser=given.whole(1),
            rich_help_panel=given.RUNNING,
        ),
    ] = None,
    jobs: given.Jobs = -1,
    backend: given.Backend = "loky",
    address: given.Address = None,
    junit: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write a JUnit XML report too.", rich_help_panel=given.OUTPUT
        ),
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a comment for a pull request too.",
            rich_help_panel=given.OUTPUT,
        ),
    ] = None,
    example: Annotated[
        bool,
        typer.Option(
            "--example",
            help="Print a suite that explains itself.",
            rich_help_panel=given.OUTPUT,
        ),
    ] = False,
    json: given.Json = False,
) -> None:
    """Check that policies and simulator are no worse than they were, or than each other.

    A suite names scenarios and what must not get worse in them. Each guard is judged on the
    differences seed by seed: it passes or fails when their interval lies wholly within or beyond
    what is allowed; seeds are added while it does not tell.

    Examples:
      saber check --example > suite.toml
      saber check suite.toml --update-baseline
      saber check suite.toml --junit check.xml --markdown comment.md
      saber check suite.toml --against git:main --max-seeds 200

    Exit codes: 0 no regression, 1 a regression, 2 bad input, a changed suite, or every scenario
    skipped, 3 inconclusive.
    """
    if example:
        from importlib.resources import files

        console.show(files("sim.check").joinpath("example.toml").read_text("utf-8").rstrip("\n"))
        return
    if suite is None:
        raise OptionError("SUITE is missing: expected a TOML file, such as --example prints")
    from sim import cli_inputs
    from sim.check.asked import Asked

    asked = Asked(
        suite=suite,
        baseline=baseline,
        against=against,
        only=tuple(only or ()),
        seeds=seeds,
        max_seeds=max_seeds,
        jobs=jobs,
        backend=backend,
        address=address,
    )
    cli_inputs.look_here()
    if update_baseline:
        _update(asked, junit, markdown, json)
    else:
        _check(asked, junit, markdown, json)


def _update(asked: "Asked", junit: Path | None, markdown: Path | None, json: bool) -> None:
    from sim import cli_check_show as shown
    from sim.check.checking import update

    ineffective = {
        "--against": asked.against,
        "--max-seeds": asked.max_seeds,
        "--junit": junit,
        "--markdown": markdown,
    }
    for flag, value in ineffective.items():
        if value is not None:
            raise OptionError(f"{flag} {value} has no effect with --update-baseline: leave it out")
    with console.stdout_for_json(json):
        done = update(asked, console.progress)
    if json:
        console.show_json(
            {
                "baseline": done.path,
                "written": done.written,
                "changes": done.changes,
                "kept": done.kept,
            }
        )
    else:
        shown.show_update(done.path, done.changes, done.kept, done.written)


def _check(asked: "Asked", junit: Path | None, markdown: Path | None, json: bool) -> None:
    from sim import cli_check_show as shown
    from sim.check.checking import ScenariosChanged, check
    from sim.check.files import write_whole
    from sim.check.junit import junit as junit_text
    from sim.check.markdown import markdown as markdown_text

    read = {"SUITE": asked.suite, "baseline": asked.baseline_path, "--junit": junit}
    for flag, path in (("--junit", junit), ("--markdown", markdown)):
        if path is not None:
            for name, other in read.items():
                if other is not None and name != flag and path.resolve() == other.resolve():
                    raise OptionError(f"{flag} {path} is the {name} too: expected another name")
            console.writable(path)
    try:
        with console.stdout_for_json(json):
            report = check(asked, console.progress)
    except ScenariosChanged as changed:
        for name, what in changed.scenarios.items():
            console.note(f"{name}: {what}")
        raise
    if junit is not None:
        write_whole(junit, junit_text(report))
    if markdown is not None:
        write_whole(markdown, markdown_text(report))
    if json:
        console.show_json(report.to_dict())
    else:
        shown.show_report(report)
    for name, why in report.skipped.items() if json else ():
        console.note(f"skipped: {name}: {why}")
    if report.exit_code:
        raise typer.Exit(report.exit_code)
