"""Speeds over loads, and tokens in use, of imported runs."""

from calibrate.imported.result import Imported, ImportedRequest, Summary
from calibrate.imported.speeds import MOST_SPEEDS, most_tokens_held, speed_points


def run(*requests, **changes):
    return Imported("f", "t", requests=requests, requests_made=len(requests), **changes)


def request(start_s, ttft_s, e2e_s, tokens=11, **changes):
    return ImportedRequest(100, tokens, start_s, ttft_s, e2e_s, **changes)


def test_a_speed_is_gaps_over_time_and_the_load_is_how_many_were_open():
    # The first is beside the second for half of its generation, the second for a third of its own.
    points = speed_points([run(request(0.0, 1.0, 3.0), request(2.0, 0.5, 2.0))])
    assert points == ((1.333, 6.6667), (1.5, 5.0))


def test_answers_of_all_lengths_have_one_speed():
    rows = [request(10.0 * n, 1.0, 1.0 + 0.1 * (n - 1), tokens=n) for n in (8, 20, 90)]
    assert [speed for _, speed in speed_points([run(*rows)])] == [10.0] * 3


def test_short_failed_and_held_up_answers_have_no_speed():
    rows = (
        request(0.0, 1.0, 2.0, tokens=7),
        request(10.0, 1.0, 2.0, error="boom"),
        request(20.0, 1.0, 1.5, gaps_s=(1e-6,) * 5 + (0.1,) * 5),
        request(30.0, None, 2.0),
    )
    assert speed_points([run(*rows)]) == ()


def test_without_loads_the_concurrency_of_a_closed_loop_is_taken():
    unlisted = Imported(
        "f", "t", concurrency=4, requests=(request(0.0, 1.0, 2.0),), requests_made=9
    )
    assert speed_points([unlisted]) == ((4.0, 10.0),)
    statistics = Imported("f", "t", concurrency=8, summary=Summary(100, 50, 0.1, 0.02))
    assert speed_points([statistics]) == ((8.0, 50.0),)
    at_a_rate = Imported("f", "t", request_rate=2.0, summary=Summary(100, 50, 0.1, 0.02))
    assert speed_points([at_a_rate]) == ()


def test_many_points_are_thinned_out_evenly():
    rows = [request(10.0 * i, 1.0, 2.0) for i in range(3 * MOST_SPEEDS)]
    assert len(speed_points([run(*rows)])) == MOST_SPEEDS


def test_the_most_tokens_are_those_of_requests_open_together():
    rows = (request(0.0, 1.0, 2.0), request(1.0, 1.0, 2.0), request(3.0, 1.0, 2.0))
    assert most_tokens_held([run(*rows)]) == 2 * 111
    statistics = Imported("f", "t", concurrency=8, summary=Summary(100, 50, 0.1, 0.02))
    assert most_tokens_held([statistics]) == 8 * 150
    assert most_tokens_held([]) == 0
