"""What a server was doing at each instant of a run."""

import numpy as np
import pytest

from calibrate.imported.loads import Count, Lives, Tokens
from calibrate.imported.result import ImportedRequest


def lives(*rows):
    """Return the lives of requests given as (start, first token, end)."""
    return Lives.of(
        [ImportedRequest(10, 5, start, first - start, end - start) for start, first, end in rows]
    )


def test_the_mean_count_is_the_share_of_time_there_were_so_many():
    count = Count([0.0, 1.0], [4.0, 2.0])
    assert count.mean(0, 4) == pytest.approx(5 / 4)
    assert count.mean(1, 2) == pytest.approx(2)
    assert count.mean(2, 3) == pytest.approx(1)
    assert count.mean(-2, 2) == pytest.approx(3 / 4)
    assert count.mean(3, 7) == pytest.approx(1 / 4)


def test_the_mean_count_is_that_of_many_instants():
    rng = np.random.default_rng(0)
    begins = rng.uniform(0, 10, 50)
    ends = begins + rng.exponential(2, 50)
    count = Count(begins, ends)
    at = np.linspace(3, 8, 200_001)
    there = ((begins[:, None] <= at) & (at < ends[:, None])).sum(axis=0).mean()
    assert count.mean(3, 8) == pytest.approx(there, rel=1e-3)


def test_alone_are_those_that_nobody_was_open_beside_until_their_first_token():
    found = lives(
        (0.0, 1.0, 2.0),  # alone
        (2.0, 3.0, 5.0),  # begins where the first ends: alone, though joined later
        (3.0, 4.0, 9.0),  # the second is still open
        (9.0, 10.0, 11.0),  # joined before its first token
        (9.5, 10.5, 11.0),
        (11.0, 12.0, 13.0),  # alone again
    )
    assert list(found.alone()) == [0, 1, 5]


def test_a_long_one_stays_in_the_way_of_all_that_follow():
    assert list(lives((0, 1, 10), (1, 2, 3), (4, 5, 6), (10, 11, 12)).alone()) == [0, 3]


def test_quiet_is_when_the_same_are_generated_and_none_waits():
    found = lives((0.0, 1.0, 6.0), (2.0, 3.0, 5.0))
    assert list(found.quiet()) == [(1.0, 2.0, (0,)), (3.0, 5.0, (0, 1)), (5.0, 6.0, (0,))]


def test_a_request_without_tokens_waits_until_its_end():
    requests = [
        ImportedRequest(10, 5, 0.0, 1.0, 6.0),
        ImportedRequest(10, 0, 2.0, None, 1.0, error="boom"),
    ]
    assert list(Lives.of(requests).quiet()) == [(1.0, 2.0, (0,)), (3.0, 6.0, (0,))]


def test_decoding_counts_from_the_first_token_on():
    found = lives((0.0, 1.0, 3.0), (0.0, 2.0, 3.0))
    assert found.decoding().mean(0, 3) == pytest.approx(1)
    assert found.open().mean(0, 3) == pytest.approx(2)


def test_tokens_come_with_the_messages():
    tokens = Tokens(ImportedRequest(10, 4, 0.0, 1.0, 4.0, (0.5, 0.5, 2.0)), 1.0)
    assert [tokens.by(at) for at in (1.0, 1.4, 1.5, 2.0, 3.9, 4.0, 9.0)] == [1, 1, 2, 3, 3, 4, 4]


def test_tokens_come_evenly_where_messages_bring_several_or_are_unknown():
    bundled = Tokens(ImportedRequest(10, 5, 0.0, 1.0, 3.0, (1.0, 1.0)), 1.0)
    assert [bundled.by(at) for at in (1.0, 2.0, 3.0)] == [1, 3, 5]
    unknown = Tokens(ImportedRequest(10, 5, 0.0, 1.0, 3.0), 1.0)
    assert [unknown.by(at) for at in (0.5, 1.0, 2.0, 3.0, 9.0)] == [1, 1, 3, 5, 5]
