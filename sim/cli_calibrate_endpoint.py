"""`saber calibrate endpoint`: measure a running server from outside."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim import console
from sim.cli_calibrate_gpu import Bar
from sim.cli_options import Json, whole
from sim.options import OptionError

if TYPE_CHECKING:
    from calibrate.gpu import Calibration

SERVER = "The server"
HOW = "How much, and where to"
KNOWN = "What is known of the server; found out otherwise"
DEFAULT_BUDGET = "10m"


def endpoint(
    url: Annotated[
        str,
        typer.Argument(metavar="URL", help="Its base address, such as http://host:8000/v1."),
    ],
    model: Annotated[
        str,
        typer.Option(metavar="NAME", help="A model that it serves.", rich_help_panel=SERVER),
    ],
    api: Annotated[
        str, typer.Option(help="completions or chat.", rich_help_panel=SERVER)
    ] = "completions",
    api_key_env: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The environment variable that holds its API key; never shown or stored.",
            show_default="no key",
            rich_help_panel=SERVER,
        ),
    ] = None,
    max_requests: Annotated[
        int,
        typer.Option(
            parser=whole(1),
            metavar="N",
            help="Send no more requests for tokens than this.",
            rich_help_panel=HOW,
        ),
    ] = 1000,
    budget: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="Send nothing after this: 90s, 10m, 1h.", rich_help_panel=HOW
        ),
    ] = DEFAULT_BUDGET,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The profile to write.",
            show_default="MODEL-endpoint.json",
            rich_help_panel=HOW,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with what a run that ended early has kept.",
            rich_help_panel=HOW,
        ),
    ] = False,
    levels: Annotated[
        str | None,
        typer.Option(
            metavar="L,L,...",
            help="How many requests run together.",
            show_default="1,2,4,... up to 64 or what the server runs",
            rich_help_panel=HOW,
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            parser=whole(0),
            metavar="N",
            help="For the prompts and the intervals.",
            rich_help_panel=HOW,
        ),
    ] = 0,
    discipline: Annotated[
        str | None,
        typer.Option(help="chunked or prefill-first.", rich_help_panel=KNOWN),
    ] = None,
    max_num_seqs: Annotated[
        int | None,
        typer.Option(
            parser=whole(1),
            metavar="N",
            help="Requests that it runs together at most.",
            rich_help_panel=KNOWN,
        ),
    ] = None,
    max_num_batched_tokens: Annotated[
        int | None,
        typer.Option(
            parser=whole(1),
            metavar="N",
            help="Tokens that a step of it holds at most.",
            rich_help_panel=KNOWN,
        ),
    ] = None,
    kv_tokens: Annotated[
        int | None,
        typer.Option(
            parser=whole(1),
            metavar="N",
            help="Tokens that its KV cache holds.",
            rich_help_panel=KNOWN,
        ),
    ] = None,
    device_name: Annotated[
        str, typer.Option(metavar="NAME", help="What it runs on.", rich_help_panel=KNOWN)
    ] = "unknown",
    json: Json = False,
) -> None:
    """Measure a running OpenAI-compatible server through its streams and write a profile.

    Prompts alone and among running streams, and rising levels of clients: the gaps between tokens
    give what its steps take, and the speeds of the levels SABER's estimator.  Prompts are random
    and unique, so that no prefix cache hides them.  Nobody else should use the server meanwhile.
    It says how much it sends before it starts; what came of it is kept: go on with --resume.

    Examples:
      saber calibrate endpoint http://localhost:8000/v1 --model qwen2.5-coder-7b
      saber calibrate endpoint http://host:8000/v1 --model M --max-requests 300 --budget 3m
      saber calibrate endpoint https://host/v1 --model M --api chat --api-key-env MY_KEY
      saber calibrate endpoint http://host:8000/v1 --model M --levels 1,2,4,8,16 --out mine.json
    """
    from calibrate.endpoint.client import key_from
    from calibrate.endpoint.measuring import calibrate_endpoint
    from calibrate.endpoint.options import EndpointOptions
    from calibrate.gpu_options import seconds_of

    options = EndpointOptions(
        url=url,
        model=model,
        api=api,
        key=key_from(api_key_env),
        max_requests=max_requests,
        budget_s=seconds_of(budget),
        out=out,
        resume=resume,
        discipline=discipline,
        levels=None if levels is None else _levels(levels),
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=max_num_batched_tokens,
        kv_tokens=kv_tokens,
        device_name=device_name,
        seed=seed,
    )
    with ExitStack() as stack, console.stdout_for_json(json):
        try:
            found = calibrate_endpoint(options, Bar(stack, "Sending requests"))
        except KeyboardInterrupt:
            console.note("interrupted: what was measured is kept, go on with --resume")
            raise
    if json:
        console.show_json(_document(found))
    else:
        _show(found)


def _levels(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise OptionError(f"--levels {text!r}: expected whole numbers such as 1,2,4,8") from None


def _document(found: "Calibration") -> dict[str, Any]:
    from calibrate.describe import describe_profile

    return {
        "path": str(found.path),
        "complete": found.complete,
        "profile": describe_profile(found.profile),
    }


def _show(found: "Calibration") -> None:
    profile = found.profile
    provenance = profile.provenance
    ended = ", ".join(f"{n:,} {status}" for status, n in provenance["statuses"].items())
    console.show(f"{profile.name}: {provenance['requests']:,} requests sent ({ended})")
    console.show_table(
        "Error of the fit [%]",
        ["steps", "mean, held out", "95th percentile", "largest", "mean, all rows"],
        [
            [
                region,
                *_held_out(profile.fit["held_out"].get(region)),
                console.number(error.mape),
            ]
            for region, error in profile.fit["in_sample"].items()
        ],
    )
    together = provenance["max_num_seqs"] or "more than were sent"
    console.show(
        f"Discipline: {profile.discipline} ({profile.sources['discipline']})",
        f"Tokens of a step: {provenance['max_num_batched_tokens'] or 'unknown'} "
        f"({profile.sources['provenance.max_num_batched_tokens']})",
        f"Requests together: {together}",
        f"KV cache: {profile.kv_tokens:,} tokens ({profile.kv_source})",
        f"Client overhead: {console.number(profile.client_overhead_s * 1e3)} ms a request",
    )
    console.show(*(f"Left out: {line}" for line in provenance["left_out"]))
    console.show(*(f"Warning: {line}" for line in provenance["warnings"]))
    console.show(*(f"Caveat: {caveat}" for caveat in profile.caveats))
    settings = {
        "--max-num-seqs": provenance["max_num_seqs"],
        "--max-num-batched-tokens": provenance["max_num_batched_tokens"],
    }
    same = "".join(f" {name} {value}" for name, value in settings.items() if value)
    console.show(
        f"The profile is {found.path}. Next: saber calibrate show {found.path}",
        f"To simulate this server: saber run --profile {found.path}{same}",
    )
    if not found.complete:
        console.show(f"Not all was sent: --resume goes on from {found.partial}")


def _held_out(error: Any) -> list[str]:
    return [console.number(getattr(error, key, None)) for key in ("mape", "p95", "max")]
