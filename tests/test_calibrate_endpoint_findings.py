"""What many sessions say together: discipline, budget, limit, speeds."""

from dataclasses import replace

import pytest
from endpoint_cases import Virtual

from calibrate.endpoint.findings import (
    Seen,
    batched_tokens,
    discipline,
    most_together,
    speed_points,
)
from calibrate.endpoint.plan import scouts
from calibrate.endpoint.session import Session


def seen(sessions, **engine):
    return [Seen.of(session, Virtual(**engine).run(session)) for session in sessions]


@pytest.mark.parametrize("name", ["chunked", "prefill-first"])
@pytest.mark.parametrize("jitter_s", [0.0, 0.002])
def test_the_discipline_is_found(name, jitter_s):
    found = discipline(seen(scouts(4096), discipline=name, jitter_s=jitter_s))
    assert (found.name, found.source.startswith("found")) == (name, True)


def test_without_evidence_the_discipline_is_assumed_and_says_so():
    assert discipline([]).source.startswith("assumed")


@pytest.mark.parametrize("tokens", [256, 512, 1024, 2048])
@pytest.mark.parametrize("jitter_s", [0.0, 0.002])
def test_the_budget_is_found(tokens, jitter_s):
    found = batched_tokens(seen(scouts(4096), max_num_batched_tokens=tokens, jitter_s=jitter_s))
    assert found.tokens == tokens
    assert found.source.startswith("found")


def test_an_unusual_budget_is_estimated():
    found = batched_tokens(seen(scouts(8192), max_num_batched_tokens=700))
    assert found.tokens == pytest.approx(700, rel=0.03)
    assert found.source.startswith("estimated")


def test_a_budget_that_no_prompt_reached_is_unknown():
    found = batched_tokens(seen(scouts(1024), max_num_batched_tokens=2048))
    assert found.tokens is None
    assert "1,026 tokens" in found.source


@pytest.mark.parametrize("limit", [1, 3, 12])
def test_the_limit_is_found_where_requests_wait_for_seats(limit):
    levels = [Session(2**power, (64, 512), 128) for power in range(1, 5)]
    assert most_together(seen(levels, max_num_seqs=limit)) == limit


def test_waiting_for_prompts_of_others_is_no_limit():
    slow = seen([Session(8, (500, 500), 30)], max_num_batched_tokens=64, max_num_seqs=64)
    assert slow[0].observed.together < 8
    assert most_together(slow) is None


def test_first_tokens_that_were_held_back_are_no_limit():
    (one,) = seen([Session(3, (64,), 50)])
    *others, last = one.exchanges
    end_s = last.reply.token_s[-1]
    late = type(last.reply)("finished", 0.0, end_s + 0.1, (end_s + 0.1,) * 50, 64)
    bunched = Seen.of(one.session, [*others, type(last)(64, late)])
    assert bunched.observed.together == 2
    assert most_together([bunched]) is None


def test_chunks_that_late_tokens_hide_are_no_evidence():
    one, other = seen([Session(2, (64,), 120, (2048,))] * 2, max_num_batched_tokens=512)
    (insert,) = one.observed.inserts
    gaps_s = list(insert.gaps_s)
    gaps_s[-3] = float("nan")
    hidden = replace(one.observed, inserts=(replace(insert, gaps_s=tuple(gaps_s)),))
    one = replace(one, observed=hidden)
    assert batched_tokens([one, other]).tokens == 512
    assert batched_tokens([one]).tokens is None
    assert "too unevenly" in batched_tokens([one]).source


def test_speeds_are_gaps_over_the_time_between_first_and_last():
    one, many = seen([Session(1, (64,), 50), Session(4, (64,), 50)])
    points = speed_points([one, many], limit=None)
    assert [load for load, _ in points] == [1.0] + [4.0] * 4
    reply = one.exchanges[0].reply
    assert points[0][1] == pytest.approx(49 / (reply.token_s[-1] - reply.token_s[0]), rel=1e-4)
    assert points[0][1] > points[1][1]


def test_speeds_of_a_queue_are_not_those_of_its_level():
    found = seen([Session(2, (64,), 50), Session(8, (64,), 50)], max_num_seqs=4)
    assert {load for load, _ in speed_points(found, limit=4)} == {2.0}


def test_prompts_among_streams_are_no_part_of_the_speeds():
    assert speed_points(seen([Session(2, (64,), 80, (256,))]), limit=None) == ()
