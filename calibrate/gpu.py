"""`calibrate gpu`: time a model's steps on this machine and make a profile of them."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from calibrate.architectures import architecture, read_config
from calibrate.fitdesign import design
from calibrate.grid import axes_for, grid
from calibrate.measure import Effort, Memory, measure
from calibrate.measured import kv_capacity, measured_profile
from calibrate.partial import Partial
from calibrate.schema import ProfileError
from calibrate.steps import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from calibrate.architectures import Architecture
    from calibrate.gpu_options import GpuOptions
    from calibrate.measure import Bench
    from calibrate.profile import Profile

# Rounds are cheap on a cpu, where no graph is captured, and it is disturbed more often.
EFFORTS = {
    ("cuda", False): Effort(rounds=3, least=5, most=50, visit_s=0.3),
    ("cuda", True): Effort(rounds=3, least=5, most=30, visit_s=0.1),
    ("cpu", False): Effort(rounds=7, least=4, most=30, visit_s=0.1),
    ("cpu", True): Effort(rounds=5, least=4, most=20, visit_s=0.04),
}
# The step whose activations must fit beside the KV cache: the engine's default token budget, with
# as many sequences as it runs at most.
LARGEST = {"cuda": Step(256, 1, 1792), "cpu": Step(16, 1, 240)}


class Reporter(Protocol):
    """Where a calibration says how far it is."""

    def say(self, line: str) -> None:
        """Take one line about what happens now."""

    def progress(self, done: int, total: int) -> None:
        """Take the number of visits to steps that are done."""


@dataclass(frozen=True)
class Calibration:
    """What came of it.

    Parameters
    ----------
    profile : Profile
    path : Path
        The file it was written to.
    complete : bool
        Whether the whole grid was measured.
    partial : Path
        Where the measurements are kept while the grid is not complete.
    """

    profile: Profile
    path: Path
    complete: bool
    partial: Path


def calibrate_gpu(
    options: GpuOptions,
    reporter: Reporter,
    open_bench: Callable[[Architecture, str, GpuOptions], Bench] | None = None,
) -> Calibration:
    """Time a model's steps, fit their cost and write the profile.

    Parameters
    ----------
    options : GpuOptions
    reporter : Reporter
    open_bench : callable, optional
        Makes the bench of (architecture, dtype, options); PyTorch's when left out.

    Raises
    ------
    ProfileError
        Without PyTorch or the device; for measurements of another run that are in the way; when
        too little was measured for a fit.
    """
    start = time.monotonic()
    if options.config is not None:
        model = read_config(options.config)
    else:
        model = architecture(options.model or "")
    dtype = options.dtype or ("fp32" if options.device == "cpu" else "bf16")
    open_bench = open_bench or _torch_bench()
    axes = axes_for(options.device, quick=options.quick)
    effort = EFFORTS[options.device, options.quick]
    steps = grid(axes, model.max_context_tokens)
    _must_determine_a_cost(steps, model)
    task = {
        "model": model.to_dict(dtype),
        "device": options.device,
        "quick": options.quick,
        "axes": asdict(axes),
        "rounds": effort.rounds,
        "seed": options.seed,
    }
    # Before the weights are made: a file in the way should be heard of at once.
    path = options.out or Path(f"{model.name}-{options.device}-{dtype}.json")
    if not path.name or path.is_dir():
        raise ProfileError(f"--out {path} is a folder, expected a file name")
    if options.config is not None and path.exists() and path.samefile(options.config):
        raise ProfileError(f"--out {path} is the configuration itself: name another file")
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = Partial(path.with_name(path.name + ".partial"), task, resume=options.resume)
    done = False
    try:
        reporter.say(f"loading {model.name} in {dtype} with random weights on {options.device}")
        bench = open_bench(model, dtype, options)
        try:
            _keep_facts(bench, kept, LARGEST[options.device], reporter)
            # Before minutes are spent: a model that leaves no room for a cache has no profile.
            kv_capacity(options, model, dtype, Memory(**kept.facts["memory"]))
            reporter.say(f"timing {len(steps)} steps in {effort.rounds} rounds")
            complete = measure(
                bench,
                steps,
                kept,
                effort=effort,
                rng=np.random.default_rng(options.seed),
                out_of_time=lambda: time.monotonic() - start > (options.budget_s or math.inf),
                on_progress=reporter.progress,
            )
        finally:
            bench.close()
        reporter.say("fitting")
        try:
            profile = measured_profile(options, model, dtype, steps, kept)
        except ProfileError as error:
            if complete:
                raise
            raise ProfileError(
                f"the budget ended before there was enough for a profile: {error}: go on with "
                "--resume and more time"
            ) from None
        profile.save(path)
        done = complete
    finally:
        kept.close(remove=done)
    return Calibration(profile, path, complete, kept.path)


def _must_determine_a_cost(steps: Sequence[Step], model: Architecture) -> None:
    """Say before anything is timed that no profile can come of it."""
    try:
        design(steps)
    except ProfileError:
        raise ProfileError(
            f"{model.name} knows {model.max_context_tokens} tokens of context, too few for the "
            "steps that a cost is fitted to: expected a model for longer sequences"
        ) from None


def _torch_bench() -> Callable[[Architecture, str, GpuOptions], Bench]:
    if find_spec("torch") is None:
        raise ProfileError(
            "measuring needs PyTorch, which is not installed: pip install torch (or this "
            "package's extra: pip install 'sabersim[gpu]')"
        )
    from calibrate.torch_bench import TorchBench

    return lambda model, dtype, options: TorchBench(
        model, options.device, dtype, seed=options.seed, threads=options.threads
    )


def _keep_facts(bench: Bench, kept: Partial, largest: Step, reporter: Reporter) -> None:
    """Keep what is measured once; refuse to go on with measurements of another device."""
    for name, facts in (("device", bench.device_facts()), ("software", bench.software_facts())):
        known = kept.facts.get(name)
        if known is None:
            kept.keep_fact(name, facts)
        elif known != dict(facts):
            raise ProfileError(
                f"{kept.path} was measured on other {name}: {known}, here is {dict(facts)}; "
                "go on there, or remove the file"
            )
    if "hardware" not in kept.facts:
        reporter.say("measuring bandwidth, matrix products and launch latency")
        kept.keep_fact("hardware", asdict(bench.hardware()))
    if "memory" not in kept.facts:
        kept.keep_fact("memory", asdict(bench.memory(largest)))
