"""The numbers of a summary, worked out by hand on runs of a few requests."""

from __future__ import annotations

import numpy as np
import pytest

from calibrate.profile import Profile
from calibrate.steptime import StepCost
from sim import simulate
from traces.request import Trace

CLIENT_S = 0.01
PROFILE = Profile(
    name="by-hand",
    method="imported",
    cost=StepCost.affine(decode_s=0.05, prefill_s=0.1),
    kv_tokens=10_000,
    kv_source="by hand",
    discipline="prefill-first",
    client_overhead_s=CLIENT_S,
)
"""Every prefill takes 100 ms, every decode step 50 ms, a round trip to the engine 10 ms."""

# 1.0-1.1 prefill of 0 and 1: first tokens, and 1 is done.  1.1-1.15 decode of 0.  2 came at 1.12:
# 1.15-1.25 its prefill, and it is done.  1.25-1.3 the third and last token of 0.
# 2.0-2.1 prefill of 3, 2.1-2.15 its second and last token.
ARRIVAL = [1.0, 1.0, 1.12, 2.0]
OUTPUT = [3, 1, 1, 2]
TTFT = [0.11, 0.11, 0.14, 0.11]
E2E = [0.31, 0.11, 0.14, 0.16]
SLA = [0.31, 0.1, np.nan, 0.2]


def trace(sla_s=SLA, n: int = 4) -> Trace:
    return Trace(ARRIVAL[:n], [10] * n, OUTPUT[:n], sla_s=None if sla_s is None else sla_s[:n])


def summary(sla_s=SLA, **options) -> dict:
    return simulate(trace(sla_s), PROFILE, "static(4)", **options).summary()


def close(numbers: dict, mean: float, values: list[float]) -> None:
    assert numbers["mean"] == pytest.approx(mean, rel=1e-9)
    for key, percent in (("p50", 50), ("p90", 90), ("p95", 95), ("p99", 99)):
        assert numbers[key] == pytest.approx(np.percentile(values, percent), rel=1e-9)
    assert set(numbers) == {"mean", "p50", "p90", "p95", "p99"}


def test_latencies():
    s = summary()
    close(s["ttft_s"], 0.47 / 4, TTFT)
    close(s["e2e_s"], 0.72 / 4, E2E)
    # Of 0: (0.31 - 0.11) / 2, of 3: 0.05 / 1; 1 and 2 have one token and no time per token.
    close(s["tpot_s"], 0.075, [0.1, 0.05])
    # 0 waited 0.05 and, for the prefill of 2 and a step, 0.15; 3 waited 0.05.
    close(s["itl_s"], 0.25 / 3, [0.05, 0.05, 0.15])


def test_goodput_is_over_requests_with_an_sla():
    s = summary()
    # 0 meets its SLA to the picosecond, 1 misses by 10 ms, 3 has time left; 2 has no SLA.
    assert s["goodput_pct"] == pytest.approx(200 / 3)
    assert s["goodput_rps"] == pytest.approx(2 / 1.16)
    assert "1 requests have no SLA and are outside goodput" in s["warnings"]
    ratio = np.array([1.0, 1.1, 0.8])
    assert s["sla_ratio"]["mean"] == pytest.approx(ratio.mean())
    assert s["sla_ratio"]["std"] == pytest.approx(((ratio - ratio.mean()) ** 2).mean() ** 0.5)
    assert s["sla_ratio"]["cv"] == pytest.approx(s["sla_ratio"]["std"] / ratio.mean())


def test_totals():
    s = summary()
    # From the first arrival at 1.0 until the client has the last token at 2.16.
    assert s["duration_s"] == pytest.approx(1.16)
    assert s["throughput_tok_s"] == pytest.approx(7 / 1.16)
    assert s["utilisation"] == pytest.approx((0.3 + 0.15) / 1.16)
    assert s["requests"] == 4
    assert s["statuses"] == {
        "unfinished": 0, "finished": 4, "refused": 0, "failed": 0, "timed_out": 0, "cancelled": 0,
    }  # fmt: skip
    assert (s["preemptions"], s["demoted"]) == (0, 0)


def test_utilisation_counts_every_replica():
    # Replica 0 gets requests 0 and 2: 1.0-1.15, 1.15-1.25 (prefill of 2), 1.25-1.3.
    # Replica 1 gets 1 and 3: 1.0-1.1 and 2.0-2.15.
    s = summary(replicas=2)
    assert s["utilisation"] == pytest.approx((0.3 + 0.25) / (2 * 1.16))


def test_client_overhead_is_in_what_the_client_sees():
    near, far = summary(client_overhead_s=0.0), summary(client_overhead_s=0.5)
    for key in ("ttft_s", "e2e_s"):
        assert far[key]["mean"] - near[key]["mean"] == pytest.approx(0.5)
    assert far["tpot_s"] == near["tpot_s"]
    assert far["itl_s"] == near["itl_s"]
    assert (near["goodput_pct"], far["goodput_pct"]) == (pytest.approx(100), 0.0)
    assert far["duration_s"] - near["duration_s"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("limits", "met"),
    [
        ({"ttft": 110}, [True, True, False, True]),
        ({"ttft": 109.9}, [False, False, False, False]),
        # 1 and 2 have one token: no TPOT, any limit is met.
        ({"tpot": 50}, [False, True, True, True]),
        ({"tpot": 49.9}, [False, True, True, False]),
        ({"e2el": 160}, [False, True, True, True]),
        ({"ttft": 120, "e2el": 120}, [False, True, False, False]),
    ],
)
def test_goodput_limits_replace_the_sla(limits, met):
    for sla_s in (SLA, None):
        r = simulate(trace(sla_s), PROFILE, "static(4)", goodput_ms=limits)
        assert r.requests.met.tolist() == met
        s = r.summary()
        assert s["goodput_pct"] == 25 * sum(met)
        assert s["goodput_rps"] == pytest.approx(sum(met) / 1.16)
        assert not [warning for warning in s["warnings"] if "SLA" in warning]


