"""Options that are wrong are refused in one line before anything is sent."""

import pytest

from calibrate import ProfileError
from calibrate.endpoint.options import EndpointOptions

URL = "http://host:8000/v1"


def test_the_defaults_are_sound_and_the_levels_are_kept():
    assert EndpointOptions(URL, "m").max_requests == 1000
    assert EndpointOptions(URL, "m", levels=(1, 3), max_num_seqs=4).levels == (1, 3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"url": "host:8000"}, "address"),
        ({"model": " "}, "--model"),
        ({"api": "messages"}, "--api"),
        ({"max_requests": 39}, "--max-requests 39 is too few"),
        ({"budget_s": 0.0}, "--budget"),
        ({"discipline": "chunky"}, "did you mean 'chunked'"),
        ({"levels": ()}, "--levels"),
        ({"levels": (1,)}, "over 1"),
        ({"levels": (4, 2)}, "rising"),
        ({"levels": (0, 2)}, "from 1 on"),
        ({"levels": (2, 5000)}, "at most 1024"),
        ({"levels": (1, 8), "max_num_seqs": 4}, "more than --max-num-seqs 4"),
        ({"max_num_seqs": 1}, "at least two"),
        ({"kv_tokens": 0}, "--kv-tokens"),
        (
            {"discipline": "prefill-first", "max_num_batched_tokens": 512},
            "has no effect with --discipline prefill-first",
        ),
        ({"device_name": ""}, "--device-name"),
        ({"seed": -1}, "--seed"),
    ],
)
def test_what_is_wrong_is_named(wrong, message):
    with pytest.raises(ProfileError, match=message) as error:
        EndpointOptions(**{"url": URL, "model": "m", **wrong})
    assert "\n" not in str(error.value)


def test_the_key_is_not_shown():
    assert "secret" not in repr(EndpointOptions(URL, "m", key="secret"))
