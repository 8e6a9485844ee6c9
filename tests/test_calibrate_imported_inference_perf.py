"""Lifecycle reports of inference-perf."""

import json
from pathlib import Path

import pytest

from calibrate.imported import inference_perf
from calibrate.profile import ProfileError

RESULTS = Path(__file__).parent / "fixtures" / "results"


def document(name="inference-perf-requests.json"):
    return json.loads((RESULTS / name).read_text())


def read(content):
    [run] = inference_perf.read(content, "r.json")
    return run


def test_a_report_of_requests_has_them_in_order_of_their_start():
    run = read(document())
    assert (run.tool, run.model) == ("inference-perf", "org/Model-1B")
    assert (run.concurrency, run.request_rate) == (None, None)
    assert run.has_loads
    assert [request.start_s for request in run.requests] == pytest.approx([0, 0.1, 0.2])
    first = run.requests[0]
    assert (first.prompt_tokens, first.output_tokens) == (16, 4)
    assert first.ttft_s == pytest.approx(0.02)
    assert first.e2e_s == pytest.approx(0.06)  # to the last token, not the end of the answer
    assert first.gaps_s == pytest.approx((0.01, 0.01, 0.02))


def test_the_server_counts_tokens_where_it_does_and_messages_are_as_they_came():
    second = read(document()).requests[1]
    assert (second.prompt_tokens, second.output_tokens) == (33, 3)  # the client says 32 and 2
    assert second.gaps_s == pytest.approx((0.01, 0.01))
    assert second.is_token_by_token


def test_what_failed_keeps_its_kind_and_its_time():
    failed = read(document()).requests[2]
    assert failed.error == "ClientConnectorError"
    assert failed.e2e_s == pytest.approx(0.05)
    assert failed.ttft_s is None


def test_the_first_versions_keep_the_times_elsewhere():
    [request] = read(document("inference-perf-0.1-requests.json")).requests
    assert (request.prompt_tokens, request.output_tokens) == (16, 4)
    assert request.gaps_s == pytest.approx((0.01, 0.01, 0.02))


def test_answers_that_were_not_streamed_have_an_end_alone():
    rows = document("inference-perf-0.1-requests.json")
    rows[0]["info"]["output_token_times"] = []
    run = read(rows)
    assert run.requests[0].ttft_s is None
    assert run.requests[0].e2e_s == pytest.approx(0.061)
    assert "not streamed" in run.notes[0]


def test_a_stage_has_statistics_and_its_concurrency():
    run = read(document("inference-perf-stage.json"))
    assert run.requests == ()
    assert (run.concurrency, run.request_rate) == (2, None)
    assert (run.requests_made, run.failed) == (3, 1)
    assert run.summary is not None
    assert (run.summary.prompt_tokens, run.summary.output_tokens) == (24.5, 3.5)
    assert run.summary.ttft_s == 0.03
    assert run.summary.tpot_s == pytest.approx((0.07 - 0.035) / 2.5)


def test_statistics_of_the_first_versions_have_other_names():
    run = read(document("inference-perf-0.1-stage.json"))
    assert (run.concurrency, run.request_rate) == (None, 3.0)
    assert run.summary is not None
    assert (run.summary.prompt_tokens, run.summary.output_tokens) == (24.5, 3.0)


def test_a_report_without_the_requests_themselves_names_no_model():
    rows = document()
    for row in rows:
        row["request"] = None
    assert read(rows).model == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: rows[0].update(end_time=1.0), r"\[0\].end_time is before its start_time"),
        (lambda rows: rows[0].update(start_time="now"), r"\[0\].start_time is 'now'"),
        (
            lambda rows: rows[1]["info"]["response_metrics"].update(chunk_times=[100.3, 100.2]),
            r"\[1\].info.output_token_times goes back in time",
        ),
        (
            lambda rows: rows[1]["info"]["response_metrics"].update(chunk_times=[1.0]),
            r"\[1\]: its first token is before its start_time",
        ),
        (lambda rows: rows.append(None), r"requests\[3\] is None, expected a JSON object"),
    ],
)
def test_a_wrong_value_is_named(change, words):
    rows = document()
    change(rows)
    with pytest.raises(ProfileError, match=words):
        read(rows)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s["successes"].update(count=0), "successes.count is 0"),
        (lambda s: s["successes"]["latency"].clear(), "successes.latency.time_to_first_token is"),
    ],
)
def test_statistics_that_say_nothing_are_refused(change, words):
    content = document("inference-perf-stage.json")
    change(content)
    with pytest.raises(ProfileError, match=words):
        read(content)
