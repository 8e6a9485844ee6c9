"""What a run returns: its requests, files of them, and the same bytes for the same seeds."""

from __future__ import annotations

import subprocess
import sys
from copy import deepcopy
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from calibrate import load_profile
from policies.protocol import Choice
from sim import simulate
from sim.options import OptionError
from traces import workload
from traces.request import Trace

if TYPE_CHECKING:
    from pathlib import Path

PAPER = load_profile("paper-qwen2.5-coder-3b")

COLUMNS = {
    "id": "int64",
    "task": "category",
    "arrival_s": "float64",
    "admitted_s": "float64",
    "first_token_s": "float64",
    "finished_s": "float64",
    "prompt_tokens": "int64",
    "output_tokens": "int64",
    "sla_s": "float64",
    "met": "boolean",
    "status": "category",
    "replica": "int16",
    "preemptions": "int32",
    "demoted": "bool",
}

MIXED = Trace(
    [0.0, 0.0, 0.5, 9.0],
    [10, 5000, 10, 10],
    [3, 3, 3, 3],
    sla_s=[1.0, 1.0, np.nan, 1.0],
    task=["chat", "chat", None, "code"],
)


def hold_last(view):
    """Keep the request of 9.0 for good."""
    return [request for request in view.queue if request.id != 3]


@pytest.fixture
def mixed() -> pd.DataFrame:
    return simulate(MIXED, PAPER, hold_last, max_model_len=2048).requests


def test_columns_and_their_types(mixed):
    assert {name: str(dtype) for name, dtype in mixed.dtypes.items()} == COLUMNS


def test_a_row_per_request_and_nothing_where_nothing_came(mixed):
    assert mixed.id.tolist() == [0, 1, 2, 3]
    assert mixed.task.astype(object).where(mixed.task.notna(), None).tolist() == [
        "chat", "chat", None, "code",
    ]  # fmt: skip
    assert mixed.status.tolist() == ["finished", "refused", "finished", "unfinished"]
    assert mixed.met.tolist() == [True, False, pd.NA, False]
    assert mixed.admitted_s.isna().tolist() == [False, True, False, True]
    assert mixed.first_token_s.isna().tolist() == [False, True, False, True]
    assert mixed.finished_s.isna().tolist() == [False, True, False, True]
    assert mixed.sla_s.isna().tolist() == [False, False, True, False]
    assert mixed.arrival_s.tolist() == [0.0, 0.0, 0.5, 9.0]
    assert mixed.prompt_tokens.tolist() == [10, 5000, 10, 10]
    # 0.54 + 10 * 0.0861 ms of prefill, two steps of 10.633 ms, 1.8 ms to the client.
    assert mixed.first_token_s[2] == pytest.approx(0.5 + 0.001401 + 0.0018)
    assert mixed.finished_s[2] == pytest.approx(0.5 + 0.001401 + 2 * 0.010633 + 0.0018)
    assert mixed.admitted_s[2] == 0.5


def test_every_status_is_a_category(mixed):
    expected = ["unfinished", "finished", "refused", "failed", "timed_out", "cancelled"]
    assert mixed.status.cat.categories.tolist() == expected


def test_the_summary_agrees_with_the_requests():
    r = simulate(workload("W3", rps=8, n=60, seed=3), PAPER, "saber", replicas=2)
    frame, summary = r.requests, r.summary()
    e2e_s = frame.finished_s - frame.arrival_s
    assert summary["e2e_s"]["mean"] == pytest.approx(e2e_s.mean(), rel=1e-9)
    assert summary["e2e_s"]["p95"] == pytest.approx(np.percentile(e2e_s, 95), rel=1e-9)
    assert summary["goodput_pct"] == pytest.approx(100 * frame.met.mean())
    assert (frame.met == (e2e_s <= frame.sla_s)).all()
    assert summary["demoted"] == frame.demoted.sum()
    assert sum(summary["statuses"].values()) == len(frame) == summary["requests"] == 60
    gaps = (frame.output_tokens - 1).sum()
    pooled = (frame.finished_s - frame.first_token_s).sum() / gaps
    assert summary["itl_s"]["mean"] == pytest.approx(pooled, rel=1e-9)


def test_a_result_says_how_it_was_made():
    r = simulate(MIXED, PAPER, "saber(linear)", replicas=2, seed=5, max_num_seqs=9)
    assert (r.policy, r.profile) == ("saber(estimator=linear)", "paper-qwen2.5-coder-3b")
    assert (r.replicas, r.seed, r.trace) == (2, 5, MIXED)
    # What was used stands in place of None.
    options = r.options
    assert (options.max_num_seqs, options.kv_tokens) == (9, PAPER.kv_tokens)
    assert (options.discipline, options.client_overhead_s) == ("prefill-first", 0.0018)
    assert r.summary()["warnings"] == list(r.warnings)


def test_requests_survive_parquet(mixed, tmp_path: Path):
    r = simulate(MIXED, PAPER, hold_last, max_model_len=2048)
    r.save(tmp_path / "r.parquet")
    back = pd.read_parquet(tmp_path / "r.parquet")
    pd.testing.assert_frame_equal(back, mixed)


