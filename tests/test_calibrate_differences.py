"""Two profiles side by side, made so that the differences are known."""

import json
from dataclasses import replace

import pytest
from profile_cases import TRUE, profile_with_raw, scaled

from calibrate.differences import differences
from calibrate.library import load_profile

P = profile_with_raw("p", noise=0.0)
Q = replace(
    profile_with_raw("q", scale=1.2, noise=0.0),
    kv_tokens=100_000,
    measured_batch=(1, 32),
    measured_prefill_tokens=(16, 1024),
)


def test_rows_only_where_both_cover():
    found = differences(P, Q)

    assert {row["batch"] for row in found["decode"]} == {1, 2, 4, 8, 16, 32}
    assert {row["context_tokens"] for row in found["decode"]} == {512, 2048, 8192}
    assert [row["tokens"] for row in found["prefill"]] == [16, 64, 256, 512, 1024]
    assert all(row["ratio"] == pytest.approx(1.2) for row in found["decode"] + found["prefill"])
    last = found["decode"][-1]
    assert last["p_s"] == TRUE.decode_s(32, 32 * 8192)
    assert last["q_s"] == pytest.approx(1.2 * last["p_s"])
    assert found["prefill"][-1]["p_s"] == TRUE.prefill_s(1024, 1024 * 512)


def test_a_range_that_nobody_named_excludes_nothing():
    unknown = replace(Q, measured_batch=None, measured_prefill_tokens=None)
    found = differences(P, unknown)

    assert max(row["batch"] for row in found["decode"]) == 256
    assert max(row["tokens"] for row in found["prefill"]) == 8192


def test_facts():
    facts = differences(P, Q)["facts"]

    assert facts["kv_tokens"] == {"p": 200_000, "q": 100_000}
    assert facts["device"] == {"p": "Some GPU", "q": "Some GPU"}
    assert facts["engine_overhead_s"] == {"p": None, "q": None}


def test_each_cost_is_held_against_the_others_points():
    errors = differences(P, Q)["errors"]

    assert errors["q_against_p"]["decode"]["bias"] == pytest.approx(20, abs=0.01)
    assert errors["p_against_q"]["mixed"]["bias"] == pytest.approx(-100 / 6, abs=0.01)


def test_steps_that_both_measured_are_compared_as_measured():
    # Its own fit is wrong on purpose: what was measured does not depend on it.
    again = replace(profile_with_raw("q", scale=0.9, noise=0.0), cost=scaled(TRUE, 3))
    found = differences(P, again)["remeasured"]

    assert found["decode"]["points"] == 35
    assert found["chunk"]["median"] == pytest.approx(0.9, rel=1e-4)
    assert found["prefill"]["low"] == pytest.approx(0.9, rel=1e-4)
    assert found["prefill"]["high"] == pytest.approx(0.9, rel=1e-4)


def test_without_raw_points_there_are_no_errors():
    paper = load_profile("paper-qwen2.5-coder-3b")
    found = differences(paper, P)

    assert found["errors"]["q_against_p"] is None
    assert found["errors"]["p_against_q"]["decode"]["points"] == 35
    assert found["remeasured"] == {}
    assert json.loads(json.dumps(found)) == found


def test_one_row_a_batch_where_neither_knows_contexts():
    paper = load_profile("paper-qwen2.5-coder-3b")
    rows = differences(paper, paper)["decode"]

    assert [row["batch"] for row in rows] == [1, 2, 4, 8, 16, 32, 64]
    assert all(row["ratio"] == 1 for row in rows)
