"""How long steps take beside what a profile says."""

import pytest

from policies.pace import BELIEVED, Pace


def run(pace, step_s, steps, *, held_up_s=0.0):
    """One request runs alone and is looked at every ten steps."""
    now_s, tokens = 0.0, 1
    pace.advance(now_s, 0)
    pace.observe({7: tokens})
    for _ in range(steps // 10):
        if held_up_s:
            pace.hold_up(held_up_s)
        now_s += 10 * step_s + held_up_s
        tokens += 10
        pace.advance(now_s, 1)
        pace.observe({7: tokens})
    return pace.factor


@pytest.mark.parametrize("slower", [0.5, 1.0, 1.3, 2.0])
def test_the_factor_becomes_that_of_the_steps(slower):
    assert run(Pace((0.0, 0.01)), 0.01 * slower, 3000) == pytest.approx(slower, rel=0.01)


def test_a_few_steps_hardly_move_it():
    assert 1.0 < run(Pace((0.0, 0.01)), 0.02, 20) < 1.25


def test_it_stays_within_what_is_believed():
    assert run(Pace((0.0, 0.01)), 1.0, 3000) == BELIEVED[1]
    assert run(Pace((0.0, 0.01)), 1e-5, 3000) == BELIEVED[0]


def test_time_for_prompts_is_no_time_for_steps():
    assert run(Pace((0.0, 0.01)), 0.01, 3000, held_up_s=0.05) == pytest.approx(1.0, rel=0.01)


def test_what_a_prompt_did_not_take_is_forgotten_once_nobody_runs():
    pace = Pace((0.0, 0.01))
    pace.hold_up(2.1)
    pace.advance(0.1, 1)
    pace.advance(0.2, 0)
    pace.observe({7: 1})
    pace.advance(4.2, 1)
    pace.observe({7: 401})
    assert pace.factor == pytest.approx(1.0)


def test_the_step_is_that_of_the_batch():
    pace = Pace((0.0, 0.01, 0.03))
    pace.advance(0.0, 0)
    pace.observe({1: 1, 2: 1})
    pace.advance(0.3, 2)
    pace.observe({1: 11, 2: 11})
    assert pace.factor == pytest.approx(1.0)


def test_who_has_just_come_tells_nothing():
    pace = Pace((0.0, 0.01))
    pace.observe({1: 5})
    pace.advance(9.0, 1)
    pace.observe({2: 3})
    assert pace.factor == 1.0
