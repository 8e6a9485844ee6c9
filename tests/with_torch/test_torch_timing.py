"""Repeats take turns, are timed one by one, and a full memory is told from other errors."""

import gc
import time
import weakref

import pytest
import torch

from calibrate.measure import OutOfMemory
from calibrate.torch_timing import out_of_memory, ran_out, timed_on_cpu, timed_on_cuda


def recorders(n):
    """Return works that note their number in the list that comes with them."""
    done = []
    return [lambda i=i: done.append(i) for i in range(n)], done


def test_repeats_take_turns_from_call_to_call():
    works, done = recorders(3)
    run = timed_on_cpu(works)
    assert done == [0]  # the warm-up
    assert len(run(1)) == 1
    assert len(run(5)) == 5
    assert done == [0, 1, 2, 0, 1, 2, 0]


def test_each_repeat_has_its_own_seconds():
    run = timed_on_cpu([lambda: time.sleep(0.02), lambda: None])
    short, long, *_ = run(4)
    assert short < 0.01
    assert long >= 0.02


class FakeCuda:
    """What of torch.cuda a capture uses; kernels are noted, graphs are lists of them."""

    def __init__(self, monkeypatch):
        self.log, self.capturing = [], None
        names = ("Stream", "stream", "current_stream", "graph_pool_handle", "CUDAGraph", "graph",
                 "synchronize", "Event")  # fmt: skip
        for name in names:
            monkeypatch.setattr(torch.cuda, name, getattr(self, name, lambda: self))

    def wait_stream(self, stream):
        pass

    def stream(self, stream):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.capturing = None

    def graph(self, graph, pool, stream):
        assert pool is self
        assert stream is self
        self.capturing = graph
        return self

    def synchronize(self):
        self.log.append("synchronize")

    def CUDAGraph(self):
        cuda = self

        class Graph(list):
            def replay(self):
                cuda.log.append(f"replay {''.join(self)}")

        return Graph()

    def Event(self, enable_timing):
        cuda = self

        class Event:
            def record(self):
                self.at = len(cuda.log)
                cuda.log.append("mark")

            def elapsed_time(self, later):
                return float(later.at - self.at)  # ms

        assert enable_timing
        return Event()

    def kernel(self, name):
        if self.capturing is None:
            self.log.append(name)
        else:
            self.capturing.append(name)


def test_on_cuda_every_set_of_inputs_has_its_graph_and_repeats_lie_between_events(monkeypatch):
    cuda = FakeCuda(monkeypatch)
    run = timed_on_cuda([lambda name=name: cuda.kernel(name) for name in "abc"], cuda)
    assert cuda.log == ["a", "replay a", "replay b", "replay c", "synchronize"]
    cuda.log.clear()
    samples_s = run(2)
    assert cuda.log == [
        "replay a", "mark", "replay b", "mark", "replay c", "mark", "synchronize"
    ]  # fmt: skip
    assert samples_s == [0.002, 0.002]
    cuda.log.clear()
    run(1)
    assert cuda.log[:1] == ["replay a"]


def test_on_cuda_inputs_live_as_long_as_the_graphs_that_read_them(monkeypatch):
    cuda = FakeCuda(monkeypatch)
    tensor = torch.zeros(1)
    run = timed_on_cuda([lambda x=tensor: x.add_(1)], cuda)
    alive = weakref.ref(tensor)
    del tensor
    gc.collect()
    assert alive() is not None
    del run
    gc.collect()
    assert alive() is None


def test_memory_that_pytorch_does_not_get_is_out_of_memory():
    with pytest.raises(OutOfMemory, match="memory"), out_of_memory():
        torch.empty(2**55)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
)
def test_every_way_to_say_it_counts(error):
    assert ran_out(error)
    after = RuntimeError("operation failed due to a previous error during capture")
    after.__context__ = error
    assert ran_out(after)


def test_other_errors_pass_as_they_are():
    with pytest.raises(RuntimeError, match="shapes"), out_of_memory():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
