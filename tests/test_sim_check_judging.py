"""A guard at a look: from values by seed to a finding."""

import numpy as np
import pytest

from sim.check.guard import Guard
from sim.check.judging import compared, judged
from sim.check.verdict import Look
from sim.options import OptionError

LOOK = Look(20, 0.005)
RNG = np.random.default_rng(5)
BASE = (50 + 10 * RNG.standard_normal(20)).tolist()


def guard(**parts):
    return Guard("s", "saber", "goodput_pct", **{"better": "higher", "tolerance": 1.0, **parts})


def moved(by, noise=0.5):
    noises = noise * np.random.default_rng(6).standard_normal(20)
    return (np.array(BASE) + by + noises - noises.mean()).tolist()


@pytest.mark.parametrize(
    ("parts", "by", "state"),
    [
        ({}, -3, "fail"),
        ({}, -0.2, "pass"),
        ({}, +3, "pass"),
        ({}, -1, "inconclusive"),
        ({"better": "lower"}, +3, "fail"),
        ({"better": "lower"}, -3, "pass"),
        ({"better": "same"}, +3, "fail"),
        ({"better": "same"}, -3, "fail"),
        ({"better": "same"}, 0.1, "pass"),
        ({"tolerance": 0.02, "relative": True}, -4, "fail"),
        ({"tolerance": 0.2, "relative": True}, -4, "pass"),
        ({"tolerance": 0.0, "at_least": 3.0}, +4, "pass"),
        ({"tolerance": 0.0, "at_least": 3.0}, +2, "fail"),
    ],
)
def test_the_mean_change_decides(parts, by, state):
    found = judged(guard(**parts), LOOK, moved(by), BASE, 0)

    assert found.state == state
    assert found.seeds == 20
    assert found.change == pytest.approx(by, abs=1e-9)
    assert found.reference == pytest.approx(np.mean(BASE))


@pytest.mark.parametrize("better", ["higher", "lower", "same"])
@pytest.mark.parametrize("by", [-3, 3])
@pytest.mark.parametrize("relative", [False, True])
def test_the_interval_is_one_of_the_change(better, by, relative):
    parts = {"tolerance": 0.02, "relative": True} if relative else {}
    found = judged(guard(better=better, **parts), LOOK, moved(by), BASE, 0)
    assert found.low < by < found.high
    assert found.high - found.low < 2


@pytest.mark.parametrize("seed", range(40))
def test_the_interval_has_the_sign_of_the_change_whatever_is_rounded(seed):
    rng = np.random.default_rng(seed)
    base = 0.0167 * (1 + 0.1 * rng.standard_normal(20))
    now = base - 0.000457 + 0.00005 * rng.standard_normal(20)
    either_way = guard(better="same", tolerance=0.02, relative=True)
    found = judged(either_way, LOOK, now.tolist(), base.tolist(), 0)
    assert found.low < found.change < found.high < 0


def test_decisions_hang_on_guard_and_look_alone():
    one, two = (judged(guard(), LOOK, moved(-1), BASE, 0) for _ in range(2))
    other = judged(guard(tolerance=2.0, against="static(8)"), LOOK, moved(-1), BASE, 0)
    assert one == two
    assert one.low != other.low


def test_rounding_is_no_change():
    rounded = [value * (1 + 1e-12) for value in BASE]
    found = judged(guard(tolerance=0.0, better="same"), LOOK, rounded, BASE, 0)
    assert (found.state, found.change) == ("pass", 0)
    assert (
        judged(guard(tolerance=0.0), LOOK, [v * (1 - 1e-6) for v in BASE], BASE, 0).state == "fail"
    )


def test_equal_values_pass_a_relative_tolerance_however_they_scatter():
    scattered = np.exp(3 * np.random.default_rng(1).standard_normal(20)).tolist()
    found = judged(
        guard(tolerance=0.001, relative=True, better="same"), LOOK, scattered, scattered, 0
    )
    assert (found.state, found.low, found.high) == ("pass", 0, 0)


def test_a_value_the_candidate_lacks_is_a_failure():
    lacking = [None if seed in (3, 4) else value for seed, value in enumerate(BASE)]
    found = judged(guard(), LOOK, lacking, BASE, 100)
    assert found.state == "fail"
    assert found.reason == "there is no value with seed 103 and 1 other, where there should be one"
    assert found.seeds == 18


def test_a_value_the_reference_lacks_is_left_out():
    lacking = [None, *BASE[1:]]
    found = judged(guard(), LOOK, moved(-3), lacking, 0)
    assert found.state == "fail"
    assert found.reference == pytest.approx(np.mean(BASE[1:]))
    same = judged(guard(better="same"), LOOK, BASE, lacking, 0)
    assert same.state == "fail"
    assert same.reason == "there is a value with seed 0, where there was none"
    none = judged(guard(), LOOK, BASE, [None] * 20, 0)
    assert (none.state, none.reason) == ("inconclusive", "there is nothing to compare it with")
    assert none.seeds == 20


def test_seeds_that_are_needed_count_those_without_a_value():
    every = judged(guard(), LOOK, moved(-0.9), BASE, 0)
    both = Look(40, LOOK.tail)
    half = [value for pair in zip(moved(-0.9), [None] * 20, strict=True) for value in pair]
    base = [value for pair in zip(BASE, [None] * 20, strict=True) for value in pair]
    found = judged(guard(), both, half, base, 0)
    assert every.state == found.state == "inconclusive"
    assert found.needed == pytest.approx(2 * every.needed, abs=1)


def test_what_has_no_value_anywhere_cannot_be_guarded():
    for parts, reference in (({}, [None] * 20), ({"against": "number", "number": 3.0}, [3.0] * 20)):
        with pytest.raises(OptionError, match="goodput_pct of saber has no value on any seed"):
            compared(guard(**parts), [None] * 20, reference, 0)


def test_means_without_a_verdict_are_over_what_both_have():
    found, candidate, reference = compared(guard(), [1.0, None, 3.0], [2.0, None], 0)
    assert (found.state, found.seeds, found.candidate, found.reference) == ("incomplete", 1, 1, 2)
    assert (candidate.tolist(), reference.tolist()) == ([1], [2])
