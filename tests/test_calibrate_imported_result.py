"""Runs of a benchmark tool: what follows from them."""

from calibrate.imported.result import Imported, ImportedRequest, reconstructed_starts


def request(start_s=0.0, **changes):
    given = {"ttft_s": 0.1, "e2e_s": 1.0} | changes
    return ImportedRequest(10, 5, start_s, **given)


def test_in_a_closed_loop_the_next_starts_when_the_first_seat_is_free():
    starts = reconstructed_starts([3.0, 1.0, 1.0, 5.0, 1.0], 2)
    # The second seat is free at 1 and 2, then both at 3: one until 8, the other for a while.
    assert starts == [0, 0, 1, 2, 3]


def test_without_a_limit_all_start_at_once():
    assert reconstructed_starts([3.0, 1.0], None) == [0, 0]


def test_loads_are_known_of_whole_runs_with_starts_alone():
    assert Imported("f", "t", requests=(request(),), requests_made=1).has_loads
    assert not Imported("f", "t", requests=(request(),), requests_made=2).has_loads
    assert not Imported("f", "t", requests=(request(None),), requests_made=1).has_loads
    assert not Imported("f", "t").has_loads


def test_a_closed_loop_has_a_limit_and_no_rate():
    assert Imported("f", "t", concurrency=4).is_closed_loop
    assert not Imported("f", "t", concurrency=4, request_rate=2.0).is_closed_loop
    assert not Imported("f", "t").is_closed_loop


def test_generating_lasts_from_the_first_to_the_last_token():
    assert request().generating_s == 0.9
    assert request(ttft_s=None).generating_s is None
    assert request(e2e_s=None).generating_s is None
