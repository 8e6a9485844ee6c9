"""`saber calibrate gpu`: measure a model on this machine."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim import console
from sim.cli_options import Json, decimal, whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from calibrate.gpu import Calibration

WHAT = "What is measured"
HOW = "How much, and where to"
ENGINE = "The serving engine around it"


def gpu(
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A known model, such as qwen2.5-coder-7b; tiny and small are for trying it out.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A Hugging Face config.json instead.", rich_help_panel=WHAT
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cuda or cpu.", rich_help_panel=WHAT)] = "cuda",
    dtype: Annotated[
        str | None,
        typer.Option(
            help="bf16, fp16 or fp32.",
            show_default="bf16 on cuda, fp32 on cpu",
            rich_help_panel=WHAT,
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="A coarser grid and fewer repeats.", rich_help_panel=HOW),
    ] = False,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Measure no longer than this: 90s, 8m, 1h.",
            show_default="until the grid is done",
            rich_help_panel=HOW,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The profile to write.",
            show_default="MODEL-DEVICE-DTYPE.json",
            rich_help_panel=HOW,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with the measurements of a run that was interrupted or ran out of budget.",
            rich_help_panel=HOW,
        ),
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(
            parser=whole(1),
            metavar="N",
            help="Of the CPU.",
            show_default="all cores but one; not on cuda",
            rich_help_panel=HOW,
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            parser=whole(0),
            metavar="N",
            help="For weights, inputs and the order of measuring.",
            rich_help_panel=HOW,
        ),
    ] = 0,
    gpu_memory_utilization: Annotated[
        float | None,
        typer.Option(
            parser=decimal,
            metavar="X",
            help="Share of the device's memory that the engine may use.",
            show_default="0.9; not on cpu",
            rich_help_panel=ENGINE,
        ),
    ] = None,
    engine_overhead_s: Annotated[
        float | None,
        typer.Option(
            parser=decimal,
            metavar="X",
            help="Seconds the engine itself adds to a step.",
            show_default="unknown: the profile is kernel-only",
            rich_help_panel=ENGINE,
        ),
    ] = None,
    engine_overhead_request_s: Annotated[
        float | None,
        typer.Option(
            parser=decimal,
            metavar="X",
            help="And for each request in the step.",
            show_default="0",
            rich_help_panel=ENGINE,
        ),
    ] = None,
    engine_overhead_source: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Where these come from.", rich_help_panel=ENGINE),
    ] = None,
    json: Json = False,
) -> None:
    """Time a model's steps on this machine's GPU or CPU and write a profile.

    Decode, prefill, chunks of prompts and mixed steps of a transformer with the model's shapes and
    random weights, in PyTorch.  Measurements are kept as they are made: after an interruption, go
    on with --resume.  `python -m calibrate` does the same with torch, numpy and scipy alone.

    Examples:
      saber calibrate gpu --model qwen2.5-coder-7b --budget 8m --out h100-7b.json
      saber calibrate gpu --model tiny --device cpu --quick
      saber calibrate gpu --config config.json --dtype fp16 --resume --out mine.json
    """
    from calibrate.gpu import calibrate_gpu
    from calibrate.gpu_options import GpuOptions, seconds_of

    options = GpuOptions(
        model=model,
        config=config,
        device=device,
        dtype=dtype,
        quick=quick,
        budget_s=None if budget is None else seconds_of(budget),
        out=out,
        resume=resume,
        gpu_memory_utilization=gpu_memory_utilization,
        engine_overhead_s=engine_overhead_s,
        engine_overhead_request_s=engine_overhead_request_s,
        engine_overhead_source=engine_overhead_source,
        threads=threads,
        seed=seed,
    )
    with ExitStack() as stack, console.stdout_for_json(json):
        try:
            found = calibrate_gpu(options, Bar(stack, "Timing steps"))
        except KeyboardInterrupt:
            console.note("interrupted: what was measured is kept, go on with --resume")
            raise
    if json:
        console.show_json(_document(found))
    else:
        _show(found)


class Bar:
    """A reporter on the terminal: lines, and a bar of what is done."""

    def __init__(self, stack: ExitStack, label: str) -> None:
        self._stack = stack
        self._label = label
        self._update: Callable[[int], None] | None = None

    def say(self, line: str) -> None:
        """Print the line on stderr."""
        console.note(line)

    def progress(self, done: int, total: int) -> None:
        """Move the bar, which is there from the first call on."""
        if self._update is None:
            self._update = self._stack.enter_context(console.progress(self._label, total))
        self._update(done)


def _document(found: "Calibration") -> dict[str, Any]:
    from calibrate.describe import describe_profile

    return {
        "path": str(found.path),
        "complete": found.complete,
        "profile": describe_profile(found.profile),
    }


def _show(found: "Calibration") -> None:
    profile = found.profile
    console.show(f"{profile.name}: {profile.provenance['grid']}")
    console.show_table(
        "Error of the fit [%]",
        ["steps", "mean, held out", "95th percentile", "largest", "mean, all rows"],
        [
            [
                region,
                *(console.number(getattr(error, key)) for key in ("mape", "p95", "max")),
                console.number(profile.fit["in_sample"][region].mape),
            ]
            for region, error in profile.fit["held_out"].items()
        ],
    )
    console.show(f"KV cache: {profile.kv_tokens:,} tokens ({profile.kv_source})")
    console.show(*(f"Caveat: {caveat}" for caveat in profile.caveats))
    console.show(f"The profile is {found.path}. Next: saber calibrate show {found.path}")
    if not found.complete:
        console.show(f"The budget ended first: --resume goes on from {found.partial}")
