"""Profiles from imported runs: what they say, and what they refuse to say."""

from dataclasses import replace

import pytest
from imported_cases import TRUE, USUAL, Run, guidellm_document, noisy, simulated, vllm_document

from calibrate.describe import describe_profile
from calibrate.imported import guidellm, vllm
from calibrate.imported.profile import ImportOptions, imported_profile
from calibrate.imported.result import Imported
from calibrate.library import load_profile
from calibrate.profile import ProfileError
from calibrate.speed import fit_all
from sim.simulation import simulate
from traces.workloads import workload


@pytest.fixture(scope="module")
def pairs():
    return [(run, simulated(run)) for run in USUAL]


@pytest.fixture(scope="module")
def runs(pairs):
    return [
        imported
        for i, (run, result) in enumerate(pairs)
        for imported in vllm.read(vllm_document(run, result), f"{i}.json")
    ]


@pytest.fixture(scope="module")
def profile(runs):
    return imported_profile(runs, ImportOptions())


def test_the_fitted_cost_is_the_one_that_was_simulated(profile):
    for batch in (1, 2, 4, 8, 12, 16):
        for context in (200, 400, 1500):
            true_s = TRUE.cost.decode_s(batch, batch * context)
            assert profile.cost.decode_s(batch, batch * context) == pytest.approx(true_s, rel=5e-3)
    for tokens in (16, 64, 256, 1024, 2048):
        true_s = TRUE.cost.prefill_s(tokens) + TRUE.client_overhead_s
        ours = profile.cost.prefill_s(tokens) + profile.client_overhead_s
        assert ours == pytest.approx(true_s, rel=5e-3)


def test_a_simulation_with_it_is_like_one_with_the_truth(profile):
    trace = workload("W3", rps=3, n=80, seed=1)
    ours = simulate(trace, profile, policy="static(16)").summary()
    theirs = simulate(trace, TRUE, policy="static(16)").summary()
    for latency in ("e2e_s", "tpot_s", "ttft_s"):
        for part in ("p50", "p90"):
            assert ours[latency][part] == pytest.approx(theirs[latency][part], rel=0.03)


def test_it_says_what_it_is(profile, tmp_path):
    assert profile.name == "model-1b-imported"
    assert profile.method == "imported"
    assert profile.date == "2026-01-31"
    assert profile.model["name"] == "org/Model-1B"
    assert profile.discipline == "chunked"
    assert profile.engine_overhead_s == 0
    assert profile.measured_batch == (1, 16)
    assert profile.measured_prefill_tokens == (16, 2048)
    assert len(profile.provenance["files"]) == len(USUAL)
    assert set(profile.sources) >= {"cost.decode.step_s", "client_overhead_s", "discipline"}
    profile.save(tmp_path / "p.json")
    assert load_profile(tmp_path / "p.json") == profile
    describe_profile(profile)


def test_its_capacity_is_assumed_unless_given(runs, profile):
    assert profile.kv_source.startswith("assumed")
    assert profile.kv_tokens >= 1_000_000
    assert any("assumed" in caveat for caveat in profile.caveats)
    given = imported_profile(runs, ImportOptions(kv_tokens=50_000, model="mine"))
    assert (given.kv_tokens, given.kv_source) == (50_000, "given with --kv-tokens")
    assert given.name == "mine-imported"


def test_it_holds_speeds_for_the_estimator(profile):
    points = profile.speed_points
    assert points is not None
    assert {1.0} < {load for load, _ in points}
    assert max(load for load, _ in points) == pytest.approx(16, abs=0.2)
    models = fit_all(points)
    alone = 1 / TRUE.cost.decode_s(1, 600)
    assert models["usl"].speed(1) == pytest.approx(alone, rel=0.15)
    assert models["usl"].speed(16) < models["usl"].speed(1)


def test_the_same_runs_give_the_same_profile(runs, profile):
    assert imported_profile(runs, ImportOptions()) == profile


def test_contexts_too_close_to_tell_apart_cost_nothing(pairs):
    runs = [
        run
        for plan in (Run(600, 64, 1, n=8), Run(700, 64, 1, n=8), Run(650, 64, 8))
        for run in vllm.read(vllm_document(plan, simulated(plan)), "f")
    ]
    profile = imported_profile(runs, ImportOptions())
    assert not any(profile.cost.decode_context.y)
    for batch in (1, 8):
        true_s = TRUE.cost.decode_s(batch, batch * 680)
        assert profile.cost.decode_s(batch, batch * 680) == pytest.approx(true_s, rel=0.01)
    warnings = " ".join(profile.provenance["warnings"])
    assert "all contexts were about as long" in warnings
    assert "client's own time is within the prefills" in warnings
    assert profile.client_overhead_s == 0
    assert profile.sources["client_overhead_s"].startswith("unknown")
    assert profile.intervals == {}


def refused(runs, **options):
    with pytest.raises(ProfileError) as caught:
        imported_profile(runs, ImportOptions(**options))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_what_does_not_determine_a_cost_is_refused_with_runs_that_would(runs):
    message = refused(runs[:1])
    assert "prompts of 1 length(s) [16] were alone" in message
    assert "decode steps of 1 batch size(s) [1] could be told" in message
    assert "vllm bench serve --save-result --save-detailed" in message
    assert "--max-concurrency 1" in message
    message = refused(runs[:3])
    assert "prompts of" not in message
    assert "batch size(s) [1]" in message
    assert "prompts of 0 length(s) []" in refused(runs[4:5])


def test_notes_on_the_files_are_part_of_a_refusal(pairs):
    [(run, result)] = pairs[4:5]
    [only] = vllm.read(vllm_document(run, result, detailed=False), "s.json")
    assert "s.json: only statistics: it was saved without --save-detailed" in refused([only])


def test_models_that_differ_or_are_unknown_are_refused(runs):
    other = replace(runs[0], model="other")
    assert "org/Model-1B, other: expected those of one, or --model" in refused([*runs, other])
    imported_profile([*runs, other], ImportOptions(model="both"))
    nameless = [replace(run, model="") for run in runs]
    assert "expected --model NAME" in refused(nameless)


def test_options_are_checked():
    with pytest.raises(ProfileError, match="--discipline is 'fifo'"):
        ImportOptions(discipline="fifo")
    with pytest.raises(ProfileError, match="--kv-tokens is 0"):
        ImportOptions(kv_tokens=0)


def test_a_client_that_did_not_keep_up_is_a_warning(pairs):
    runs = [
        run
        for i, (plan, result) in enumerate(pairs)
        for run in vllm.read(noisy(vllm_document(plan, result), bursts=0.5), f"{i}.json")
    ]
    warnings = imported_profile(runs, ImportOptions()).provenance["warnings"]
    assert any("of the tokens came together" in line for line in warnings)


def test_many_failures_are_a_warning(runs):
    failing = [replace(run, failed=run.requests_made // 2) for run in runs]
    warnings = imported_profile(failing, ImportOptions()).provenance["warnings"]
    assert any("requests failed" in line for line in warnings)
    assert not any(
        "failed" in line for line in imported_profile(runs, ImportOptions()).provenance["warnings"]
    )


def test_steps_from_whole_requests_are_a_warning(pairs):
    profile = imported_profile(guidellm.read(guidellm_document(pairs), "g"), ImportOptions())
    assert any("whole requests" in line for line in profile.provenance["warnings"])
    assert profile.software["tools"] == ["GuideLLM 0.8.1"]


def test_runs_of_nothing_are_refused():
    assert "prompts of 0 length" in refused([Imported("f", "t", model="m")])
