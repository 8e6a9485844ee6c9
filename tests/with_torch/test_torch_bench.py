"""The bench times what it says, on inputs that change, and says when memory is out."""

import contextlib
import gc
import json
import pkgutil
import subprocess
import sys
import weakref
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.utils.benchmark import Timer

import calibrate
from calibrate import torch_bench
from calibrate.architectures import architecture
from calibrate.measure import OutOfMemory
from calibrate.schema import ProfileError
from calibrate.steps import Step
from calibrate.torch_bench import SETS, TorchBench
from calibrate.torch_model import Transformer, kv_elements, make_inputs
from calibrate.torch_weights import DTYPES, random_weights
from calibrate.work import floor_s

TINY, SMALL = architecture("tiny"), architecture("small")
DTYPE = {"cpu": "fp32", "cuda": "bf16"}
STEPS = [
    Step(1, 1),
    Step(4, 33),
    Step(prompt_tokens=1),
    Step(prompt_tokens=48),
    Step(prompt_tokens=16, past_tokens=20),
    Step(3, 17, 24),
    Step(3, 17, 24, 8),
]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=needs_cuda)])
def bench(request):
    """Yield a bench of the tiny model."""
    bench = TorchBench(TINY, request.param, DTYPE[request.param], seed=3)
    yield bench
    bench.close()


@pytest.fixture
def seen(monkeypatch):
    """Return a list that collects the inputs of each step run."""
    seen = []
    step = Transformer.step

    def watched(self, inputs, generator=None):
        seen.append(inputs)
        return step(self, inputs, generator)

    monkeypatch.setattr(Transformer, "step", watched)
    return seen


