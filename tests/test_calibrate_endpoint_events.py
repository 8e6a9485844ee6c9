"""What a stream tells, whatever pieces it comes in."""

import json
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrate.endpoint.events import MOST_GENERATED, Stream, StreamError, told

DONE = b"data: [DONE]\n\n"


def event(text="w ", finish=None, **others):
    message = {"choices": [{"index": 0, "text": text, "finish_reason": finish}]} | others
    return b"data: " + json.dumps(message).encode() + b"\n\n"


def used(output, prompt=3):
    return {"usage": {"prompt_tokens": prompt, "completion_tokens": output}}


def heard(*pieces):
    """Return what is told by pieces that come a second apart, from 1 s on."""
    return told([(float(n), piece) for n, piece in enumerate(pieces, 1)])


def test_a_message_with_content_is_a_token_of_its_instant():
    found = heard(event(), event(), event("w", "stop"), DONE)

    assert found.token_s == (1.0, 2.0, 3.0)
    assert (found.counted, found.prompt_tokens) == (False, None)
    assert (found.finish_reason, found.done) == ("stop", True)


def test_running_counts_place_tokens_that_share_a_message():
    found = heard(event(**used(1)), event("", **used(3)), event("www", "length", **used(4)), DONE)

    assert found.token_s == (1.0, 2.0, 2.0, 3.0)
    assert (found.counted, found.prompt_tokens) == (True, 3)


@pytest.mark.parametrize(
    ("pieces", "total", "token_s"),
    [
        # More than the messages: the rest came with the last.
        ([event(), event()], 4, (1.0, 2.0, 2.0, 2.0)),
        # A message without text is a token where the count says that there are as many.
        ([event(), event(""), event()], 3, (1.0, 2.0, 3.0)),
        ([event(), event(""), event()], 4, (1.0, 2.0, 3.0, 3.0)),
        # Else it is not.
        ([event(), event(""), event()], 2, (1.0, 3.0)),
        # The message that only ends the stream is a token if nothing else can be: the end's own.
        ([event(), event(), event("", "stop")], 2, (1.0, 2.0)),
        ([event(), event(), event("", "stop")], 3, (1.0, 2.0, 3.0)),
        ([event(), event(""), event("", "stop")], 2, (1.0, 2.0)),
        # Fewer than the messages: the last are dropped.
        ([event(), event(), event()], 2, (1.0, 2.0)),
    ],
)
def test_the_final_count_corrects_the_messages(pieces, total, token_s):
    found = heard(*pieces, event(choices=[], **used(total)), DONE)

    assert (found.token_s, found.counted) == (token_s, True)


def test_counts_that_cannot_be_are_not_believed():
    for count in (0, -1, 1.5, "2", True, None, [2], MOST_GENERATED + 1, 10**30):
        found = heard(event(**used(count)), event(**used(count)), DONE)
        assert (found.token_s, found.counted) == ((1.0, 2.0), False), count
    assert heard(event(usage="many"), DONE).token_s == (1.0,)
    assert len(heard(event(**used(MOST_GENERATED)), DONE).token_s) == MOST_GENERATED


def test_a_last_count_that_tells_nothing_leaves_those_before():
    found = heard(event(**used(2)), event(choices=[], **used(0)), DONE)

    assert (found.token_s, found.counted) == ((1.0, 1.0), True)


def test_a_running_count_that_falls_takes_tokens_back_and_never_time():
    found = heard(event(**used(3)), event(**used(1)), event(**used(2)), DONE)

    assert found.token_s == (1.0, 1.0)


def test_a_chat_speaks_in_several_ways_and_greets_in_none():
    def delta(**content):
        return event(choices=[{"delta": content}])

    greeting = delta(role="assistant", content="")
    pieces = [
        greeting,
        delta(reasoning_content="hm"),
        delta(content="well"),
        delta(tool_calls=[{"index": 0}]),
        delta(content=""),
        delta(content=None),
        delta(content=7),
    ]

    assert heard(*pieces, DONE).token_s == (2.0, 3.0, 4.0)
    # Even if the count has room for it, the greeting is no token.
    assert heard(greeting, delta(content="well"), event(choices=[], **used(2)), DONE).token_s == (
        2.0,
        2.0,
    )


@pytest.mark.parametrize(
    "line",
    [
        b": a comment\n\n",
        b"\n\n\n",
        b"event: message\nid: 7\nretry: 1000\n\n",
        b"data:\n\n",
        b"data: \n\n",
        b"data\n\n",
        b"database: 1\n\n",
        b"data: {}\n\n",
        b'data: {"choices": []}\n\n',
        b'data: {"choices": null, "error": null}\n\n',
        b'data: {"choices": [null]}\n\n',
        b'data: {"choices": {"0": 1}}\n\n',
        b'data: {"choices": [{"text": 5}]}\n\n',
        b'data: {"choices": [{"text": null, "finish_reason": 3}]}\n\n',
    ],
)
def test_what_carries_nothing_changes_nothing(line):
    found = heard(event(), line, event(), DONE)

    assert (found.token_s, found.finish_reason) == ((1.0, 3.0), "")


