"""The JSON text of a profile: compact, and nothing lost."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrate.schema import ProfileError, json_text, parse_json, wrong

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)  # fmt: skip


@given(values, st.integers(1, 120))
def test_json_text_reads_back_to_the_same_value(value, width):
    assert json.loads(json_text(value, width=width)) == value


def test_json_text_packs_long_lists_and_keeps_short_blocks_on_a_line():
    lines = json_text({"points": [[i, i + 0.5] for i in range(40)], "b": {"c": 1}}).split("\n")
    assert lines[0] == "{"
    assert lines[1] == '  "points": ['
    assert lines[2].startswith("    [0, 0.5], [1, 1.5], ")
    assert lines[-2] == '  "b": {"c": 1}'
    assert all(len(line) <= 100 for line in lines)
    assert len(lines) < 12


@pytest.mark.parametrize("data", ["", "{", "[NaN]", "[Infinity]", "[" * 100_000, "1" * 5000])
def test_what_is_no_json_is_refused_in_one_line(data):
    with pytest.raises(ProfileError, match=r"^not a JSON file: [^\n]+$"):
        parse_json(data)


def test_a_long_value_is_cut_and_kept_on_one_line():
    message = str(wrong("here", ["a\nb"] * 100, "less"))
    assert message.startswith("here is ['a")
    assert message.endswith("..., expected less")
    assert "\n" not in message
    assert len(message) < 100
