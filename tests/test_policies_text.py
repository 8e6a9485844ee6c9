"""Text to object and back, whatever the object."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.protocol import PolicyError
from policies.text import call_text, nearest, parse_call


@dataclass(frozen=True)
class Plain:
    pass


@dataclass(frozen=True)
class Box:
    width: object
    height: object = 2
    colour: object = "red"


@dataclass(frozen=True)
class Bag:
    things: tuple = field(default_factory=tuple)


KINDS = {"plain-thing": Plain, "plain+": Plain, "bag": Bag, "big-box": Box}


def parse(text: str, **options):
    return parse_call(text, KINDS, "thing", **options)


@pytest.mark.parametrize(
    ("text", "thing"),
    [
        ("plain-thing", Plain()),
        ("plain_thing", Plain()),
        ("plain+", Plain()),
        ("  plain-thing()  ", Plain()),
        ("big-box(3)", Box(3)),
        ("big-box( 3 , colour = blue )", Box(3, 2, "blue")),
        ("big-box(colour='dark blue', width=-1.5)", Box(-1.5, 2, "dark blue")),
        ("big-box(1e3, None)", Box(1000.0, None)),
        ("big-box(0x10, True)", Box(16, True)),
        ('big-box("a, b (c)")', Box("a, b (c)")),
        ("bag", Bag()),
    ],
)
def test_what_a_text_means(text, thing):
    assert parse(text) == thing


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("big-bx", "unknown thing 'big-bx', did you mean 'big-box'?"),
        ("pebble", "unknown thing 'pebble': expected one of plain-thing, plain+, bag, big-box"),
        ("big-box", "thing 'big-box': width is missing: expected big-box(width=...)"),
        ("big-box(1, 2, 3, 4)", "4 values for 3 parameters (width, height, colour)"),
        ("big-box(1, width=2)", "big-box: parameter 'width' is given twice"),
        ("big-box(1, with=2)", "expected a name such as big-box, or name(parameter=value, ...)"),
        ("big-box(1, widht=2)", "unknown parameter 'widht', did you mean 'width'?"),
        ("big-box(1, x=2)", "unknown parameter 'x': expected one of width, height, colour"),
        ("plain-thing(1)", "thing 'plain-thing(1)': plain-thing has no parameters"),
        ("plain-thing(a=1)", "thing 'plain-thing(a=1)': plain-thing has no parameters"),
        ("big-box(a.b)", "big-box: width=a.b: expected a number, a word or None"),
        ("big-box(*a)", "big-box: width=*a: expected a number, a word or None"),
        ("big-box(-x)", "big-box: width=-x: expected a number, a word or None"),
        ("big - box(1)", "expected a name such as big-box"),
        ("big-box(1)(2)", "expected a name such as big-box"),
        ("big-box(1", "expected a name such as big-box"),
        ("", "expected a name such as big-box"),
    ],
)
def test_what_a_text_can_not_mean(text, message):
    with pytest.raises(PolicyError) as error:
        parse(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_hint_and_the_error_are_the_callers():
    class OwnError(ValueError):
        pass

    with pytest.raises(OwnError, match=r"did you mean 'bag'\? \(or none\)$"):
        parse("bog", hint=" (or none)", error=OwnError)
    with pytest.raises(OwnError, match="has no parameters"):
        parse("plain-thing(1)", error=OwnError)


@pytest.mark.parametrize(
    ("thing", "text"),
    [
        (Box(3), "big-box(width=3)"),
        (Box(3, 2, "red"), "big-box(width=3)"),
        (Box(None, 2.5, "dark blue"), "big-box(width=None, height=2.5, colour='dark blue')"),
        (Box("wide"), "big-box(width=wide)"),
        (Box("None"), "big-box(width='None')"),
        (Box("ª"), "big-box(width='ª')"),
        (Box(np.float64(0.5)), "big-box(width=0.5)"),
    ],
)
def test_the_text_of_a_thing(thing, text):
    assert call_text("big-box", thing) == text
    assert parse(text) == thing
    assert call_text("plain-thing", Plain()) == "plain-thing"


VALUES = st.none() | st.booleans() | st.integers() | st.floats(-1e300, 1e300) | st.text(max_size=9)


@given(VALUES, VALUES, VALUES)
def test_every_thing_has_a_text_that_means_it(width, height, colour):
    thing = Box(width, height, colour)
    assert parse(call_text("big-box", thing)) == thing


def test_the_nearest_word():
    assert nearest("Width", ["width", "height"]) == ", did you mean 'width'?"
    assert nearest("zzz", ["width", "height"]) == ": expected one of width, height"
