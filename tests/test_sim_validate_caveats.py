"""What a reader of a replay is warned of."""

from dataclasses import replace

import pytest
from live_cases import PROFILE, SERVER, Scripted, replayed, setting, standing

from policies.catalog import make_policy
from sim.options import RunOptions
from sim.validate.caveats import caveats_of, caveats_of_machine, caveats_of_server
from sim.validate.lateness import Lateness
from traces.request import Trace


def trace(n=4):
    return Trace([float(i) for i in range(n)], [20] * n, [5] * n)


def replay(script, n=4, **options):
    policy = standing(make_policy("static(8)"))
    return replayed(trace(n), policy, Scripted(script), setting(), **options)


def finished(number):
    return "finished"


def test_nothing_is_said_of_a_replay_that_went_well():
    assert caveats_of(trace(), replay(finished)) == ()


def test_every_way_not_to_finish_is_counted_with_its_first_reason():
    found = replay(["failed", "refused", "failed", "timed_out"].__getitem__)
    assert caveats_of(trace(), found) == (
        "1 requests refused; the first, request 1: HTTP 429: refused on purpose",
        "2 requests failed; the first, request 0: HTTP 429: failed on purpose",
        "1 requests timed out; the first, request 3: HTTP 429: timed_out on purpose",
    )


def test_what_was_unfinished_and_what_was_not_sent():
    found = replay(lambda number: "never", drain_s=3)
    assert caveats_of(trace(), found) == (
        "4 requests were unfinished at the end: the time for what was left was up",
    )
    stopped = replay(lambda number: "failed", n=40)
    said = caveats_of(trace(40), stopped)
    assert said[0].startswith("the replay ended early: the first 10 exchanges in a row failed")
    assert said[1] == "30 requests were not sent: the replay had ended"


def test_tokens_that_are_not_what_they_should_be():
    found = replay(finished)
    replies = [record.reply for record in found.records]
    found.records[0].reply = replace(replies[0], prompt_tokens=27)
    found.records[1].reply = replace(replies[1], token_s=replies[1].token_s[:4])
    found.records[2].reply = replace(replies[2], counted=False)
    found.records[3].reply = replace(replies[3], prompt_tokens=None)
    lengths, early, uncounted = caveats_of(trace(), found)
    assert lengths.startswith("1 prompts had other lengths for the server")
    assert "by up to 7 tokens" in lengths
    assert early.startswith("1 answers ended before")
    assert uncounted.startswith("the server did not count the tokens of 1 answers")


def test_a_driver_that_is_late_says_so():
    found = replay(finished)
    late = replace(found, lateness=Lateness(0.001, 0.0051, 0.02))
    assert caveats_of(trace(), late)[0].startswith(
        "the driver's event loop was late by 5.1 ms at p99, more than 5 ms"
    )
    assert caveats_of(trace(), replace(found, lateness=Lateness(0.001, 0.005, 0.02))) == ()
    found.records[0].arrival_ps += 10**11
    assert caveats_of(trace(), found)[0].startswith("arrivals were late by 97")


@pytest.mark.parametrize(
    ("url", "shared"),
    [
        ("http://localhost:8000/v1", True),
        ("http://127.0.0.1:8000/v1", True),
        ("http://[::1]:8000/v1", True),
        ("https://gpu-7.example:8000/v1", False),
    ],
)
def test_a_server_on_the_same_machine(url, shared):
    said = caveats_of_machine(url, 0.0)
    assert any("they share its cores" in each for each in said) == shared


def test_other_work_on_the_machine():
    assert caveats_of_machine("http://gpu:1/v1", None) == ()
    assert "its load average was 500.0" in caveats_of_machine("http://gpu:1/v1", 500.0)[0]


def test_a_server_that_is_not_what_the_profile_describes():
    options = RunOptions(max_num_seqs=16)
    assert caveats_of_server(PROFILE, options, SERVER) == ()
    assert "at most 256 requests" in caveats_of_server(PROFILE, RunOptions(), SERVER)[0]
    more = replace(SERVER, kv_tokens=2 * PROFILE.kv_tokens, keeps_length=False)
    kv, length = caveats_of_server(PROFILE, options, more)
    assert f"--kv-tokens {2 * PROFILE.kv_tokens}" in kv
    assert "may end answers before" in length
    same = replace(SERVER, kv_tokens=PROFILE.kv_tokens + 1)
    assert caveats_of_server(PROFILE, options, same) == ()
