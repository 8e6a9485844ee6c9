"""What another tool measured, beside its simulation."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from imported_cases import TRUE, USUAL, guidellm_document, simulated, vllm_document

from calibrate.imported import guidellm, vllm
from calibrate.imported.read import read_results
from calibrate.imported.result import Imported, ImportedRequest
from sim.cli import main
from sim.options import OptionError, RunOptions
from sim.validate.compare import compare
from sim.validate.imported import done_of, trace_and_replay
from sim.validate.replay import Setting, pair_of

RESULTS = Path(__file__).parent / "fixtures" / "results"
LOADED = USUAL[5]


@pytest.fixture(scope="module")
def loaded():
    return simulated(LOADED)


def compared(imported, profile=TRUE, seats=None):
    done = done_of(imported, seats, seed=0)
    pair = pair_of(
        done.job.trace, done.replayed, done.job.policy, Setting(profile, RunOptions()), 0
    )
    return pair, compare([(pair.measured, pair.simulated)], np.random.default_rng(0))


@pytest.mark.parametrize("tool", ["vllm", "guidellm"])
def test_a_simulation_is_told_from_itself_by_nothing(loaded, tool):
    if tool == "vllm":
        [imported] = vllm.read(vllm_document(LOADED, loaded), "f")
    else:
        [imported] = guidellm.read(guidellm_document([(LOADED, loaded)]), "f")
    _, comparison = compared(imported)
    assert comparison.both_finished == comparison.submitted == LOADED.n
    for error in comparison.errors:
        if error.error is not None:
            assert error.error.mean == pytest.approx(0, abs=0.05), error.name


def test_a_profile_that_is_ten_per_cent_slow_is_found_out(loaded):
    [imported] = vllm.read(vllm_document(LOADED, loaded), "f")
    fixed = TRUE.cost.decode_fixed
    slow = replace(
        TRUE,
        cost=replace(
            TRUE.cost, decode_fixed=replace(fixed, y=tuple(1.1 * value for value in fixed.y))
        ),
    )
    _, comparison = compared(imported, slow)
    error = comparison.error("tpot.p50").error
    assert 3 < error.mean < 12


def test_the_arrivals_are_the_instants_of_sending(loaded):
    [imported] = vllm.read(vllm_document(LOADED, loaded), "f")
    trace, replayed = trace_and_replay(imported)
    starts = sorted(request.start_s for request in imported.requests)
    assert trace.arrival_s == pytest.approx(starts, abs=1e-9)
    assert [record.id for record in replayed.records] == list(range(LOADED.n))
    assert replayed.end_ps == max(record.finished_ps for record in replayed.records)


def test_pooled_gaps_are_those_of_the_file(loaded):
    [imported] = vllm.read(vllm_document(LOADED, loaded), "f")
    pair, _ = compared(imported)
    gaps = np.concatenate([request.gaps_s for request in imported.requests])
    itl = pair.measured.summary()["itl_s"]
    assert itl["p50"] == pytest.approx(np.percentile(gaps, 50), rel=1e-6)
    assert itl["p99"] == pytest.approx(np.percentile(gaps, 99), rel=1e-6)


def test_requests_that_failed_are_counted_and_keep_their_reason():
    [imported] = read_results(RESULTS / "vllm-detailed.json")
    pair, comparison = compared(imported)
    assert pair.measured.summary()["statuses"]["failed"] == 1
    assert (comparison.submitted, comparison.both_finished) == (3, 2)
    assert any("reset by peer" in warning for warning in pair.measured.warnings)


def test_tokens_of_one_message_are_spread_over_the_time_to_the_next():
    request = ImportedRequest(10, 5, 0.0, 1.0, 3.0, (1.0, 1.0))
    imported = Imported("f", "t", requests=(request,), requests_made=1)
    _, replayed = trace_and_replay(imported)
    assert replayed.records[0].reply.token_s == pytest.approx((1, 1.5, 2, 2.5, 3))


def test_an_answer_of_one_token_ends_with_it():
    request = ImportedRequest(10, 1, 0.0, 1.0, 1.0)
    pair, _ = compared(Imported("f", "t", requests=(request,), requests_made=1))
    assert pair.measured.summary()["e2e_s"]["p50"] == 1
    assert pair.measured.summary()["tpot_s"]["p50"] is None


def test_a_request_that_was_not_streamed_is_one_that_failed():
    rows = (ImportedRequest(10, 5, 0.0, 1.0, 2.0), ImportedRequest(10, 5, 0.0, None, 2.0))
    pair, _ = compared(Imported("f", "t", requests=rows, requests_made=2))
    assert pair.measured.summary()["statuses"]["failed"] == 1


def test_the_engines_seats_are_those_asked_for(loaded):
    [imported] = vllm.read(vllm_document(LOADED, loaded), "f")
    pair, _ = compared(imported, seats=4)
    assert pair.simulated.summary()["ttft_s"]["p50"] > 5 * pair.measured.summary()["ttft_s"]["p50"]


@pytest.mark.parametrize(
    ("imported", "words"),
    [
        (Imported("f", "t"), r"f \(t\) has only statistics"),
        (
            Imported("f", "t", requests=(ImportedRequest(1, 1, 0.0, 1.0, 1.0),), requests_made=3),
            "lists 1 of 3 requests",
        ),
        (
            Imported("f", "t", requests=(ImportedRequest(1, 1, None, 1.0, 1.0),), notes=("why",)),
            "does not say when requests were sent, nor does it follow: why",
        ),
        (
            Imported("f", "t", requests=(ImportedRequest(1, 1, 0.0, None, 1.0),)),
            "no request with a time to the first token",
        ),
    ],
)
def test_what_is_no_replay_is_refused(imported, words):
    with pytest.raises(OptionError, match=words):
        trace_and_replay(imported)


# -- saber validate --measured ---------------------------------------------------------------------


@pytest.fixture
def here(tmp_path, monkeypatch, loaded):
    monkeypatch.chdir(tmp_path)
    TRUE.save("true.json")
    Path("result.json").write_text(json.dumps(vllm_document(LOADED, loaded)))


def run(capsys, *argv):
    code = main(["validate", *map(str, argv)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_file_is_validated_without_a_server(capsys, here):
    code, out, err = run(
        capsys, "--measured", "result.json", "--profile", "true.json", "--sla", "unloaded*2",
        "--out", "both", "--figure", "cdf.png", "--json",
    )  # fmt: skip
    assert code == 0, err
    document = json.loads(out)
    assert document["outcome"] == "within"
    assert document["configuration"]["tool"] == "vllm bench serve"
    names = {verdict["name"] for verdict in document["policies"][0]["verdicts"]}
    assert names == {"e2e.p50", "tpot.p50", "ttft.p50", "goodput"}
    assert Path("cdf.png").stat().st_size > 5000
    assert {"validation.json", "requests.csv", "measured-result.json.parquet"} <= {
        path.name for path in Path("both").iterdir()
    }


def test_every_run_of_a_file_has_a_table(capsys, here):
    line = Path("result.json").read_text()
    Path("two.jsonl").write_text(f"{line}\n{line}\n")
    code, out, err = run(capsys, "--measured", "two.jsonl", "--profile", "true.json")
    assert code == 0, err
    assert "two.jsonl of vllm bench serve, under static(max_num_seqs=256): two.jsonl, run 1" in out
    assert "two.jsonl, run 2" in out


def test_a_simulation_that_is_off_exits_with_1(capsys, here):
    code, out, _ = run(
        capsys, "--measured", "result.json", "--profile", "true.json", "--max-num-seqs", "4"
    )
    assert code == 1
    assert "Outside: " in out


def test_a_profile_of_the_same_file_is_no_validation(capsys, here):
    replace(TRUE, provenance={"files": [{"source": "result.json"}]}).save("same.json")
    _, _, err = run(capsys, "--measured", "result.json", "--profile", "same.json")
    assert "says how well it fits, not whether it is right" in err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--rps", "3"], "--rps has no effect with --measured result.json"),
        (["--policies", "saber"], "--policies has no effect"),
        (["http://x/v1"], "URL has no effect"),
        (["--model", "m"], "--model has no effect"),
        (["--repeats", "1"], "--repeats has no effect"),
        (["--sla", "fast"], "SLA 'fast': unknown name"),
    ],
)
def test_what_has_no_effect_on_a_file_is_refused(capsys, here, words, complaint):
    code, out, err = run(capsys, "--measured", "result.json", "--profile", "true.json", *words)
    assert (code, out) == (2, "")
    assert complaint in err


def test_neither_a_server_nor_a_file_is_refused(capsys, here):
    code, _, err = run(capsys, "--profile", "true.json")
    assert code == 2
    assert "expected URL and --model, or --measured FILE" in err
