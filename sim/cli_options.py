"""The options that several commands share: one definition, one wording, one meaning.

Options that apply only in some modes default to None, so that a command can tell a value that was
given from one that was not: an option without effect is an error, never ignored.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from sim.options import Discipline, OptionError, RunOptions

DEFAULT_PROFILE = "paper-qwen2.5-coder-3b"


def whole(least: int) -> Callable[[str], int]:
    """Return a parser of whole numbers whose error names the text and what was expected."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise typer.BadParameter(f"{text!r}: expected a whole number of at least {least}")
        return number

    return parse


def decimal(text: str) -> float:
    """Return a number; the error names the text.  Ranges are checked where they matter."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r}: expected a number") from None


ARRIVALS_HELP = (
    'Arrival process: poisson, uniform, "gamma(cv=3)", "mmpp(ratio=8)", "diurnal(amplitude=0.5)".'
)

REQUESTS = "Requests: a trace file, or a workload"
SERVING = "Engines and policies"
MEASURING = "Measuring"
RUNNING = "Running"
OUTPUT = "Output"

TraceFile = Annotated[
    Path | None,
    typer.Option(
        "--trace", metavar="FILE", help="Trace in any known format.", rich_help_panel=REQUESTS
    ),
]
Workload = Annotated[
    str | None,
    typer.Option(
        help="Named workload, such as W1, W2 or W3.", show_default="W3", rich_help_panel=REQUESTS
    ),
]
Rps = Annotated[
    float | None,
    typer.Option(
        parser=decimal,
        metavar="X",
        help="Mean requests a second, for workloads and files without arrival times.",
        show_default="10",
        rich_help_panel=REQUESTS,
    ),
]
N = Annotated[
    int | None,
    typer.Option(
        help="Number of requests of the workload.",
        show_default="100",
        rich_help_panel=REQUESTS,
        parser=whole(1),
        metavar="N",
    ),
]
Arrivals = Annotated[
    str | None,
    typer.Option(
        help=ARRIVALS_HELP,
        show_default="poisson",
        rich_help_panel=REQUESTS,
    ),
]
Sla = Annotated[
    str | None,
    typer.Option(
        help='Seconds ("12"), an expression ("unloaded*3", "0.5+0.05*output") or by task '
        '("code_qna=1,code_generation=8").',
        show_default="the trace's own",
        rich_help_panel=REQUESTS,
    ),
]
RateScale = Annotated[
    float | None,
    typer.Option(
        parser=decimal,
        metavar="X",
        help="Let the trace arrive this many times as fast.",
        show_default="1",
        rich_help_panel=REQUESTS,
    ),
]
SkipBad = Annotated[
    bool,
    typer.Option(
        "--skip-bad",
        help="Drop and count the rows of a trace file that cannot be read.",
        rich_help_panel=REQUESTS,
    ),
]
ProfileName = Annotated[
    str,
    typer.Option(
        "--profile",
        metavar="NAME|FILE",
        help="What a step costs on some hardware: a bundled profile or a JSON file; several kinds "
        'of replica with their counts and prices: "A*2@2.50, B*4@0.80".',
        rich_help_panel=SERVING,
    ),
]
Replicas = Annotated[
    int | None,
    typer.Option(
        help="Engines side by side.",
        show_default="1",
        rich_help_panel=SERVING,
        parser=whole(1),
        metavar="N",
    ),
]
Price = Annotated[
    str | None,
    typer.Option(
        metavar="X,...",
        help="What a replica of each profile costs an hour, in any currency.",
        show_default=False,
        rich_help_panel=SERVING,
    ),
]
MaxNumSeqs = Annotated[
    int | None,
    typer.Option(
        help="Largest batch of the engine, for policies that do not set it.",
        show_default="256",
        rich_help_panel=SERVING,
        parser=whole(1),
        metavar="N",
    ),
]
MaxNumBatchedTokens = Annotated[
    int,
    typer.Option(
        help="Token budget of a step.", rich_help_panel=SERVING, parser=whole(1), metavar="N"
    ),
]
MaxModelLen = Annotated[
    int | None,
    typer.Option(
        help="Refuse requests with more prompt and output tokens than this.",
        show_default="no limit",
        rich_help_panel=SERVING,
        parser=whole(1),
        metavar="N",
    ),
]
BlockSize = Annotated[
    int,
    typer.Option(
        help="Tokens of a KV block.", rich_help_panel=SERVING, parser=whole(1), metavar="N"
    ),
]
KvTokens = Annotated[
    int | None,
    typer.Option(
        help="Tokens the KV cache holds.",
        show_default="the profile's",
        rich_help_panel=SERVING,
        parser=whole(1),
        metavar="N",
    ),
]
GpuMemoryUtilization = Annotated[
    float | None,
    typer.Option(
        parser=decimal,
        metavar="X",
        help="KV capacity from this share of the device's memory, in place of --kv-tokens.",
        show_default="the profile's",
        rich_help_panel=SERVING,
    ),
]
DisciplineName = Annotated[
    str | None,
    typer.Option(
        "--discipline",
        help="prefill-first (vLLM V0, Orca) or chunked (vLLM V1, Sarathi).",
        show_default="the profile's",
        rich_help_panel=SERVING,
    ),
]
AllowRefused = Annotated[
    bool,
    typer.Option(
        "--allow-refused",
        help="Count requests that can never fit the KV cache as refused instead of stopping.",
        rich_help_panel=SERVING,
    ),
]
Goodput = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY:MS...",
        help="Limits that replace the SLAs, as in vLLM: ttft:200 tpot:20 e2el:1000 (ms).",
        rich_help_panel=MEASURING,
    ),
]
ClientOverheadS = Annotated[
    float | None,
    typer.Option(
        parser=decimal,
        metavar="X",
        help="Round trip added to TTFT and E2E (s).",
        show_default="the profile's",
        rich_help_panel=MEASURING,
    ),
]
FeedbackDelayS = Annotated[
    float,
    typer.Option(
        parser=decimal,
        metavar="X",
        help="From a completion until a policy in front of the server has acted on it (s).",
        rich_help_panel=SERVING,
    ),
]
UntilS = Annotated[
    float | None,
    typer.Option(
        parser=decimal,
        metavar="X",
        help="Stop the clock here (s of the trace).",
        show_default="the last finish",
        rich_help_panel=MEASURING,
    ),
]
WarmupS = Annotated[
    float,
    typer.Option(
        parser=decimal,
        metavar="X",
        help="Leave requests that arrive earlier out of the summary (s of the trace).",
        rich_help_panel=MEASURING,
    ),
]
JitterCv = Annotated[
    float,
    typer.Option(
        parser=decimal,
        metavar="X",
        help="Coefficient of variation of random step times; 0 is none.",
        rich_help_panel=MEASURING,
    ),
]
Jobs = Annotated[
    int,
    typer.Option(
        help="Worker processes, -1 for one a core; results do not depend on it.",
        rich_help_panel=RUNNING,
    ),
]
Backend = Annotated[
    str,
    typer.Option(
        help="loky (processes of this machine), dask or ray; results do not depend on it.",
        rich_help_panel=RUNNING,
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Of a Dask or Ray cluster that is there already, such as tcp://host:8786.",
        show_default="a cluster of --jobs processes on this machine",
        rich_help_panel=RUNNING,
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json", help="Print one JSON document instead of tables.", rich_help_panel=OUTPUT
    ),
]


def run_options(*, discipline: str | None, goodput: list[str] | None, **others: Any) -> RunOptions:
    """Return the options of a run from the command line's words.

    Raises
    ------
    OptionError
        In one line that names the option, the value and what was expected.
    """
    return RunOptions(
        discipline=cast("Discipline | None", discipline),  # RunOptions rejects any other text
        goodput_ms=goodput_limits(goodput),
        **others,
    )


def goodput_limits(values: list[str] | None) -> dict[str, float] | None:
    """Return ``{"ttft": 200.0}`` for ``ttft:200``; several may share a text.

    Raises
    ------
    OptionError
        For a text that is not ``key:milliseconds``, or a key given twice.
    """
    if not values:
        return None
    limits: dict[str, float] = {}
    for word in " ".join(values).replace(",", " ").split():
        key, _, limit = word.partition(":")
        try:
            value = float(limit)
        except ValueError:
            raise OptionError(
                f"--goodput {word!r}: expected KEY:MILLISECONDS, such as ttft:200"
            ) from None
        if key in limits:
            raise OptionError(f"--goodput gives {key!r} twice: expected each key once")
        limits[key] = value
    return limits
