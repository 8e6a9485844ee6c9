"""The command line: `saber` parses here, each command stands in its own module."""

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Annotated

import typer

from sim import cli_calibrate, cli_trace, console
from sim.cli_check import check
from sim.cli_compare import compare
from sim.cli_figures import figures
from sim.cli_plan import plan
from sim.cli_report import report
from sim.cli_run import run
from sim.cli_sweep import sweep
from sim.cli_validate import validate

BAD_INPUT = 2
INTERRUPTED = 130
PIPE_CLOSED = 141

app = typer.Typer(
    name="saber",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(compare)
app.command()(run)
app.command()(sweep)
app.command()(plan)
app.command()(check)
app.command()(validate)
app.command()(report)
app.command()(figures)
app.add_typer(cli_trace.app, name="trace")
app.add_typer(cli_calibrate.app, name="calibrate")


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            console.show(f"saber {version('sabersim')}")
        except PackageNotFoundError:
            console.show("saber, run from its source without being installed")
        raise typer.Exit


@app.callback()
def saber(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_show_version),
    ] = False,
) -> None:
    """Replay code-assistant traces against a calibrated LLM serving engine.

    SABER's SLA-aware admission beside fixed batch sizes and other policies.

    Examples:
      saber compare
      saber run --policy "static(32)" --rps 5
      saber trace describe trace.csv
      saber figures --quick
      saber calibrate show paper-qwen2.5-coder-3b

    Exit codes: 0 done, 1 a check failed, 2 bad input, 3 inconclusive.
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; a user's mistake is one line on stderr."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _mend_streams()
    try:
        code = app(join_goodput(arguments) or ["--help"], prog_name="saber", standalone_mode=False)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # rich and typer turn a closed pipe into SystemExit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except Exception as error:
        message = _users_mistake(error)
        if message is None:
            raise
        console.note(f"error: {message}")
        return BAD_INPUT
    return code if isinstance(code, int) else 0


def _mend_streams() -> None:
    """Let output that is closed, or cannot show a character, be no reason to fail."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # open for as long as the process runs
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _users_mistake(error: Exception) -> str | None:
    """Return what to tell the user, or None when the fault is ours."""
    from calibrate.profile import ProfileError
    from policies.protocol import PolicyError
    from sim.options import OptionError
    from traces.request import TraceError

    if isinstance(error, TraceError | ProfileError | PolicyError | OptionError):
        return str(error)
    if isinstance(error, MemoryError):
        detail = f" ({error})" if str(error) else ""
        return f"this needs more memory than there is{detail}: take fewer requests"
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    # Typer's usage errors: a public name for their class came and went between its releases.
    if hasattr(error, "format_message"):
        command = getattr(getattr(error, "ctx", None), "command_path", "saber")
        return f"{str(error.format_message()).rstrip('.')} (see {command} --help)"
    return None


def join_goodput(arguments: Sequence[str]) -> list[str]:
    """Return `arguments` with ``--goodput ttft:200 tpot:20`` joined into one value.

    vLLM's option takes any number of values, which the parser has no word for.
    """
    joined: list[str] = []
    inside = False
    for argument in arguments:
        if inside and not argument.startswith("-"):
            joined[-1] += f"{'=' if joined[-1] == '--goodput' else ','}{argument}"
            continue
        inside = argument == "--goodput"
        joined.append(argument)
    return joined


if __name__ == "__main__":
    sys.exit(main())
