"""What `calibrate gpu` is asked to do, checked before anything is measured."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from calibrate.architectures import DTYPE_BYTES
from calibrate.schema import ProfileError, integer, number, one_of, text, wrong

if TYPE_CHECKING:
    from pathlib import Path

DEVICES = ("cuda", "cpu")
MAX_SEED, MAX_THREADS = 2**63 - 1, 1024
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class GpuOptions:
    """What to measure, and where to put it.

    Parameters
    ----------
    model : str, optional
        A name of `calibrate.architectures`; or give `config`.
    config : Path, optional
        A Hugging Face config.json.
    device : str
        "cuda" or "cpu".
    dtype : str, optional
        One of `DTYPE_BYTES`; bf16 on cuda and fp32 on cpu when left out.
    quick : bool
        A coarser grid and fewer repeats.
    budget_s : float, optional
        Nothing more is measured after so many seconds.
    out : Path, optional
        The profile's file; named after model, device and dtype when left out.
    resume : bool
        Go on with the measurements that an earlier run left.
    gpu_memory_utilization : float, optional
        Share of the device's memory the engine may use, 0.9 when left out; cuda only.
    engine_overhead_s, engine_overhead_request_s : float, optional
        What a serving engine adds to each step, and for each request in it.
    engine_overhead_source : str, optional
        Where these come from; needed with them.
    threads : int, optional
        Of the CPU; all cores but one when left out, so that no thread waits for one that other
        work on the machine has interrupted. cpu only.
    seed : int
        For weights, inputs, the order of measuring and the bootstrap.

    Raises
    ------
    ProfileError
        For options that are wrong, contradict each other or have no effect.
    """

    model: str | None = None
    config: Path | None = None
    device: str = "cuda"
    dtype: str | None = None
    quick: bool = False
    budget_s: float | None = None
    out: Path | None = None
    resume: bool = False
    gpu_memory_utilization: float | None = None
    engine_overhead_s: float | None = None
    engine_overhead_request_s: float | None = None
    engine_overhead_source: str | None = None
    threads: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        one_of("--device", self.device, DEVICES)
        if self.dtype is not None:
            one_of("--dtype", self.dtype, tuple(DTYPE_BYTES))
        if integer("--seed", self.seed, at_least=0) > MAX_SEED:
            raise wrong("--seed", self.seed, f"an integer of at most {MAX_SEED}")
        if self.threads is not None:
            if integer("--threads", self.threads, at_least=1) > MAX_THREADS:
                raise wrong("--threads", self.threads, f"an integer of at most {MAX_THREADS}")
            if self.device == "cuda":
                raise ProfileError("--threads has no effect with --device cuda: leave it out")
        if (self.model is None) == (self.config is None):
            raise ProfileError(
                "expected one of --model NAME and --config FILE: what is to be measured?"
            )
        if self.budget_s is not None:
            number("--budget", self.budget_s, above=0)
        if self.gpu_memory_utilization is not None:
            share = number("--gpu-memory-utilization", self.gpu_memory_utilization, above=0)
            if share > 1:
                raise ProfileError(
                    f"--gpu-memory-utilization is {share:g}, expected a share of at most 1"
                )
            if self.device == "cpu":
                raise ProfileError(
                    "--gpu-memory-utilization has no effect with --device cpu, whose KV cache "
                    "is half of the available memory: leave it out"
                )
        self._check_overhead()

    def _check_overhead(self) -> None:
        for name in ("engine_overhead_s", "engine_overhead_request_s"):
            if getattr(self, name) is not None:
                number(f"--{name.replace('_', '-')}", getattr(self, name), at_least=0)
        if self.engine_overhead_request_s is not None and self.engine_overhead_s is None:
            raise ProfileError(
                "--engine-overhead-request-s needs --engine-overhead-s: without the overhead of "
                "a step the profile is one of bare kernels"
            )
        if (self.engine_overhead_s is None) != (self.engine_overhead_source is None):
            raise ProfileError(
                "--engine-overhead-s and --engine-overhead-source go together: a number, and "
                "where it comes from"
            )
        if self.engine_overhead_source is not None:
            text("--engine-overhead-source", self.engine_overhead_source)


def seconds_of(duration: str, flag: str = "--budget") -> float:
    """Return the seconds in "90s", "8m" or "1.5h"; ProfileError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", duration.strip())
    if not match or not float(match[1]):
        raise ProfileError(f"{flag} {duration!r}: expected a time such as 90s, 8m or 1h")
    return float(match[1]) * _UNITS[match[2]]
