"""Results of ``vllm bench serve``, and of benchmark_serving.py before it."""

import json
from pathlib import Path

import pytest

from calibrate.imported import vllm
from calibrate.profile import ProfileError

RESULTS = Path(__file__).parent / "fixtures" / "results"


def document(name="vllm-detailed.json", **changes):
    return json.loads((RESULTS / name).read_text()) | changes


def read(*args, **changes):
    [run] = vllm.read(document(*args, **changes), "here.json")
    return run


def test_a_detailed_result_has_every_request():
    run = read()
    assert (run.source, run.tool, run.model) == ("here.json", "vllm bench serve", "org/Model-1B")
    assert (run.date, run.concurrency, run.request_rate) == ("2026-01-31", 2, None)
    assert (run.requests_made, run.failed, run.summary, run.notes) == (3, 1, None, ())
    assert run.has_loads
    assert run.is_closed_loop
    first, second, _ = run.requests
    assert (first.prompt_tokens, first.output_tokens, first.error) == (16, 4, "")
    assert first.start_s == 0
    assert first.ttft_s == 0.02
    assert first.gaps_s == (0.01, 0.01, 0.02)
    assert first.e2e_s == pytest.approx(0.06)
    assert first.generating_s == pytest.approx(0.04)
    assert first.is_token_by_token
    assert second.start_s == pytest.approx(0.001)


def test_a_request_that_failed_keeps_the_last_line_of_its_traceback():
    failed = read().requests[2]
    assert failed.error == "ConnectionResetError: reset by peer"
    assert (failed.ttft_s, failed.e2e_s, failed.output_tokens) == (None, None, 0)


def test_a_request_without_a_token_failed_even_without_a_reason():
    run = read(errors=["", "", ""])
    assert [request.error for request in run.requests] == ["", "", "no answer"]
    assert run.failed == 1


def test_several_tokens_in_a_message_are_not_token_by_token():
    run = read(output_lens=[9, 3, 0])
    assert [request.is_token_by_token for request in run.requests] == [False, True, False]


def test_a_rate_is_a_number_and_inf_is_none():
    assert read(request_rate=4.5).request_rate == 4.5
    assert not read(request_rate=4.5).is_closed_loop


def test_without_details_there_are_statistics():
    run = read("vllm-statistics.json")
    assert run.requests == ()
    assert (run.requests_made, run.failed) == (3, 1)
    assert not run.has_loads
    assert run.summary is not None
    assert (run.summary.prompt_tokens, run.summary.output_tokens) == (24, 3.5)
    assert (run.summary.ttft_s, run.summary.tpot_s) == (0.03, 0.0165)
    assert "--save-detailed" in run.notes[0]


def test_old_files_without_starts_say_when_all_the_same_in_a_closed_loop():
    run = read("benchmark-serving.json")
    assert [request.start_s for request in run.requests] == pytest.approx([0, 0.06])
    assert run.has_loads
    assert "sent in order, 1 at a time" in run.notes[0]


def test_old_files_sent_all_at_once_without_a_limit():
    run = read("benchmark-serving.json", max_concurrency=None)
    assert [request.start_s for request in run.requests] == [0, 0]
    assert "all sent at once" in run.notes[0]


@pytest.mark.parametrize(
    "changes", [{"request_rate": 2.0}, {"errors": ["", "boom"]}, {"ramp_up_strategy": "linear"}]
)
def test_old_files_of_which_starts_do_not_follow_have_none(changes):
    run = read("benchmark-serving.json", **changes)
    assert not run.has_loads
    assert len(run.notes) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"itls": [[0.01]]}, "itls has 1 values and input_lens 3"),
        ({"output_lens": None}, "output_lens is no list"),
        ({"ttfts": [0.1, -1, 0]}, r"ttfts\[1\] is -1, expected a finite number >= 0"),
        ({"ttfts": [0.1, float("nan"), 0]}, r"ttfts\[1\] is nan"),
        ({"itls": [[0.01, "x"], [], []]}, r"itls\[0\]\[1\] is 'x'"),
        ({"itls": [[0.01], [[1]], []]}, r"itls\[1\]\[0\] is \[1\]"),
        ({"input_lens": [1.5, 2, 3]}, r"input_lens\[0\] is 1.5"),
        ({"start_times": [1.0]}, "start_times has 1 values, expected 3"),
        ({"max_concurrency": 0}, "max_concurrency is 0, expected an integer >= 1"),
        ({"request_rate": "fast"}, "request_rate is 'fast'"),
    ],
)
def test_a_wrong_value_is_named(changes, words):
    with pytest.raises(ProfileError, match=words):
        read(**changes)


def test_statistics_of_nothing_are_refused():
    with pytest.raises(ProfileError, match="completed is 0"):
        read("vllm-statistics.json", completed=0)


def test_an_unreadable_date_is_none():
    assert read(date="yesterday").date == ""
