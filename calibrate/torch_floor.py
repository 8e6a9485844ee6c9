"""What the hardware itself gives: memory bandwidth, matrix products, the launch of a kernel."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from calibrate.torch_weights import DTYPES
from calibrate.work import Hardware

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_WORKING_SET_BYTES = {"cuda": 2**30, "cpu": 2**28}
# (rows, inputs, outputs): a cube, and a prompt through the MLP of a model of a few billions.
PRODUCTS = {
    "cuda": ((8192, 8192, 8192), (8192, 4096, 28672)),
    "cpu": ((1024, 1024, 1024), (512, 1024, 4096)),
}
REPEATS = 5
# Short work is repeated for so long, lest something else disturbs every one of a few runs.
PATIENCE_S = 0.3
LAUNCHES = 1000


def measure_hardware(
    device: torch.device, dtype: str, working_set_bytes: int | None = None
) -> Hardware:
    """Measure what no step can beat; takes a second or two.

    Every figure is the best of a few ways and repeats, since a floor must lie below.

    - `bytes_per_s`: of a large copy, bytes read and written, or of a sum, which reads only, as a
      decode step mostly does.
    - `flop_per_s`: of large matrix products of random numbers.
    - `launch_s`: of one of many tiny kernels in a row; on cuda within a graph, as the steps are
      timed, on a cpu called from Python.

    Parameters
    ----------
    device : torch.device
    dtype : str
        One of `DTYPES`.
    working_set_bytes : int, optional
        What a step reads: of a model that fits into a cache the floor is the cache's bandwidth,
        not the memory's. A large one when left out.
    """
    largest = MAX_WORKING_SET_BYTES[device.type]
    with torch.inference_mode():
        return Hardware(
            bytes_per_s=_bandwidth(device, min(working_set_bytes or largest, largest)),
            flop_per_s=max(_product_rate(device, DTYPES[dtype], *s) for s in PRODUCTS[device.type]),
            launch_s=_launch_s(device),
        )


def _bandwidth(device: torch.device, working_set_bytes: int) -> float:
    # The copy's source and target together are the working set, and so is what the sum reads.
    numbers = max(working_set_bytes // 8, 1)
    source = torch.randn(numbers, device=device)
    target = torch.empty_like(source)
    both = torch.randn(2 * numbers, device=device)
    copy_s = best_s(device, lambda: target.copy_(source))
    read_s = best_s(device, both.sum)
    return 8 * numbers / min(copy_s, read_s)


def _product_rate(
    device: torch.device, dtype: torch.dtype, rows: int, inputs: int, outputs: int
) -> float:
    x = torch.randn(rows, inputs, device=device, dtype=dtype)
    weight = torch.randn(outputs, inputs, device=device, dtype=dtype)
    return 2 * rows * inputs * outputs / best_s(device, lambda: F.linear(x, weight))


def _launch_s(device: torch.device) -> float:
    x = torch.zeros(1, device=device)

    def launch() -> None:
        for _ in range(LAUNCHES):
            x.add_(1)

    if device.type == "cpu":
        return best_s(device, launch) / LAUNCHES
    graph = torch.cuda.CUDAGraph()
    x.add_(1)  # what a first call sets up cannot be captured
    with torch.cuda.graph(graph):
        launch()
    return best_s(device, graph.replay) / LAUNCHES


def best_s(device: torch.device, work: Callable[[], object]) -> float:
    """Return the seconds of the fastest of a few runs, after one that warms up."""
    work()
    timed = _wall_s if device.type == "cpu" else _device_s
    times_s: list[float] = []
    end_s = time.perf_counter() + PATIENCE_S
    while len(times_s) < REPEATS or time.perf_counter() < end_s:
        times_s.append(timed(work))
    return min(times_s)


def _wall_s(work: Callable[[], object]) -> float:
    start_ns = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - start_ns) * 1e-9


def _device_s(work: Callable[[], object]) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    work()  # untimed: keeps the device busy until what is timed has been enqueued
    start.record()
    work()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) * 1e-3
