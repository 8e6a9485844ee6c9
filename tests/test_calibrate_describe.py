"""The plain numbers of a profile."""

import json

from calibrate import Profile, load_profile
from calibrate.describe import describe_profile
from calibrate.steptime import StepCost


def test_the_paper_profile_described():
    profile = load_profile("paper-qwen2.5-coder-3b")
    shown = describe_profile(profile)
    assert json.loads(json.dumps(shown))["name"] == profile.name
    assert shown["kv_tokens"] == profile.kv_tokens
    assert shown["caveats"] == list(profile.caveats)
    assert shown["speed_points"] == 255
    # No context term: one row a batch, and batches over the study's 100 are marked.
    assert [row["batch"] for row in shown["decode"] if row["measured"]] == [1, 2, 4, 8, 16, 32, 64]
    assert [row["batch"] for row in shown["decode"]] == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert shown["decode"][0]["step_s"] == profile.cost.decode_s(1, 0)
    assert shown["decode"][0]["tokens_per_s"] == 1 / profile.cost.decode_s(1, 0)
    by_tokens = {row["tokens"]: row for row in shown["prefill"]}
    assert by_tokens[512]["step_s"] == profile.cost.prefill_s(512)
    assert by_tokens[512]["measured"]
    assert not by_tokens[4096]["measured"]


def make(**changes):
    cost = StepCost.affine(
        decode_s=0.01, prefill_s=0.0, context_token_s=1e-7, attention_token2_s=1e-9
    )
    known = {"name": "p", "method": "torch", "kv_tokens": 9, "kv_source": "chosen"}
    return Profile(**known, cost=cost, discipline="chunked", **changes)


def test_a_context_term_shows_in_a_row_for_each_context():
    shown = describe_profile(make(measured_batch=(1, 64), measured_context_tokens=(100, 4000)))
    rows = {(row["batch"], row["context_tokens"]): row for row in shown["decode"]}
    assert rows[8, 2048]["step_s"] == 0.01 + 1e-7 * (8 * 2048)
    assert rows[8, 2048]["measured"] is True
    assert rows[8, 8192]["measured"] is False
    assert rows[128, 2048]["measured"] is False


def test_ranges_that_nobody_named_are_unknown_not_false():
    shown = describe_profile(make(measured_batch=(1, 64)))
    rows = {(row["batch"], row["context_tokens"]): row["measured"] for row in shown["decode"]}
    assert rows[8, 512] is None
    assert rows[128, 512] is False
    assert shown["prefill"][0]["measured"] is None
    assert shown["prefill"][2]["step_s"] == 1e-9 * 256 * 256 / 2
