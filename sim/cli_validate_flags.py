"""The flags of `saber validate` that no other command has."""

from pathlib import Path
from typing import Annotated

import typer

from sim import cli_options as given

SERVER = "The server"

Url = Annotated[
    str | None,
    typer.Argument(
        metavar="URL",
        help="Of an OpenAI-compatible API: http://HOST:PORT/v1.",
        show_default=False,
    ),
]
Model = Annotated[
    str | None, typer.Option(metavar="NAME", help="Model to ask for.", rich_help_panel=SERVER)
]
Measured = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="No server: compare with what vllm bench, GuideLLM or inference-perf measured.",
        rich_help_panel=SERVER,
    ),
]
Profile = Annotated[
    str,
    typer.Option(
        metavar="NAME|FILE",
        help="What the simulation takes the server for: see saber calibrate endpoint.",
        rich_help_panel=given.SERVING,
    ),
]
Api = Annotated[str, typer.Option(help="completions or chat.", rich_help_panel=SERVER)]
ApiKeyEnv = Annotated[
    str | None,
    typer.Option(
        metavar="VARIABLE",
        help="Environment variable that holds the server's key.",
        show_default="no key",
        rich_help_panel=SERVER,
    ),
]
MaxRequests = Annotated[
    int,
    typer.Option(
        help="Never send more completions than this.",
        rich_help_panel=SERVER,
        parser=given.whole(1),
        metavar="N",
    ),
]
Timeout = Annotated[
    str,
    typer.Option(metavar="TIME", help="Give a request up after this.", rich_help_panel=SERVER),
]
Duration = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="The first so many minutes of the trace (3m); of a workload, the requests that "
        "its rate brings in this time.",
        show_default="all of it",
        rich_help_panel=given.REQUESTS,
    ),
]
Policies = Annotated[
    str,
    typer.Option(
        help='Comma-separated, such as "static(8), saber"; module:object is a policy of your own.',
        rich_help_panel=given.SERVING,
    ),
]
MaxNumSeqs = Annotated[
    int | None,
    typer.Option(
        help="What the server's engine was started with.",
        show_default="256",
        rich_help_panel=given.SERVING,
        parser=given.whole(1),
        metavar="N",
    ),
]
MaxNumBatchedTokens = Annotated[
    int,
    typer.Option(
        help="What the server's engine was started with.",
        rich_help_panel=given.SERVING,
        parser=given.whole(1),
        metavar="N",
    ),
]
MaxModelLen = Annotated[
    int | None,
    typer.Option(
        help="Longer requests are not sent.",
        show_default="what the server says",
        rich_help_panel=given.SERVING,
        parser=given.whole(1),
        metavar="N",
    ),
]
FeedbackDelayS = Annotated[
    float | None,
    typer.Option(
        parser=given.decimal,
        metavar="X",
        help="In the simulation, from a completion until a policy in front of the server has "
        "acted on it (s).",
        show_default="the client overhead",
        rich_help_panel=given.SERVING,
    ),
]
Repeats = Annotated[
    int,
    typer.Option(
        help="Replays of each policy: each draws the requests of a workload anew.",
        rich_help_panel=given.MEASURING,
        parser=given.whole(1),
        metavar="N",
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        help="Of the first repeat: draws arrivals, prompts and the policies' choices.",
        rich_help_panel=given.MEASURING,
        parser=given.whole(0),
        metavar="N",
    ),
]
Drain = Annotated[
    str,
    typer.Option(
        metavar="TIME",
        help="After the last arrival, wait so long for what is left.",
        rich_help_panel=given.MEASURING,
    ),
]
Tolerance = Annotated[
    str,
    typer.Option(
        metavar="METRIC:X,...",
        help="How far the simulation may be off: percent of medians (e2e.p90:10 is another "
        "part), points of goodput.",
        rich_help_panel=given.MEASURING,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Say what would be sent and simulate it; the server is not contacted.",
        rich_help_panel=given.MEASURING,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Write both sides of every replay for `saber report`, a row per request, and a "
        "document.",
        rich_help_panel=given.OUTPUT,
    ),
]
Figure = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Draw the latencies of both sides: .png, .svg or .pdf.",
        rich_help_panel=given.OUTPUT,
    ),
]
