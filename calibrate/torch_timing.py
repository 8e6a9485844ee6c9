"""Running work again and again for the seconds of each run, and noticing that memory is out.

One rule for all steps, of one decode or of thousands of prompt tokens: on cuda they are captured
in a graph and timed between events, so that kernels are timed and not Python; an engine runs its
decodes so, too, and hides most of the launching of larger steps behind their kernels. On a cpu a
step is called and timed as it is.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from itertools import cycle, pairwise
from typing import TYPE_CHECKING

import torch

from calibrate.measure import OutOfMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


def timed_on_cpu(works: Sequence[Callable[[], object]]) -> Callable[[int], list[float]]:
    """Return a function that runs `works` in turns, n times in all, for the seconds of each."""
    turns = cycle(works)
    next(turns)()

    def run(n: int) -> list[float]:
        samples_s = []
        for _ in range(n):
            work = next(turns)
            start_ns = time.perf_counter_ns()
            work()
            samples_s.append((time.perf_counter_ns() - start_ns) * 1e-9)
        return samples_s

    return run


def timed_on_cuda(
    works: Sequence[Callable[[], object]], stream: torch.cuda.Stream
) -> Callable[[int], list[float]]:
    """Return a function that replays graphs of `works` in turns for the seconds of each.

    They are captured on `stream`, which should be the same for all that is timed: libraries keep
    a workspace for every stream they have seen.
    """
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        # What libraries set up at first use cannot be captured; and a step that does not fit
        # says so here, where nothing has to be undone.
        works[0]()
    torch.cuda.current_stream().wait_stream(stream)
    pool = torch.cuda.graph_pool_handle()
    graphs = []
    for work in works:
        graph = torch.cuda.CUDAGraph()
        # One pool for all: they never run at the same time, and nobody reads what they leave.
        with torch.cuda.graph(graph, pool=pool, stream=stream):
            work()
        graph.replay()  # the first replay uploads the graph
        graphs.append(graph)
    torch.cuda.synchronize()
    # A graph knows where its inputs are but does not keep them: what it was captured from does.
    turns = cycle(list(zip(graphs, works, strict=True)))

    def run(n: int) -> list[float]:
        # An untimed replay keeps the device busy until the first timed one has been enqueued.
        next(turns)[0].replay()
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(n + 1)]
        marks[0].record()
        for mark in marks[1:]:
            next(turns)[0].replay()
            mark.record()
        torch.cuda.synchronize()
        return [a.elapsed_time(b) * 1e-3 for a, b in pairwise(marks)]

    return run


@contextmanager
def out_of_memory() -> Iterator[None]:
    """Raise OutOfMemory for each of the ways in which PyTorch says so."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        message = str(error).strip().splitlines()
    else:
        return
    raise OutOfMemory(message[0] if message else "")


def ran_out(error: BaseException | None) -> bool:
    """Whether an error of PyTorch, or one that it was raised while handling, is about memory.

    A failed allocation has its own class on cuda, but not on a cpu; libraries report theirs in
    words; and one inside a capture may be followed by an error of the capture.
    """
    while error is not None:
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
            return True
        words = ("out of memory", "allocate memory", "not enough memory", "ALLOC_FAILED")
        if any(word in str(error) for word in words):
            return True
        error = error.__context__
    return False
