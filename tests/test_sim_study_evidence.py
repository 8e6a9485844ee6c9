"""Records without instants: what can be read off them, on runs whose instants are known."""

from pathlib import Path

import numpy as np
import pytest

from calibrate.library import load_profile
from sim.options import OptionError
from sim.simulation import simulate
from sim.study.evidence import (
    arrival_samples,
    ceiling,
    decoded_tokens,
    least_contradiction,
    order_rules,
    read_runs,
    together,
)
from traces.workloads import workload

PROFILE = load_profile("paper-qwen2.5-coder-3b")
RECORDS = Path(__file__).parents[2] / "shared/data/saber_artifact/saber_requests.csv"

HEADER = "workload,rps,request,task,wait_s,execution_s,total_s,sla_s,low_priority,sla_met"


def run_of(seed=0, rps=10):
    """Return a simulated run and its requests in the order of completion."""
    requests = simulate(workload("W3", rps, 100, seed), PROFILE, policy="saber", seed=seed).requests
    return requests, requests.sort_values("finished_s", kind="stable")


def test_records_are_read_with_what_follows_from_them(tmp_path):
    path = tmp_path / "requests.csv"
    path.write_text(
        f"{HEADER}\n"
        "W3,10,0,code_qna,0.1,0.5,0.6,1,no,yes\n"
        "W3,10,1,code_translation,2.0,11.0,14.0,12,yes,no\n"
    )
    runs = read_runs(path)

    assert runs["short"].tolist() == [True, False]
    assert runs["adds_up"].tolist() == [True, False]
    assert runs["low_priority"].tolist() == [False, True]
    assert runs["sla_met"].tolist() == [True, False]
    assert runs["tokens_per_s"].tolist() == [50 / 0.5, 616 / 11]


def test_a_missing_column_is_named(tmp_path):
    path = tmp_path / "requests.csv"
    path.write_text(HEADER.replace("wait_s", "waited") + "\n")

    with pytest.raises(OptionError, match="no column 'wait_s'"):
        read_runs(path)


def test_the_instants_of_a_run_break_no_rule_and_others_do():
    requests, done = run_of()
    rules, limits = order_rules(
        done["id"].to_numpy(), (done["finished_s"] - done["arrival_s"]).to_numpy()
    )

    assert (rules @ requests["arrival_s"].to_numpy() <= limits + 1e-9).all()
    assert (rules @ requests["arrival_s"].to_numpy()[::-1] > limits + 1e-9).any()
    assert least_contradiction(rules, limits).sum() == pytest.approx(0, abs=1e-9)


def test_a_contradiction_is_as_large_as_the_least_change_that_mends_it():
    # Both arrive in order; the second ends first although it takes 3 s longer.
    rules, limits = order_rules(np.array([1, 0]), np.array([4.0, 1.0]))

    assert least_contradiction(rules, limits).sum() == pytest.approx(3.0)


def test_sampled_arrivals_are_near_the_true_ones_and_keep_the_orders():
    requests, done = run_of(seed=2)
    total_s = (done["finished_s"] - done["arrival_s"]).to_numpy()
    rng = np.random.default_rng(0)
    samples = arrival_samples(done["id"].to_numpy(), total_s, 10.0, rng, 12)
    true_s = requests["arrival_s"].to_numpy() - requests["arrival_s"].iloc[0]

    assert samples.shape == (12, 100)
    assert (samples[:, 0] == 0).all()
    assert (np.diff(samples, axis=1) >= -1e-9).all()
    assert abs(samples.mean(axis=0) - true_s).mean() < 0.4
    assert abs(samples[:, -1].mean() - true_s[-1]) < 1.5
    rules, limits = order_rules(done["id"].to_numpy(), total_s)
    assert (rules @ samples.T <= limits[:, None] + 1e-6).all()


def test_a_wrong_rate_beforehand_does_not_hide_the_span():
    """Requests that came at 5 a second, taken for 10 a second: the orders know better."""
    requests, done = run_of(seed=3, rps=5)
    total_s = (done["finished_s"] - done["arrival_s"]).to_numpy()
    samples = arrival_samples(done["id"].to_numpy(), total_s, 10.0, np.random.default_rng(0), 12)
    span_s = requests["arrival_s"].iloc[-1] - requests["arrival_s"].iloc[0]

    assert samples[:, -1].mean() == pytest.approx(span_s, rel=0.15)
    assert samples[:, -1].mean() > 1.4 * 99 / 10


def test_rows_left_out_and_rows_that_contradict_do_not_stop_it():
    _, done = run_of(seed=2)
    total_s = (done["finished_s"] - done["arrival_s"]).to_numpy(copy=True)
    total_s[20] += 6
    kept = np.arange(100) != 40
    rng = np.random.default_rng(0)
    samples = arrival_samples(done["id"].to_numpy()[kept], total_s[kept], 10.0, rng, 2)

    assert np.isfinite(samples).all()
    assert (np.diff(samples, axis=1) >= -1e-9).all()


def test_spans_are_counted_from_their_start_and_up_to_their_end():
    start, end = np.array([0.0, 1.0, 2.0]), np.array([2.0, 3.0, 2.5])

    assert together(start, end, np.array([0.0, 1.0, 2.0, 2.5, 3.0])).tolist() == [1, 2, 2, 1, 0]
    assert ceiling(start, end) == 2
    assert ceiling(start[:0], end[:0]) == 0


def test_the_engine_that_made_a_run_is_the_one_that_explains_it():
    requests, _ = run_of(seed=1)
    able = decoded_tokens(
        requests["first_token_s"].to_numpy(),
        requests["finished_s"].to_numpy(),
        requests["prompt_tokens"].to_numpy(),
        PROFILE,
    )
    ratio = (requests["output_tokens"].to_numpy() - 1) / able

    assert np.median(ratio) == pytest.approx(1, abs=0.03)
    # The same spans at half the length: nobody could have been so fast.
    faster = decoded_tokens(
        requests["first_token_s"].to_numpy() / 2,
        requests["finished_s"].to_numpy() / 2,
        requests["prompt_tokens"].to_numpy(),
        PROFILE,
    )
    assert np.median((requests["output_tokens"].to_numpy() - 1) / faster) > 1.8


@pytest.fixture(scope="module")
def published():
    if not RECORDS.exists():
        pytest.skip("the study's measurements are not here: saber_requests.csv")
    return read_runs(RECORDS)


def test_published_short_requests_never_queue(published):
    """What the hypothesis of `sim.study.bypass` rests on."""
    short = published[published["short"]]

    assert len(short) == 840
    assert not short["low_priority"].any()
    assert (short["wait_s"] > 0.17).sum() == 2


def test_published_goodput_is_total_time_against_the_objective(published):
    assert (published["sla_met"] == (published["total_s"] <= published["sla_s"])).all()
    assert (~published["adds_up"]).sum() == 3
