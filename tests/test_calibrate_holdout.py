"""Rows held out of a fit: a third, whole, spread, never at an end."""

from itertools import pairwise

from fit_cases import GRID
from hypothesis import given
from hypothesis import strategies as st

from calibrate.holdout import held_out_rows, is_held_out
from calibrate.steps import Step


def test_the_rows_of_a_small_grid():
    assert held_out_rows(GRID) == {
        "decode": [{"batch": 2}, {"batch": 16}],
        "prefill": [{"prompt_tokens": 16}, {"prompt_tokens": 256}, {"prompt_tokens": 1024}],
        "chunk": [{"past_tokens": 1024}],
        "mixed": [{"batch": 4}],
    }


def test_rows_run_along_the_size_there_is_most_of():
    steps = [Step(prompt_tokens=p, past_tokens=past) for p in (8, 16, 32) for past in (64, 128)]
    assert held_out_rows(steps) == {"chunk": [{"prompt_tokens": 16}]}
    steps = [Step(b, 5, prompt_tokens=p) for b in (1, 2) for p in (4, 8, 16, 32)]
    assert held_out_rows(steps) == {"mixed": [{"prompt_tokens": 8}]}


def test_a_row_is_all_of_it_and_nothing_of_other_kinds():
    rows = held_out_rows(GRID)
    held = [step for step in GRID if is_held_out(step, rows)]
    assert {s.batch for s in held if s.kind == "decode"} == {2, 16}
    assert [s for s in held if s.kind == "decode"] == [
        s for s in GRID if s.kind == "decode" and s.batch in (2, 16)
    ]
    # Prompts of 1024 tokens are held out alone, chunks of 1024 are not.
    assert Step(prompt_tokens=1024) in held
    assert Step(prompt_tokens=1024, past_tokens=256) not in held
    assert not is_held_out(Step(16, 1024, prompt_tokens=32), rows)


@given(st.sets(st.integers(1, 10**4), max_size=40))
def test_a_third_between_neighbours_that_are_not_held_out(sizes):
    rows = held_out_rows([Step(prompt_tokens=p) for p in sizes])
    if len(sizes) < 3:
        assert rows == {}
        return
    ordered = sorted(sizes)
    places = [ordered.index(row["prompt_tokens"]) for row in rows["prefill"]]
    assert abs(len(places) - len(sizes) / 3) <= 0.5
    taken = set(places)
    assert not taken & {0, len(sizes) - 1}
    assert all(place + 1 not in taken for place in places)
    # Spread over the range: no long stretch goes untested.
    edges = [0, *places, len(sizes) - 1]
    assert max(b - a for a, b in pairwise(edges)) <= 4


def test_steps_in_any_order_and_number_give_the_same_rows():
    assert held_out_rows([*reversed(GRID), *GRID]) == held_out_rows(GRID)
