"""The steps that imported runs determine, held against the cost they were simulated with."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from imported_cases import (
    TRUE,
    USUAL,
    Run,
    guidellm_document,
    inference_perf_document,
    noisy,
    requests_of,
    simulated,
    vllm_document,
)

from calibrate.imported import guidellm, inference_perf, vllm
from calibrate.imported.estimate import estimate, tell_contexts_apart
from calibrate.imported.result import Imported, ImportedRequest
from calibrate.predict import predict_s


@pytest.fixture(scope="module", params=["chunked", "prefill-first"])
def engine(request):
    profile = replace(TRUE, discipline=request.param)
    return profile, [(run, simulated(run, profile)) for run in USUAL]


def vllm_runs(pairs, change=lambda document: document, **options):
    documents = [change(vllm_document(run, result, **options)) for run, result in pairs]
    return [run for document in documents for run in vllm.read(document, "f.json")]


def off_pct(found, profile=TRUE):
    """Return how far decode steps and prompts are from the truth, in percent, the most of each."""
    decodes = [m.median_s / predict_s(profile.cost, m.step) - 1 for m in found.decodes]
    overhead_s = found.client_overhead_s or 0.0
    prompts = [
        (m.median_s + overhead_s) / (predict_s(profile.cost, m.step) + profile.client_overhead_s)
        - 1
        for m in found.prefills
    ]
    return 100 * np.abs(decodes).max(), 100 * np.abs(prompts).max()


def check(found, decode_pct, prompt_pct, largest):
    worst_decode, worst_prompt = off_pct(found)
    assert worst_decode < decode_pct
    assert worst_prompt < prompt_pct
    assert {m.step.prompt_tokens for m in found.prefills} == {16, 512, 2048}
    assert max(m.step.batch for m in found.decodes) == largest
    assert tell_contexts_apart(found.decodes)


def test_gaps_between_tokens_give_the_steps_exactly(engine):
    profile, pairs = engine
    found = estimate(vllm_runs(pairs), profile.discipline)
    check(found, 0.5, 1e-6, 16)
    assert found.sources["requests"] == found.sources["statistics"] == ()


def test_the_client_overhead_is_told_by_the_shortest_prompts(engine):
    profile, pairs = engine
    found = estimate(vllm_runs(pairs), profile.discipline)
    # What a prompt of a token takes beyond a decode step, which is not nothing on this engine.
    assert found.client_overhead_s == pytest.approx(profile.client_overhead_s, abs=6e-4)


def test_old_results_without_starts_give_the_same(engine):
    profile, pairs = engine
    check(estimate(vllm_runs(pairs, starts=False), profile.discipline), 0.5, 1e-6, 16)


@pytest.mark.parametrize("bursts", [0.0, 0.5])
def test_late_tokens_and_bursts_hardly_matter(engine, bursts):
    profile, pairs = engine
    runs = vllm_runs(pairs, lambda document: noisy(document, bursts=bursts))
    # Every time to the first token is late by 0.2 ms on average.
    check(estimate(runs, profile.discipline), 1.5, 3.0, 16)


def test_requests_as_a_whole_give_them_roughly(engine):
    profile, pairs = engine
    runs = guidellm.read(guidellm_document(pairs), "g.json")
    found = estimate(runs, profile.discipline)
    check(found, 8, 0.1, 16)
    assert found.sources["gaps"] == ()
    assert {1, 4, 16} <= set(found.sources["requests"])


def test_messages_of_inference_perf_are_as_good_as_gaps(engine):
    profile, pairs = engine
    runs = [
        run
        for _, result in pairs
        for run in inference_perf.read(
            json.loads(json.dumps(inference_perf_document(result))), "i.json"
        )
    ]
    check(estimate(runs, profile.discipline), 0.5, 0.01, 16)


def test_statistics_of_closed_loops_give_them_roughly(engine):
    profile, pairs = engine
    found = estimate(vllm_runs(pairs, detailed=False), profile.discipline)
    check(found, 10, 0.1, 16)
    assert found.sources["statistics"] == (1, 4, 16)


def test_requests_that_arrive_at_a_rate_are_as_good_as_a_closed_loop():
    run = Run(200, 64, rate=4.0, n=150, spread=0.8)
    found = estimate(vllm_runs([(run, simulated(run))]), "chunked")
    decode, prompt = off_pct(found)
    assert decode < 0.5
    assert prompt < 6  # lengths taken together
    assert len(found.prefills) >= 3
    assert len({m.step.batch for m in found.decodes}) >= 3


def test_one_run_at_a_load_says_nothing_of_prompts():
    run = Run(256, 128, 8)
    found = estimate(vllm_runs([(run, simulated(run))]), "chunked")
    assert found.prefills == ()
    assert found.client_overhead_s is None


def test_a_cold_start_is_not_a_measurement():
    rows = [(900, 1.0)] + [(100, 0.1)] * 5
    requests = tuple(
        ImportedRequest(prompt, 1, 10.0 * i, ttft_s, ttft_s)
        for i, (prompt, ttft_s) in enumerate(rows)
    )
    found = estimate([Imported("f", "t", requests=requests, requests_made=6)], "chunked")
    assert [m.step.prompt_tokens for m in found.prefills] == [100]


def test_a_first_token_that_came_with_the_second_is_left_out():
    early = (0.1, (0.01,) * 10)
    late = (0.15, (1e-6,) * 5 + (0.01,) * 5)
    requests = tuple(
        ImportedRequest(100, 11, 10.0 * i, ttft_s, ttft_s + sum(gaps_s), gaps_s)
        for i, (ttft_s, gaps_s) in enumerate([early, early, early, late, late, late, late])
    )
    found = estimate([Imported("f", "t", requests=requests, requests_made=7)], "chunked")
    [prefill] = found.prefills
    assert prefill.samples_s == (0.1,) * 3


def test_failed_requests_are_no_samples_but_a_load():
    run = Run(100, 64, 2, n=24)
    result = simulated(run)
    document = vllm_document(run, result)
    for i in range(0, run.n, 2):  # as if one of the two users had always failed at its end
        document["errors"][i] = "boom"
    found = estimate(vllm.read(document, "f"), "chunked")
    assert {m.step.batch for m in found.decodes} == {2}


def test_many_batches_are_thinned_out():
    run = Run(64, 400, 96, n=160, spread=0.5)
    found = estimate(vllm_runs([(run, simulated(run))]), "chunked")
    batches = sorted({m.step.batch for m in found.decodes})
    large = [batch for batch in batches if batch > 16]
    assert large
    assert all(b / a > 2**0.125 for a, b in pairwise(large))


def test_the_simulated_requests_are_whole():
    """The helper's own check: times of tokens add up to the latency."""
    run = USUAL[3]
    result = simulated(run)
    for row, e2e_ps in zip(requests_of(result), result.columns.e2e_ps.tolist(), strict=True):
        assert row["ttft_s"] + sum(row["gaps_s"]) == pytest.approx(e2e_ps / 1e12, abs=1e-9)