def test_a_limit_is_met_to_the_picosecond():
    # 1.001 * 1e9 is 1000999999.9999999 in floating point.
    fast = Profile(**{**vars(PROFILE), "cost": StepCost.affine(decode_s=1, prefill_s=0.001001)})
    r = simulate(trace(), fast, "static(4)", goodput_ms={"ttft": 1.001}, client_overhead_s=0.0)
    assert r.requests.met[0]


def test_without_any_sla_goodput_is_not_defined():
    s = summary(sla_s=None)
    assert s["goodput_pct"] is s["goodput_rps"] is None
    assert s["sla_ratio"] == {"mean": None, "std": None, "cv": None}
    assert [w for w in s["warnings"] if w.startswith("the trace has no SLA: goodput is not")]
    assert s["e2e_s"]["mean"] == pytest.approx(0.18)


def test_refused_and_unfinished_requests_count_as_not_met():
    always = [10.0] * 4
    s = summary(sla_s=always, max_model_len=12)
    assert s["goodput_pct"] == 75
    assert (s["statuses"]["refused"], s["statuses"]["finished"]) == (1, 3)
    assert (
        "1 requests were refused; the first, request 0, has 13 tokens, max_model_len is 12"
        in (s["warnings"])
    )
    # Latencies are those of the finished.
    assert s["tpot_s"]["mean"] == pytest.approx(0.05)

    s = summary(sla_s=always, until_s=2.12)
    # 3 has its first token by then, and no last one.
    assert s["goodput_pct"] == 75
    assert (s["statuses"]["unfinished"], s["statuses"]["finished"]) == (1, 3)
    assert s["ttft_s"]["mean"] == pytest.approx(0.36 / 3)
    # The clock of the summary ends with the last that finished.
    assert s["duration_s"] == pytest.approx(0.31)
    assert s["throughput_tok_s"] == pytest.approx(5 / 0.31)
    assert s["utilisation"] == pytest.approx(0.3 / 0.31)


def test_refused_and_unfinished_requests_do_not_meet_goodput_limits():
    loose = {"ttft": 1e6, "tpot": 1e6, "e2el": 1e6}
    for options in ({"max_model_len": 12}, {"until_s": 2.12}):
        assert summary(goodput_ms=loose, **options)["goodput_pct"] == 75


def test_requests_after_until_are_not_submitted():
    s = summary(until_s=1.5)
    assert s["requests"] == 3
    assert s["statuses"]["finished"] == 3
    assert s["goodput_pct"] == 50
    assert "1 requests arrive after until_s and were not submitted" in s["warnings"]
    # One at that very instant is.
    s = summary(until_s=2.0)
    assert (s["requests"], s["statuses"]["unfinished"]) == (4, 1)


def test_a_run_that_ends_before_the_first_arrival():
    r = simulate(trace(), PROFILE, "static(4)", until_s=0.5)
    s = r.summary()
    assert (s["requests"], s["duration_s"]) == (0, 0)
    for key in ("goodput_pct", "goodput_rps", "throughput_tok_s", "utilisation"):
        assert s[key] is None
    assert s["e2e_s"]["p99"] is None
    assert len(r.requests) == 0


def test_a_run_in_which_nothing_finishes():
    s = summary(until_s=1.05)
    assert s["goodput_pct"] == 0
    assert s["statuses"]["unfinished"] == 2
    assert s["goodput_rps"] is s["throughput_tok_s"] is s["utilisation"] is None


def test_warm_up_leaves_early_requests_and_tokens_out():
    s = summary(warmup_s=1.12)
    assert s["requests"] == 2
    assert s["statuses"]["finished"] == 2
    assert s["e2e_s"]["mean"] == pytest.approx(0.15)
    assert s["goodput_pct"] == 100  # 3; 2 has no SLA
    # From the arrival of 2 on; busy 1.12-1.3 and 2.0-2.15.
    assert s["duration_s"] == pytest.approx(1.04)
    assert s["throughput_tok_s"] == pytest.approx(3 / 1.04)
    assert s["utilisation"] == pytest.approx(0.33 / 1.04)
    # Tokens that came later count, even of request 0, which arrived before.
    close(s["itl_s"], 0.25 / 3, [0.05, 0.05, 0.15])
    assert summary(warmup_s=1.16)["itl_s"]["mean"] == pytest.approx(0.1)
    assert summary(warmup_s=1.31)["itl_s"]["mean"] == pytest.approx(0.05)


def test_preemptions_and_demotions_are_counted():
    # 16 blocks of one token: 10 + 10 do not fit next to each other for long.
    pair = Trace([0.0, 0.0], [6, 6], [6, 6], sla_s=[5.0, 0.1])
    r = simulate(pair, PROFILE, "saber", kv_tokens=16, block_size=1, max_num_seqs=2)
    assert r.summary()["demoted"] == 1
    assert r.summary()["preemptions"] == r.requests.preemptions.sum() == 1
    assert r.requests.demoted.tolist() == [False, True]


def test_warm_up_leaves_early_preemptions_out():
    late = Trace([0.0, 0.0, 9.0], [6, 6, 6], [6, 6, 6])
    how = {"kv_tokens": 16, "block_size": 1, "policy": "static(2)"}
    assert simulate(late, PROFILE, **how).summary()["preemptions"] == 1
    assert simulate(late, PROFILE, **how, warmup_s=5.0).summary()["preemptions"] == 0
