"""Times engine steps of the PyTorch transformer on a device."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from calibrate.kv import activation_bytes, available_memory_bytes
from calibrate.measure import Memory, OutOfMemory
from calibrate.schema import ProfileError
from calibrate.torch_floor import measure_hardware
from calibrate.torch_model import Transformer, attention_kernel, kv_elements, make_inputs
from calibrate.torch_timing import out_of_memory, timed_on_cpu, timed_on_cuda
from calibrate.torch_weights import DTYPES, random_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from calibrate.architectures import Architecture
    from calibrate.steps import Step
    from calibrate.torch_model import Inputs
    from calibrate.work import Hardware

# More than most devices keep close: what has read so much finds nothing left of what came before.
CLOSE_BYTES = 2**28
# Of a model smaller than that, repeats take turns on so many sets of token ids, and of caches
# where these are small as well. A larger one flushes them itself: one set, captured once, will do.
SETS = 3
# Of the available memory, what a step on a cpu may take: nothing else should be swapped out.
SHARE = 0.9


class TorchBench:
    """A model with random weights on a device; a `calibrate.measure.Bench`.

    Parameters
    ----------
    arch : Architecture
    device : str
        "cuda" (the current one) or "cpu".
    dtype : str
        One of `DTYPES`.
    seed : int
        For weights, token ids and what the caches hold.
    threads : int, optional
        Of PyTorch on a cpu, for the whole process; all cores but one when left out. Threads wait
        for each other: with one on every core, any other work on the machine stalls them all.

    Raises
    ------
    ProfileError
        Without the device, or if the weights do not fit into its memory.
    """

    def __init__(
        self,
        arch: Architecture,
        device: str,
        dtype: str,
        *,
        seed: int = 0,
        threads: int | None = None,
    ) -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise ProfileError(
                f"--device cuda: PyTorch {torch.__version__} finds no CUDA device here; take "
                "--device cpu, or a machine with a GPU and a PyTorch built for it"
            )
        self._arch, self._dtype, self._torch_dtype = arch, dtype, DTYPES[dtype]
        self._device = torch.device(device)
        if device == "cpu":
            torch.set_num_threads(threads or max(1, _cores() - 1))
        with self._must_fit("its weights"), torch.inference_mode():
            self._require(arch.weight_bytes(dtype))
            weights = random_weights(arch, self._device, self._torch_dtype, seed)
        self._model: Transformer | None = Transformer(arch, weights)
        self._generator = torch.Generator(self._device).manual_seed(seed)
        self._stream = torch.cuda.Stream() if device == "cuda" else None

    def hardware(self) -> Hardware:
        """Return the measured bandwidth, matrix-product rate and launch latency."""
        with self._must_fit("what measures the hardware"):
            weight_bytes = self._arch.weight_bytes(self._dtype)
            return measure_hardware(self._device, self._dtype, weight_bytes)

    def prepare(self, step: Step) -> Callable[[int], list[float]]:
        """Warm `step` up and return a function that runs it n times for the seconds of each.

        The function keeps the step's memory: drop it before the next step is prepared.

        Raises
        ------
        OutOfMemory
            Here or from the function returned.
        """
        with out_of_memory(), torch.inference_mode():
            self._free()
            works = [partial(self._loaded.step, inputs) for inputs in self._inputs(step)]
            if self._device.type == "cpu":
                run = timed_on_cpu(works)
            else:
                run = timed_on_cuda(works, self._stream)

        def repeats(n: int) -> list[float]:
            # In inference mode like the capture: a replay updates the random generator's state,
            # which the capture made a tensor of that mode.
            with out_of_memory(), torch.inference_mode():
                return run(n)

        return repeats

    def memory(self, largest: Step) -> Memory:
        """Return how the memory is used; `largest` sets the activation reserve.

        On cuda the reserve is the measured peak of the step, on a cpu what its sizes add up to.
        """
        with self._must_fit(f"a step of {largest.tokens} tokens"), torch.inference_mode():
            self._free()
            if self._device.type == "cpu":
                return Memory(_memory_bytes(), available_memory_bytes(), self._activations(largest))
            inputs = self._inputs(largest)[0]
            self._loaded.step(inputs)  # what libraries allocate once is not the step's
            held_bytes = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            self._loaded.step(inputs)
            reserve = torch.cuda.max_memory_allocated() - held_bytes
            del inputs
            self._free()
            free_bytes, total_bytes = torch.cuda.mem_get_info()
            return Memory(total_bytes, free_bytes, reserve)

    def device_facts(self) -> dict[str, Any]:
        """Return the device's name, count, memory, and driver and capability or threads."""
        if self._device.type == "cpu":
            facts = {"name": _cpu_name(), "memory_bytes": _memory_bytes()}
            return {**facts, "count": 1, "threads": torch.get_num_threads()}
        properties = torch.cuda.get_device_properties(self._device)
        return {
            "name": properties.name,
            "memory_bytes": properties.total_memory,
            "count": 1,
            "capability": f"{properties.major}.{properties.minor}",
            "driver": _driver(),
        }

    def software_facts(self) -> dict[str, Any]:
        """Return versions, how steps are run, and the attention kernels of decodes and prompts."""
        kernels = {
            name: attention_kernel(self._arch, self._device, self._torch_dtype, decode=decode)
            for name, decode in (("attention_decode", True), ("attention_prompt", False))
        }
        run = "CUDA graphs" if self._device.type == "cuda" else "eager"
        versions = {"torch": str(torch.__version__), "cuda": torch.version.cuda}
        return {**versions, "python": platform.python_version(), "execution": run, **kernels}

    def close(self) -> None:
        """Free the device."""
        self._model = None
        self._free()

    @property
    def _loaded(self) -> Transformer:
        if self._model is None:
            raise RuntimeError("the bench is closed")
        return self._model

    def _inputs(self, step: Step) -> list[Inputs]:
        """Return the sets of inputs that the repeats take turns on."""
        arch, dtype, device = self._arch, self._torch_dtype, self._device
        elements = kv_elements(arch, step)
        sets = SETS if arch.weight_bytes(self._dtype) < CLOSE_BYTES else 1
        caches = min(sets, 1 + CLOSE_BYTES // (elements * dtype.itemsize))
        kv_bytes = caches * elements * dtype.itemsize
        self._require(kv_bytes + self._activations(step))
        kv = torch.empty(caches, elements, device=device, dtype=dtype)
        # Drawing all of it would take minutes on a cpu; a few millions repeat well enough.
        few = min(kv.numel(), 2**22)
        block = torch.empty(few, device=device, dtype=dtype).normal_(generator=self._generator)
        for part in kv.view(-1).split(few):
            part.copy_(block[: part.numel()])
        tokens = torch.randint(
            arch.vocab, (sets, step.tokens), generator=self._generator, device=device
        )
        return [make_inputs(arch, step, ids, kv[i % caches]) for i, ids in enumerate(tokens)]

    def _activations(self, step: Step) -> int:
        rows = step.batch + bool(step.prompt_tokens)
        return activation_bytes(self._arch, self._dtype, step.tokens, rows)

    def _require(self, needed_bytes: int) -> None:
        """Raise OutOfMemory before a cpu would swap; cuda says itself when its memory is full."""
        if self._device.type == "cpu":
            available_bytes = available_memory_bytes()
            if needed_bytes > SHARE * available_bytes:
                raise OutOfMemory(
                    f"{needed_bytes / 1e9:.1f} GB are needed, {available_bytes / 1e9:.1f} GB are "
                    "available"
                )

    @contextmanager
    def _must_fit(self, what: str) -> Iterator[None]:
        """Say in one line that nothing can be measured here."""
        try:
            with out_of_memory():
                yield
        except OutOfMemory as error:
            raise ProfileError(
                f"{self._arch.name} in {self._dtype} on {self._device}: no memory for {what}: "
                f"{error}; expected a smaller model, fewer bytes a number, or a larger device"
            ) from None

    def _free(self) -> None:
        """Give memory that is not used any more back to the device."""
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def _cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _driver() -> str | None:
    """Return the version of NVIDIA's driver, which PyTorch does not know."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    query = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.split()[0] if found.stdout.split() else None
