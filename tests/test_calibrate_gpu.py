"""`calibrate gpu` from options to a profile, on a bench whose cost is known."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from bench_cases import COST, CostBench

from calibrate import ProfileError, load_profile
from calibrate.capacity import with_utilization
from calibrate.gpu import calibrate_gpu
from calibrate.gpu_options import GpuOptions, seconds_of
from calibrate.grid import CPU_QUICK, grid
from calibrate.holdout import held_out_rows
from calibrate.steps import raw_points
from sim import simulate
from traces import workload

QUICK = GpuOptions(model="tiny", device="cpu", quick=True)
STEPS = len(grid(CPU_QUICK, 4096))


class Quiet:
    def say(self, line):
        pass

    def progress(self, done, total):
        pass


def calibrated(options, bench):
    return calibrate_gpu(options, Quiet(), lambda *_: bench)


@pytest.fixture
def options(tmp_path):
    return replace(QUICK, out=tmp_path / "p.json")


def test_a_known_cost_is_found_again(options):
    bench = CostBench()
    found = calibrated(options, bench)
    assert bench.closed
    assert found.complete
    assert not found.partial.exists()
    profile = load_profile(found.path)
    assert profile == found.profile
    assert profile.method == "torch"
    assert profile.discipline == "chunked"
    assert profile.name == "tiny-bench-1-fp32"
    for batch, context in ((1, 64), (8, 300), (32, 1024)):
        expected = COST.decode_s(batch, batch * context)
        assert profile.cost.decode_s(batch, batch * context) == pytest.approx(expected, rel=1e-3)
    for tokens in (64, 512):
        assert profile.cost.prefill_s(tokens, tokens**2 / 2) == pytest.approx(
            COST.prefill_s(tokens, tokens**2 / 2), rel=1e-3
        )
    assert (profile.measured_batch, profile.measured_prefill_tokens) == ((1, 32), (1, 1024))
    assert profile.measured_context_tokens == (1, 1280)


def test_every_result_says_that_the_engine_is_missing(options):
    profile = calibrated(options, CostBench()).profile
    assert profile.engine_overhead_s is None
    result = simulate(workload("W3", rps=2, n=5), profile, policy="static(4)", kv_tokens=10**6)
    assert any("kernel-only" in warning for warning in result.summary()["warnings"])


def test_a_known_overhead_is_in_the_profile_with_its_source(options):
    given = replace(
        options,
        engine_overhead_s=0.002,
        engine_overhead_request_s=0.0001,
        engine_overhead_source="measured so",
    )
    profile = calibrated(given, CostBench()).profile
    bare = COST.decode_s(4, 4 * 64)
    assert profile.cost.decode_s(4, 4 * 64) == pytest.approx(bare + 0.002 + 4 * 0.0001, rel=1e-3)
    assert profile.sources["engine_overhead_s"] == "measured so"
    assert not any("kernel-only" in caveat for caveat in profile.caveats)


def test_raw_points_hold_the_times_the_floor_and_what_did_not_fit(options):
    profile = calibrated(options, CostBench(fits=20_000)).profile
    points = raw_points(profile.raw)
    assert len(points) == STEPS
    for point in points:
        needed = point.step.total_context_tokens + point.step.past_tokens + point.step.prompt_tokens
        assert point.problem.startswith("out of memory") == (needed > 20_000)
        if not point.problem:
            assert point.p10_s <= point.median_s <= point.p90_s
            assert 0 < point.floor_s < point.median_s
    assert profile.device["copy_bytes_per_s"] == 1e11


def test_kv_capacity_of_a_gpu_is_memory_less_weights_and_activations(options):
    gpu = replace(options, device="cuda", dtype="bf16", gpu_memory_utilization=0.8)
    profile = calibrated(gpu, CostBench()).profile
    weights, token = profile.model["weight_bytes"], profile.model["kv_bytes_per_token"]
    by_memory = (80e9 * 0.8 - weights - 1e9) // token
    by_free = (60e9 - 1e9 - 0.2 * 80e9) // token
    assert profile.kv_tokens == by_free < by_memory
    assert str(int(by_memory)) in profile.kv_source
    assert not profile.kv_source.startswith("assumed")


def test_the_capacity_measured_is_the_one_that_follows_from_the_profile(options):
    gpu = replace(options, device="cuda", dtype="bf16", gpu_memory_utilization=0.8)
    profile = calibrated(gpu, CostBench()).profile
    assert with_utilization(profile, 0.8).kv_tokens == profile.kv_tokens


def test_kv_capacity_of_a_cpu_is_half_of_what_was_available_with_the_weights_loaded(options):
    profile = calibrated(options, CostBench()).profile
    assert profile.kv_tokens == 30e9 // profile.model["kv_bytes_per_token"]
    assert "half of the 60.0 GB" in profile.kv_source


def test_a_model_that_leaves_no_room_for_a_cache_is_refused_before_it_is_timed(options):
    bench = CostBench()
    gpu = replace(options, device="cuda", dtype="bf16", gpu_memory_utilization=0.2)
    with pytest.raises(ProfileError, match="leave no room for a KV cache"):
        calibrated(gpu, bench)
    assert bench.closed
    assert not bench.calls
    assert not list(options.out.parent.iterdir())


def test_an_interruption_loses_nothing(options):
    calls = []

    def interrupt(step):
        calls.append(step)
        if len(calls) == 60:
            raise KeyboardInterrupt

    bench = CostBench(before=interrupt, noise=0.02)
    with pytest.raises(KeyboardInterrupt):
        calibrated(options, bench)
    assert bench.closed
    assert not options.out.exists()

    with pytest.raises(ProfileError, match="go on with --resume"):
        calibrated(options, CostBench())

    second = CostBench(noise=0.02, seed=1)
    resumed = calibrated(replace(options, resume=True), second).profile
    assert len(second.calls) == 5 * STEPS - 59
    whole = calibrated(replace(options, out=options.out.with_name("w.json")), CostBench()).profile
    assert [p.step for p in raw_points(resumed.raw)] == [p.step for p in raw_points(whole.raw)]
    assert resumed.cost.decode_s(8, 512) == pytest.approx(whole.cost.decode_s(8, 512), rel=0.05)


def test_a_budget_gives_a_profile_of_what_there_is_and_can_be_continued(options, monkeypatch):
    clock = iter(range(100_000))
    monkeypatch.setattr("calibrate.gpu.time.monotonic", lambda: next(clock))
    short = calibrated(replace(options, budget_s=40), CostBench())
    assert not short.complete
    assert short.partial.exists()
    assert short.profile.provenance["grid"] == f"40 of {STEPS} steps measured"
    rest = CostBench()
    full = calibrated(replace(options, resume=True), rest)
    assert full.complete
    assert len(rest.calls) == 5 * STEPS - 40


def test_too_little_for_a_fit_keeps_what_was_measured(options, monkeypatch):
    clock = iter(range(100_000))
    monkeypatch.setattr("calibrate.gpu.time.monotonic", lambda: next(clock))
    with pytest.raises(ProfileError, match=r"budget ended before .* go on with --resume"):
        calibrated(replace(options, budget_s=2), CostBench())
    assert options.out.with_name("p.json.partial").read_text().count("samples_s") == 2


def test_another_device_does_not_go_on_with_these_measurements(options, monkeypatch):
    clock = iter(range(100_000))
    monkeypatch.setattr("calibrate.gpu.time.monotonic", lambda: next(clock))
    calibrated(replace(options, budget_s=40), CostBench())
    other = CostBench()
    other.device_facts = lambda: {"name": "Bench 2"}
    with pytest.raises(ProfileError, match=r"other device: .*Bench 1.*, here is .*Bench 2"):
        calibrated(replace(options, resume=True), other)
    with pytest.raises(ProfileError, match=r"measured with model\.name"):
        calibrated(replace(options, resume=True, model="small"), CostBench())


def test_a_resumed_run_measures_the_device_once_and_refuses_another_seed(options, monkeypatch):
    clock = iter(range(100_000))
    with monkeypatch.context() as patch:
        patch.setattr("calibrate.gpu.time.monotonic", lambda: next(clock))
        calibrated(replace(options, budget_s=40), CostBench())
    with pytest.raises(ProfileError, match="measured with seed 0, this run has 1"):
        calibrated(replace(options, resume=True, seed=1), CostBench())
    rest = CostBench()
    rest.hardware = rest.memory = None
    assert calibrated(replace(options, resume=True), rest).complete


def test_the_profile_says_how_it_was_measured(options):
    bench = CostBench()
    first = bench.prepare

    def slower(step):
        run, later = first(step), bench.calls.count(step) > 1
        return lambda n: [sample_s * (1.2 if later else 1.0) for sample_s in run(n)]

    bench.prepare = slower
    provenance = calibrated(options, bench).profile.provenance
    assert provenance["drift"] == pytest.approx(0.2)
    steps = grid(CPU_QUICK, 4096)
    assert provenance["held_out_rows"] == held_out_rows(steps)
    assert provenance["warnings"] == []


def test_a_fit_that_misses_says_so_in_the_profile(options):
    profile = calibrated(options, CostBench(noise=0.9)).profile
    assert any("held-out error" in warning for warning in profile.provenance["warnings"])


def test_the_measured_ranges_end_where_the_memory_did(options):
    profile = calibrated(options, CostBench(fits=1000)).profile
    assert profile.measured_batch == (1, 12)
    assert profile.measured_prefill_tokens == (1, 512)
    assert profile.measured_context_tokens == (1, 768)


def test_an_earlier_profile_stays_until_the_new_one_is_whole(options):
    calibrated(options, CostBench())
    before = options.out.read_bytes()

    def interrupt(step):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        calibrated(options, CostBench(before=interrupt))
    assert options.out.read_bytes() == before


def test_the_file_is_named_after_what_was_measured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert calibrated(QUICK, CostBench()).path == Path("tiny-cpu-fp32.json")


def test_a_config_file_is_measured_as_well(tmp_path, options):
    config = tmp_path / "config.json"
    config.write_text(
        json.dumps(
            {
                "model_type": "qwen2",
                "hidden_size": 64,
                "intermediate_size": 128,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "num_hidden_layers": 2,
                "vocab_size": 100,
                "max_position_embeddings": 4096,
                "tie_word_embeddings": True,
            }
        )
    )
    given = replace(options, model=None, config=config)
    assert calibrated(given, CostBench()).profile.model["hidden"] == 64

    before = config.read_text()
    with pytest.raises(ProfileError, match="is the configuration itself"):
        calibrated(replace(given, out=config), CostBench())
    assert config.read_text() == before

    config.write_text(before.replace("4096", "100"))
    bench = CostBench()
    with pytest.raises(ProfileError, match="100 tokens of context, too few"):
        calibrated(given, bench)
    assert not bench.calls


@pytest.mark.parametrize("out", ["", ".", "..", "/"])
def test_a_folder_is_refused_before_anything_is_timed(tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    bench = CostBench()
    with pytest.raises(ProfileError, match="is a folder, expected a file name"):
        calibrated(replace(QUICK, out=Path(out)), bench)
    assert not bench.calls
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"model": None}, "expected one of --model NAME and --config FILE"),
        ({"config": Path("c.json")}, "expected one of --model NAME and --config FILE"),
        ({"seed": 2**63}, "--seed is 9223372036854775808, expected an integer of at most"),
        ({"threads": 1025}, "--threads is 1025, expected an integer of at most 1024"),
        ({"device": "tpu"}, "--device is 'tpu', expected one of cuda, cpu"),
        ({"dtype": "int4"}, "--dtype is 'int4', expected one of bf16, fp16, fp32"),
        ({"budget_s": 0}, "--budget is 0"),
        ({"seed": -1}, "--seed is -1"),
        ({"device": "cuda", "gpu_memory_utilization": 1.1}, "expected a share of at most 1"),
        ({"threads": 0}, "--threads is 0"),
        ({"device": "cuda", "threads": 2}, "--threads has no effect with --device cuda"),
        ({"gpu_memory_utilization": 0.5}, "has no effect with --device cpu"),
        ({"engine_overhead_s": 0.1}, "--engine-overhead-source go together"),
        ({"engine_overhead_source": "x"}, "--engine-overhead-source go together"),
        ({"engine_overhead_s": -1, "engine_overhead_source": "x"}, "--engine-overhead-s is -1"),
        ({"engine_overhead_request_s": 1.0}, "needs --engine-overhead-s"),
    ],
)
def test_options_that_make_no_sense_are_refused(changes, problem):
    with pytest.raises(ProfileError) as error:
        replace(QUICK, **changes)
    assert problem in str(error.value)


def test_an_unknown_model_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProfileError, match=r"qwen2\.5-coder-7b"):
        calibrated(replace(QUICK, model="qwen2.5-coder-7"), CostBench())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("8m", 480), ("1.5h", 5400)])
def test_durations(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["8", "m", "-8m", "0s", "8 minutes", "nan", ""])
def test_texts_that_are_no_durations(text):
    with pytest.raises(ProfileError, match="expected a time such as 90s, 8m or 1h"):
        seconds_of(text)
