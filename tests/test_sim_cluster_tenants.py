"""Tenants: shares of a cap, and the texts they are given as."""

from __future__ import annotations

import numpy as np
import pytest

from sim.cluster.tenants import Tenants, parse_shares
from sim.options import OptionError


@pytest.mark.parametrize(
    ("shares", "most", "caps"),
    [
        ({"a": 3, "b": 1}, 8, {"a": 6, "b": 2}),
        ({"a": 1, "b": 1, "c": 1}, 10, {"a": 3, "b": 3, "c": 3}),
        # In floats 30 * 0.1 / (0.1 + 0.1 + 0.1) is 9.999999999999998.
        ({"a": 0.1, "b": 0.1, "c": 0.1}, 30, {"a": 10, "b": 10, "c": 10}),
        # At least one, however small the share.
        ({"a": 99, "b": 1}, 10, {"a": 9, "b": 1}),
        ({"a": 0.5}, 7, {"a": 7}),
        ({"a": np.float64(3), "b": 1}, np.int64(4), {"a": 3, "b": 1}),
    ],
)
def test_caps(shares, most, caps):
    found = Tenants(shares, most).caps()
    assert found == caps
    assert all(type(cap) is int for cap in found.values())


@pytest.mark.parametrize(
    ("shares", "most", "message"),
    [
        ({"a": 1}, 0, "max_requests=0: expected a whole number of at least 1"),
        ({"a": 1}, 1.5, "max_requests=1.5: expected a whole number of at least 1"),
        ({}, 3, "tenant shares {}: expected weights above 0"),
        ({"a": 0}, 3, "tenant shares {'a': 0}: expected weights above 0"),
        ({"a": -1}, 3, "expected weights above 0"),
        ({"a": float("nan")}, 3, "expected weights above 0"),
        ({"a": float("inf")}, 3, "expected weights above 0"),
        ({"a": True}, 3, "expected weights above 0"),
        ({"a": "1"}, 3, "expected weights above 0"),
        (["a"], 3, "tenant shares ['a']: expected a mapping such as {'a': 3, 'b': 1}"),
        ("a=1", 3, "tenant shares 'a=1': expected a mapping"),
        (None, 3, "tenant shares None: expected a mapping"),
    ],
)
def test_what_can_not_be_meant_is_one_clear_line(shares, most, message):
    with pytest.raises(OptionError) as error:
        Tenants(shares, most)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_shares_as_text():
    assert parse_shares("a=3,b=1") == {"a": 3.0, "b": 1.0}
    assert parse_shares(" team one = 0.5 , b=1e1") == {"team one": 0.5, "b": 10.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "tenants '': expected NAME=WEIGHT at ''"),
        ("a", "tenants 'a': expected NAME=WEIGHT at 'a'"),
        ("a=", "expected NAME=WEIGHT at 'a='"),
        ("a=x", "expected NAME=WEIGHT at 'a=x'"),
        ("a=1,", "expected NAME=WEIGHT at ''"),
        ("=1", "expected each name once, at '=1'"),
        ("a=1,a=2", "expected each name once, at 'a=2'"),
        ("a=b=1", "expected NAME=WEIGHT at 'a=b=1'"),
    ],
)
def test_a_text_that_names_no_shares_is_one_clear_line(text, message):
    with pytest.raises(OptionError) as error:
        parse_shares(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
