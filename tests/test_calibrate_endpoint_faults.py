"""What was wrong, in one line."""

import time
from email.utils import formatdate

import httpcore
import pytest

from calibrate.endpoint.faults import json_of, one_line, problem_of, retry_after_s, said


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": {"message": "no such model", "code": 404}}', "no such model"),
        (b'{"error": "full"}', "full"),
        (b'{"message": "full"}', "full"),
        (b'{"detail": [{"msg": "bad"}]}', "[{'msg': 'bad'}]"),
        (b"plain\n\n  text", "plain text"),
        (b"", ""),
        (b"null", "null"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b'{"error": "\\ud800 lone"}', "lone"),
        (b'{"error": "red \\u001b[31m line\\r\\n"}', "red [31m line"),
    ],
)
def test_the_message_of_an_error_in_one_line(body, message):
    assert said(body) == message


def test_a_long_message_is_cut_and_shows_it():
    assert one_line("word " * 10, 12) == "word word..."
    assert one_line("word word", 9) == "word word"
    assert len(said(b"x" * 10_000)) == 160


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 10**5, b"\xff", b"9" * 10**4])
def test_what_is_no_json_is_none(body):
    assert json_of(body) is None


def test_a_problem_of_a_connection_is_named():
    assert problem_of(httpcore.ReadError("[Errno 104] reset")) == (
        "the connection was lost ([Errno 104] reset)"
    )
    assert problem_of(httpcore.WriteTimeout()) == "the server took no more of the request"
    assert problem_of(httpcore.LocalProtocolError("odd\nheader")) == (
        "LocalProtocolError (odd header)"
    )


def test_a_wait_is_seconds_or_a_date_beside_the_servers_own():
    hour_ago = time.time() - 3600

    assert retry_after_s([(b"Retry-After", b"1.5")]) == 1.5
    dates = [(b"date", formatdate(hour_ago).encode())]
    assert retry_after_s([*dates, (b"retry-after", formatdate(hour_ago + 20).encode())]) == 20
    assert retry_after_s([*dates, (b"retry-after", formatdate(hour_ago - 20).encode())]) == 0
    alone = retry_after_s([(b"retry-after", formatdate(time.time() + 20).encode())])
    assert 15 < alone <= 21
    assert retry_after_s(dates) is None
