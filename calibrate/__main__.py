"""`python -m calibrate`: measure without the rest of the package; needs torch, numpy, scipy."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from calibrate.gpu import calibrate_gpu
from calibrate.gpu_options import DEVICES, GpuOptions, seconds_of
from calibrate.schema import ProfileError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from calibrate.gpu import Calibration

EVERY_S = 5.0
PIPE_CLOSED = 141


class Lines:
    """A reporter that writes lines to stderr: it works everywhere, logs included."""

    def __init__(self) -> None:
        self._next_s = 0.0

    def say(self, line: str) -> None:
        """Write the line."""
        print(f"calibrate: {line}", file=sys.stderr, flush=True)

    def progress(self, done: int, total: int) -> None:
        """Write how far it is, every few seconds."""
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + EVERY_S
            self.say(f"{done} of {total} visits")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the profile, print its errors; return the exit code."""
    given = vars(_parser().parse_args(argv))
    given.pop("what")
    try:
        budget = given.pop("budget")
        given["budget_s"] = None if budget is None else seconds_of(budget)
        found = calibrate_gpu(GpuOptions(**given), Lines())
    except ProfileError as error:
        print(f"calibrate: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"calibrate: error: {where}{error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("calibrate: interrupted; go on with --resume", file=sys.stderr)
        return 130
    try:
        print("\n".join(_summary(found)), flush=True)
    except BrokenPipeError:
        # Nor may the interpreter try again when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    return 0


def _summary(found: Calibration) -> list[str]:
    """Return the lines about a profile that was just made."""
    profile = found.profile
    lines = [f"{found.path}: {profile.name}, {profile.provenance['grid']}"]
    if not found.complete:
        lines.append(f"the budget ended first; --resume goes on from {found.partial}")
    for sample, regions in profile.fit.items():
        errors = (f"{region} {error.mape:.1f} %" for region, error in regions.items())
        lines.append(f"mean error, {sample.replace('_', ' ')}: {', '.join(errors)}")
    lines.append(f"KV cache: {profile.kv_tokens} tokens ({profile.kv_source})")
    return lines + [f"caveat: {caveat}" for caveat in profile.caveats]


class _OneLineParser(argparse.ArgumentParser):
    """A parser whose complaints are one line, as all others are."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"calibrate: error: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _OneLineParser(
        prog="python -m calibrate",
        description="Time a model's steps on this machine and write a profile of their cost.",
        epilog="`saber calibrate show FILE` shows it.",
    )
    parser.add_argument("what", nargs="?", choices=["gpu"], default="gpu", help=argparse.SUPPRESS)
    parser.add_argument("--model", help="a known model, such as qwen2.5-coder-7b, tiny or small")
    parser.add_argument("--config", type=Path, help="a Hugging Face config.json instead")
    parser.add_argument("--device", default=GpuOptions.device, help=" or ".join(DEVICES))
    parser.add_argument("--dtype", help="bf16, fp16 or fp32; default bf16 on cuda, fp32 on cpu")
    parser.add_argument("--quick", action="store_true", help="a coarser grid, fewer repeats")
    parser.add_argument("--budget", metavar="TIME", help="measure no longer: 90s, 8m, 1h")
    parser.add_argument("--out", type=Path, help="the profile; default MODEL-DEVICE-DTYPE.json")
    parser.add_argument("--resume", action="store_true", help="go on with what a run left")
    parser.add_argument("--gpu-memory-utilization", type=float, help="default 0.9; cuda only")
    parser.add_argument("--engine-overhead-s", type=float, help="an engine's own time a step")
    parser.add_argument("--engine-overhead-request-s", type=float, help="and for each request")
    parser.add_argument("--engine-overhead-source", help="where these two come from")
    parser.add_argument("--threads", type=int, help="default all cores but one; cpu only")
    parser.add_argument("--seed", type=int, default=GpuOptions.seed)
    return parser


if __name__ == "__main__":
    sys.exit(main())
