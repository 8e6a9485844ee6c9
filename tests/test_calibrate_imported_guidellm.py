"""Reports of GuideLLM."""

import json
from pathlib import Path

import pytest

from calibrate.imported import guidellm
from calibrate.imported.read import read_results
from calibrate.profile import ProfileError

RESULTS = Path(__file__).parent / "fixtures" / "results"


def document(name="guidellm-0.8.json"):
    return json.loads((RESULTS / name).read_text())


def test_every_benchmark_of_a_report_is_a_run():
    concurrent, poisson = guidellm.read(document(), "b.json")
    assert concurrent.source == "b.json, benchmark 1"
    assert (concurrent.tool, concurrent.version) == ("GuideLLM", "0.8.1")
    assert (concurrent.model, concurrent.date) == ("org/Model-1B", "2026-01-31")
    assert (concurrent.concurrency, concurrent.request_rate) == (2, None)
    assert (poisson.concurrency, poisson.request_rate) == (None, 4.0)


def test_requests_of_every_status_are_there_in_order_of_their_start():
    run = guidellm.read(document(), "b.json")[0]
    assert run.has_loads
    assert [request.prompt_tokens for request in run.requests] == [16, 32, 64, 64]
    assert [request.start_s for request in run.requests] == pytest.approx([0, 0.1, 0.2, 0.26])
    assert [request.error for request in run.requests] == [
        "",
        "",
        "HTTPStatusError: 503 Service Unavailable",
        "cut off when the run ended",
    ]
    assert run.failed == 2


def test_latencies_are_to_the_first_and_the_last_token():
    first, _, failed, cut = guidellm.read(document(), "b.json")[0].requests
    assert first.ttft_s == pytest.approx(0.02, abs=1e-6)
    assert first.e2e_s == pytest.approx(0.06, abs=1e-6)  # not to the end of the stream
    assert first.gaps_s == ()
    assert (failed.ttft_s, failed.e2e_s) == (None, pytest.approx(0.05, abs=1e-6))
    assert cut.e2e_s == pytest.approx(0.05, abs=1e-6)


def test_requests_that_are_not_listed_leave_the_load_unknown():
    run = guidellm.read(document(), "b.json")[1]
    assert (len(run.requests), run.requests_made) == (1, 4)
    assert not run.has_loads
    assert "only 1 of 4 requests" in run.notes[0]


def test_cached_prompts_are_told():
    report = document()
    report["benchmarks"][0]["requests"]["successful"][0]["cached_tokens"] = 8
    run = guidellm.read(report, "b.json")[0]
    assert "8 prompt tokens came from the server's prefix cache" in run.notes[0]


def test_version_0_3_has_the_instants_elsewhere():
    [run] = guidellm.read(document("guidellm-0.3.json"), "b.json")
    assert (run.version, run.model, run.date) == ("", "org/Model-1B", "2026-01-31")
    assert run.concurrency == 1
    assert run.has_loads
    assert [request.error for request in run.requests] == ["", "", "timed out"]
    assert run.requests[0].ttft_s == pytest.approx(0.02, abs=1e-6)
    assert run.requests[0].e2e_s == pytest.approx(0.06, abs=1e-6)
    assert run.requests[2].e2e_s == pytest.approx(0.05, abs=1e-6)


def test_yaml_is_the_same_as_json():
    ours = read_results(RESULTS / "guidellm-0.8.yaml")
    theirs = read_results(RESULTS / "guidellm-0.8.json")
    assert [run.requests for run in ours] == [run.requests for run in theirs]


def broken(change):
    report = document()
    change(report["benchmarks"][0])
    return report


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda b: b["requests"]["successful"][0]["info"]["timings"].update(request_start=None),
            r"benchmarks\[0\].requests.successful\[0\] has no start",
        ),
        (
            lambda b: b["requests"]["successful"][1].update(output_tokens=None),
            r"successful\[1\] has 32 prompt and None output tokens",
        ),
        (
            lambda b: b["requests"]["successful"][0]["info"]["timings"].update(
                first_token_iteration=1.0
            ),
            "its first token is before its start",
        ),
        (
            lambda b: b["requests"].update(successful=[3]),
            r"successful\[0\] is 3, expected a JSON object",
        ),
        (lambda b: b["config"]["strategy"].update(streams="two"), "strategy.streams is 'two'"),
        (lambda b: b.update(start_time=1e300), "start_time is 1e\\+300, expected seconds since"),
    ],
)
def test_a_wrong_value_is_named(change, words):
    with pytest.raises(ProfileError, match=words):
        guidellm.read(broken(change), "b.json")


def test_a_report_without_benchmarks_is_refused():
    with pytest.raises(ProfileError, match="benchmarks is empty"):
        guidellm.read({"benchmarks": []}, "b.json")