def test_requests_survive_csv(mixed, tmp_path: Path):
    r = simulate(MIXED, PAPER, hold_last, max_model_len=2048)
    r.save(str(tmp_path / "r.csv"))
    back = pd.read_csv(tmp_path / "r.csv")
    assert back.columns.tolist() == list(COLUMNS)
    assert back.status.tolist() == mixed.status.tolist()
    # Every digit is there.
    assert back.finished_s.dropna().tolist() == mixed.finished_s.dropna().tolist()
    assert back.met.isna().tolist() == [False, False, True, False]


@pytest.mark.parametrize("name", ["r.json", "r", "r.PARQUET.gz"])
def test_another_suffix_is_an_error_and_writes_nothing(name, tmp_path: Path):
    r = simulate(MIXED, PAPER, "static(4)")
    with pytest.raises(OptionError, match=r"expected \.parquet or \.csv") as error:
        r.save(tmp_path / name)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


SCRIPT = """
import sys
from calibrate import load_profile
from sim import simulate
from traces import workload
profile = load_profile("paper-qwen2.5-coder-3b")
for seed in (0, 1):
    trace = workload("W3", rps=10, n=60, seed=seed)
    run = simulate(trace, profile, "saber", replicas=2, seed=seed, jitter_cv=0.2)
    run.save(f"{sys.argv[1]}-{seed}.parquet")
"""


def test_the_same_seed_gives_the_same_bytes_in_any_process(tmp_path: Path):
    processes = [
        subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path / name)]) for name in "ab"
    ]
    assert [process.wait(60) for process in processes] == [0, 0]
    first, second, other = (
        (tmp_path / f"{name}.parquet").read_bytes() for name in ("a-0", "b-0", "a-1")
    )
    assert first == second
    assert first != other


# ------------------------------------------------------------------ streams of random numbers


class Dice:
    """A policy that writes down what its replicas draw."""

    label = "dice"

    def __init__(self):
        self.thrown = []

    def start(self, rng, profile):
        throws = rng.random(50).tolist()
        self.thrown.append(throws)

        class Decider:
            def decide(self, view):
                return Choice() if view.arrived is None else Choice([view.arrived.id])

        return Decider()


def thrown(**how) -> list:
    dice = Dice()
    simulate(how.pop("trace", MIXED), PAPER, dice, **how)
    return dice.thrown


def test_a_policy_draws_from_a_stream_of_its_own():
    draws = thrown()
    assert draws == thrown()
    assert draws == thrown(jitter_cv=0.5)
    assert draws == thrown(trace=workload("W1", rps=5, n=20, seed=9))
    assert draws == thrown(leap=False)
    assert draws != thrown(seed=1)


def test_replicas_draw_from_streams_of_their_own():
    three = thrown(replicas=3)
    assert len({tuple(throws) for throws in three}) == 3
    # One more replica changes nothing for those there were.
    assert thrown(replicas=2) == three[:2]


def test_a_trace_and_a_run_with_one_seed_do_not_share_random_numbers():
    from traces.seeds import stream

    drawn = set(np.ravel(thrown(seed=0, replicas=3)))
    for purpose in ("arrivals", "mix"):
        assert not drawn & set(stream(0, purpose).random(50).tolist())


def test_the_seed_of_a_run_changes_neither_arrivals_nor_a_policy_without_chance():
    trace = workload("W3", rps=10, n=60, seed=0)
    one, two = (simulate(trace, PAPER, "static(20)", seed=seed).requests for seed in (0, 1))
    pd.testing.assert_frame_equal(one, two)


LONELY_PREFILL_S = PAPER.cost.prefill_s(100)


def jitter_factors(requests: int, policy: object = "static(1)", seed: int = 0) -> np.ndarray:
    """Return a factor for each of some requests that never meet and have one token."""
    lonely = Trace(np.arange(float(requests)), [100] * requests, [1] * requests)
    r = simulate(lonely, PAPER, policy, jitter_cv=0.3, seed=seed, client_overhead_s=0.0).requests
    return ((r.finished_s - r.arrival_s) / LONELY_PREFILL_S).to_numpy()


def test_jitter_has_mean_one_and_the_variation_asked_for():
    drawn = jitter_factors(4000)
    assert abs(drawn.mean() - 1) < 4 * 0.3 / 4000**0.5
    assert drawn.std() / drawn.mean() == pytest.approx(0.3, rel=0.1)
    assert (drawn == jitter_factors(4000)).all()
    assert (drawn != jitter_factors(4000, seed=1)).all()


def test_jitter_does_not_follow_the_draws_of_a_policy():
    streams = []

    class Witness(Dice):
        def start(self, rng, profile):
            streams.append(deepcopy(rng))
            return super().start(rng, profile)

    drawn = jitter_factors(50, Witness())
    same = streams[0].lognormal(-np.log1p(0.09) / 2, np.log1p(0.09) ** 0.5, 50)
    assert not np.isclose(drawn, same).any()