@pytest.fixture(autouse=True)
def threads():
    """Give PyTorch its threads back, which a bench on a cpu sets for the whole process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_every_kind_of_step_gives_as_many_times_as_asked_for(bench, step):
    run = bench.prepare(step)
    samples_s = run(2) + run(3)
    assert len(samples_s) == 5
    assert all(0 < sample_s < 60 for sample_s in samples_s)


def test_repeats_take_turns_on_inputs_that_differ(seen):
    TorchBench(TINY, "cpu", "fp32").prepare(Step(4, 16, 8))(2 * SETS)
    turns = seen[-SETS:]
    for a, b in pairwise(turns):
        assert not torch.equal(a.tokens, b.tokens)
        assert a.decode_kv.data_ptr() != b.decode_kv.data_ptr()
        assert not torch.equal(a.decode_kv[..., :-1, :, :], b.decode_kv[..., :-1, :, :])
    assert all(new is old for new, old in zip(turns, seen[-2 * SETS : -SETS], strict=True))


def test_caches_too_large_to_stay_close_are_not_multiplied(seen, monkeypatch):
    close_bytes = 10**7  # more than the weights, less than the caches
    assert TINY.weight_bytes("fp32") < close_bytes < 4 * kv_elements(TINY, Step(64, 1024))
    monkeypatch.setattr(torch_bench, "CLOSE_BYTES", close_bytes)
    TorchBench(TINY, "cpu", "fp32").prepare(Step(64, 1024))(SETS)
    assert len({inputs.decode_kv.data_ptr() for inputs in seen}) == 1
    assert len({inputs.tokens.data_ptr() for inputs in seen}) == SETS


def test_weights_too_large_to_stay_close_flush_what_a_step_read(seen, monkeypatch):
    monkeypatch.setattr(torch_bench, "CLOSE_BYTES", TINY.weight_bytes("fp32"))
    TorchBench(TINY, "cpu", "fp32").prepare(Step(4, 16))(5)
    assert len(seen) == 6  # and the warm-up
    assert len({inputs.tokens.data_ptr() for inputs in seen}) == 1


def test_caches_hold_random_numbers_to_their_last_token(seen):
    step = Step(64, 1024)
    TorchBench(TINY, "cpu", "fp32").prepare(step)
    kv = seen[0].decode_kv
    assert kv.numel() == kv_elements(TINY, step)
    assert kv.isfinite().all()
    assert 0.9 < kv.std() < 1.1
    assert (kv.flatten()[-1000:] != 0).all()


@pytest.mark.parametrize(
    ("arch", "step"), [(SMALL, Step(4, 128)), (TINY, Step(4, 64, 64))], ids=["decode", "mixed"]
)
def test_times_agree_with_another_way_of_measuring(arch, step):
    # One thread: several wait for whoever else has work on a shared machine.
    run = TorchBench(arch, "cpu", "fp32", seed=1, threads=1).prepare(step)
    with torch.inference_mode():
        model = Transformer(arch, random_weights(arch, torch.device("cpu"), DTYPES["fp32"], 1))
        tokens = torch.randint(arch.vocab, (step.tokens,))
        inputs = make_inputs(arch, step, tokens, torch.randn(kv_elements(arch, step)))
        names = {"model": model, "inputs": inputs}
        timer = Timer("model.step(inputs)", globals=names, num_threads=1)
        # In turns, so that whoever else uses the machine disturbs both alike.
        pairs = [(run(10), [timer.timeit(1).mean for _ in range(10)]) for _ in range(8)]
    times_s = np.array(pairs)  # (pairs, ours and theirs, repeats)
    ours_s, theirs_s = np.median(times_s, axis=2).T
    ratio = np.median(ours_s / theirs_s)
    # Each way repeats itself to within its own p10 to p90; half off would show nothing.
    low, median, high = np.quantile(times_s, (0.1, 0.5, 0.9), axis=(0, 2))
    tolerance = min(0.5, ((high - low) / median).sum())
    assert abs(ratio - 1) <= tolerance


def test_no_large_step_is_faster_than_the_hardware():
    bench = TorchBench(SMALL, "cpu", "fp32", threads=1)
    hardware = bench.hardware()
    for step in (Step(prompt_tokens=512), Step(1, 256), Step(16, 512, 64)):
        assert min(bench.prepare(step)(3)) > floor_s(SMALL, "fp32", step, hardware)


def test_a_step_larger_than_the_memory_is_refused_before_it_takes_any(monkeypatch):
    bench = TorchBench(TINY, "cpu", "fp32")
    step = Step(64, 1024)
    kv_bytes = 4 * kv_elements(TINY, step)
    monkeypatch.setattr(torch_bench, "CLOSE_BYTES", 1)
    monkeypatch.setattr(torch_bench, "available_memory_bytes", lambda: kv_bytes)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "empty", None)
        with pytest.raises(OutOfMemory, match=r"GB are needed, .* GB are available"):
            bench.prepare(step)
    monkeypatch.setattr(torch_bench, "available_memory_bytes", lambda: 2 * kv_bytes)
    assert bench.prepare(step)(1)


def test_memory_that_ends_in_the_middle_leaves_the_bench_usable(bench):
    with pytest.raises(OutOfMemory):
        bench.prepare(Step(10**6, 10**6))
    assert bench.prepare(Step(2, 8))(1)


def test_a_step_that_did_not_fit_keeps_none_of_its_memory(monkeypatch):
    caches = []

    def full(self, inputs, generator=None):
        caches.append(weakref.ref(inputs.decode_kv))
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Transformer, "step", full)
    bench = TorchBench(TINY, "cpu", "fp32")
    gc.disable()  # a collection takes longer than many a step, so the next one cannot wait for it
    try:
        with contextlib.suppress(OutOfMemory):
            bench.prepare(Step(2, 8))
        assert [cache() for cache in caches] == [None]
    finally:
        gc.enable()


def test_weights_larger_than_the_memory_are_a_mistake_to_report(monkeypatch):
    monkeypatch.setattr(torch_bench, "available_memory_bytes", lambda: 1_000_000)
    with pytest.raises(ProfileError, match="small in fp32 on cpu: no memory for its weights"):
        TorchBench(SMALL, "cpu", "fp32")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a CUDA device")
def test_a_missing_device_is_a_mistake_to_report():
    with pytest.raises(ProfileError, match=r"--device cuda: .* finds no CUDA device"):
        TorchBench(TINY, "cuda", "bf16")


def test_memory_tells_what_is_free_and_what_a_step_takes(bench):
    small, large = bench.memory(Step(1, 1)), bench.memory(Step(16, 1, 240))
    assert 0 < large.free_bytes <= large.total_bytes
    assert 0 < small.reserve_bytes < large.reserve_bytes < large.free_bytes


def test_facts_name_the_device_and_the_software(bench):
    device, software = bench.device_facts(), bench.software_facts()
    assert device["name"]
    assert device["count"] == 1
    assert device["memory_bytes"] > 1e8
    assert software["torch"] == str(torch.__version__)
    assert software["attention_decode"] == software["attention_prompt"] == "flash_attention"
    # A resumed run compares them with what it finds in a file.
    assert json.loads(json.dumps([device, software])) == [device, software]


def test_a_cpu_computes_with_the_threads_asked_for_and_else_leaves_a_core_to_others(monkeypatch):
    assert TorchBench(TINY, "cpu", "fp32", threads=3).device_facts()["threads"] == 3
    for cores, threads in ((8, 7), (1, 1)):
        monkeypatch.setattr(torch_bench, "_cores", lambda cores=cores: cores)
        assert TorchBench(TINY, "cpu", "fp32").device_facts()["threads"] == threads


@needs_cuda
def test_graphs_sample_anew_with_every_replay():
    bench = TorchBench(TINY, "cuda", "bf16")
    drawn = []
    step = Transformer.step

    def kept(self, inputs, generator=None):
        drawn.append(step(self, inputs, generator))
        return drawn[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Transformer, "step", kept)
        run = bench.prepare(Step(32, 64))
    rows = []
    for _ in range(4):
        run(SETS - 1)  # and one that is not timed: each graph once
        rows.append(drawn[-1].clone())
    assert len({tuple(row.tolist()) for row in rows}) > 1
    assert all(0 <= token < TINY.vocab for row in rows for token in row.tolist())


def test_only_the_measuring_modules_import_torch():
    names = [
        f"calibrate.{module.name}"
        for module in pkgutil.iter_modules(calibrate.__path__)
        if not module.name.startswith(("torch_", "__main__"))
    ]
    code = f"import sys, {', '.join(names)}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