@pytest.mark.parametrize("ends", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("space", [b"", b" ", b"  \t"])
def test_lines_end_and_begin_in_every_way_that_is_allowed(ends, space):
    pieces = [event(), event("a\nb", "stop"), DONE]
    pieces = [p.replace(b"data: ", b"data:" + space).replace(b"\n", ends) for p in pieces]

    assert heard(*pieces).token_s == (1.0, 2.0)


def test_the_last_line_needs_no_end():
    assert heard(event(), event("w", "stop").rstrip()).token_s == (1.0, 2.0)
    assert heard(event(), DONE.rstrip()).done


def test_what_follows_done_is_not_looked_at():
    stream = Stream()
    stream.hear(1.0, event() + DONE + event() + b"data: no JSON\n\n")
    stream.hear(2.0, b"data: no JSON\n\n")
    stream.end()

    assert stream.closed
    assert stream.told().token_s == (1.0,)


def test_a_stream_is_closed_by_a_reason_or_by_done_or_not_at_all():
    assert not heard(event()).done
    assert heard(event("w", "length")).done
    assert heard(DONE).done


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"data: hello\n\n", "no JSON object: hello"),
        (b"data: [1]\n\n", r"no JSON object: \[1\]"),
        (b"data: 7\n\n", "no JSON object: 7"),
        (b'data: {"text": "\xff"}\n\n', "no JSON object: "),
        (b"data: " + b"[" * 10**5 + b"\n\n", "no JSON object: "),
        (b"data: " + b"9" * 10**4 + b"\n\n", "no JSON object: "),
        (b'data: {"error": {"message": "OOM"}}\n\n', 'ended with an error: {"error"'),
        (b'data: {"error": "OOM"}\n\n', 'ended with an error: {"error": "OOM"'),
        (b'data: {"object": "error", "message": "OOM"}\n\n', "ended with an error"),
    ],
)
def test_a_broken_message_is_told_and_what_came_before_is_kept(line, said):
    stream = Stream()
    stream.hear(1.0, event(**used(1)))
    with pytest.raises(StreamError, match=said):
        stream.hear(2.0, event(**used(2)) + line + event(**used(3)))

    assert stream.told().token_s == (1.0, 2.0)
    assert (stream.tokens, stream.first_s) == (2, 1.0)


def test_a_stream_that_is_too_long_is_given_up():
    stream = Stream(most_bytes=100)
    stream.hear(1.0, b"x" * 100)
    with pytest.raises(StreamError, match="longer than its tokens can be"):
        stream.hear(2.0, b"x")


def test_it_is_known_on_the_way_how_far_it_is():
    stream = Stream()
    assert (stream.tokens, stream.first_s, stream.events) == (0, None, 0)
    stream.hear(1.0, event("")[:5])
    stream.hear(2.0, event("")[5:])
    assert (stream.tokens, stream.first_s, stream.events) == (0, None, 1)
    stream.hear(3.0, event() + event()[:-2])
    assert (stream.tokens, stream.first_s, stream.events) == (1, 3.0, 2)
    stream.hear(4.0, b"\n\n" + DONE)
    assert (stream.tokens, stream.first_s, stream.closed) == (2, 3.0, True)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
usages = st.none() | st.integers(-1, 12).map(lambda n: used(n)["usage"])
messages = st.builds(
    lambda text, usage, finish, choices: event(text, finish, usage=usage, **choices),
    texts,
    usages,
    st.sampled_from([None, None, None, "stop", "abort"]),
    st.sampled_from([{}, {}, {}, {"choices": []}]),
)
noise = st.sampled_from([b": ping\n\n", b"\n", b"data:\n\n", b"event: x\n"])
streams = st.lists(st.one_of(messages, messages, noise), max_size=12).flatmap(
    lambda parts: st.booleans().map(lambda done: b"".join([*parts, DONE if done else b""]))
)


@given(streams, st.data(), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_any_split_into_pieces_tells_the_same(whole, data, ends):
    whole = whole.replace(b"\n", ends)
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=20).map(sorted))
    pieces = [whole[a:b] for a, b in pairwise([0, *cuts, len(whole)])]
    gaps = data.draw(st.lists(st.floats(0, 1), min_size=len(pieces), max_size=len(pieces)))
    instants = list(accumulate(gaps))

    at_once = told([(0.0, whole)])
    found = told(list(zip(instants, pieces, strict=True)))

    assert len(found.token_s) == len(at_once.token_s)
    assert list(found.token_s) == sorted(found.token_s)
    assert set(found.token_s) <= set(instants)
    for name in ("prompt_tokens", "counted", "finish_reason", "done"):
        assert getattr(found, name) == getattr(at_once, name)


@given(st.lists(st.binary(max_size=40) | messages.map(lambda m: m[:-3]), max_size=8))
def test_any_bytes_are_heard_or_a_stream_error(pieces):
    stream = Stream()
    try:
        for piece in pieces:
            stream.hear(1.0, piece)
        stream.end()
    except StreamError:
        pass

    found = stream.told()
    assert set(found.token_s) <= {1.0}
    assert found.counted or len(found.token_s) == stream.tokens
