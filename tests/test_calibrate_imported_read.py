"""Which tool's result a file is, and files that are none."""

import gzip
import json
from pathlib import Path

import pytest

from calibrate.imported import read
from calibrate.imported.read import read_results
from calibrate.profile import ProfileError

RESULTS = Path(__file__).parent / "fixtures" / "results"


@pytest.mark.parametrize(
    ("name", "tool", "runs"),
    [
        ("vllm-detailed.json", "vllm bench serve", 1),
        ("vllm-statistics.json", "vllm bench serve", 1),
        ("vllm-appended.jsonl", "vllm bench serve", 2),
        ("benchmark-serving.json", "vllm bench serve", 1),
        ("guidellm-0.3.json", "GuideLLM", 1),
        ("guidellm-0.8.json", "GuideLLM", 2),
        ("guidellm-0.8.yaml", "GuideLLM", 2),
        ("inference-perf-requests.json", "inference-perf", 1),
        ("inference-perf-0.1-requests.json", "inference-perf", 1),
        ("inference-perf-stage.json", "inference-perf", 1),
        ("inference-perf-0.1-stage.json", "inference-perf", 1),
    ],
)
def test_files_are_told_apart_by_content(tmp_path, name, tool, runs):
    anything = tmp_path / "result"
    anything.write_bytes((RESULTS / name).read_bytes())
    assert [run.tool for run in read_results(anything)] == [tool] * runs


def test_appended_results_are_a_run_each():
    first, second = read_results(RESULTS / "vllm-appended.jsonl")
    assert first.source == "vllm-appended.jsonl, run 1"
    assert (first.concurrency, second.concurrency) == (2, None)
    assert second.request_rate == 4


def refused(tmp_path, content):
    path = tmp_path / "result.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ProfileError) as caught:
        read_results(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def test_every_truncation_of_a_file_is_refused_in_one_line(tmp_path):
    for name in ("vllm-detailed.json", "inference-perf-stage.json", "guidellm-0.8.json"):
        content = (RESULTS / name).read_bytes().rstrip()
        for share in (0.001, 0.3, 0.6, 0.999):
            assert "cut off" in refused(tmp_path, content[: max(int(len(content) * share), 1)])


def test_an_appended_result_that_is_cut_off_names_its_line(tmp_path):
    content = (RESULTS / "vllm-appended.jsonl").read_bytes()
    assert ":2: is cut off" in refused(tmp_path, content[:-40])


def test_truncated_yaml_is_refused(tmp_path):
    content = (RESULTS / "guidellm-0.8.yaml").read_text()
    middle = content.index("strategy:") + 9
    refused(tmp_path, content[:middle] + " {")
    # Cut between lines it may still be YAML; but not a report.
    refused(tmp_path, "benchmarks:\n- config: 3\n")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        (" \n\n", "is empty"),
        (b"\xff\xfe\x00", "is no UTF-8 text"),
        (gzip.compress(b"{}", mtime=0), "is compressed"),
        ("arrival,prompt\n0,1\n", "is neither JSON nor GuideLLM's YAML"),
        ("{}", "its keys are none at all"),
        ("[]", "it is a JSON list"),
        ("[1, 2]", "it is a JSON list"),
        ('{"throughput": 3, "model": "x"}', "its keys are model, throughput"),
        ('{"schema_version": 1, "name": "x"}', "its keys are name, schema_version"),
        ('{"benchmarks": [3]}', "no result that is known"),
        ("[" * 100_000, "cut off|nested"),
    ],
)
def test_what_is_no_result_is_refused(tmp_path, content, words):
    message = refused(tmp_path, content)
    assert any(word in message for word in words.split("|")), message
    if "compressed" not in words:
        assert "expected" in message


def test_an_error_in_a_result_names_file_tool_and_place(tmp_path):
    content = json.loads((RESULTS / "vllm-detailed.json").read_text())
    content["ttfts"][1] = None
    message = refused(tmp_path, json.dumps(content))
    assert "vllm bench serve: ttfts[1] is None, expected a finite number" in message


def test_an_error_in_an_appended_result_names_its_run(tmp_path):
    lines = (RESULTS / "vllm-appended.jsonl").read_text().splitlines()
    content = json.loads(lines[1]) | {"itls": []}
    message = refused(tmp_path, f"{lines[0]}\n{json.dumps(content)}\n")
    assert "run 2: vllm bench serve: itls has 0 values" in message


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ProfileError, match=r"nowhere\.json: cannot read the results: No such file"):
        read_results(tmp_path / "nowhere.json")
    with pytest.raises(ProfileError, match="cannot read the results: Is a directory"):
        read_results(tmp_path)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(read, "MOST_BYTES", 100)
    assert "expected at most" in refused(tmp_path, "x" * 101)


def test_not_a_number_is_read_and_refused_where_it_matters(tmp_path):
    content = (RESULTS / "vllm-detailed.json").read_text()
    path = tmp_path / "nan.json"
    path.write_text(content.replace('"std_ttft_ms": 15.0', '"std_ttft_ms": NaN'))
    [run] = read_results(path)
    assert len(run.requests) == 3


def test_yaml_without_the_library_says_what_to_do(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    with pytest.raises(ProfileError, match="PyYAML"):
        read_results(RESULTS / "guidellm-0.8.yaml")
