"""Searches against brute force, on curves that fall or rise, and on some that do not quite."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.plan.search import best, highest, least


def drive(search, strain):
    """Answer a search from a function; return what it found and where it looked."""
    looked = []
    try:
        place = next(search)
        while True:
            looked.append(place)
            place = search.send(strain(place))
    except StopIteration as end:
        return end.value, looked


# -- the least number ------------------------------------------------------------------------------


@given(cap=st.integers(1, 300), first=st.integers(1, 400), start=st.integers(1, 300))
def test_least_is_what_brute_force_finds(cap, first, start):
    found, looked = drive(least(cap, min(start, cap)), lambda n: 0.5 if n >= first else 2.0)

    assert found == (first if first <= cap else None)
    assert len(set(looked)) <= 2 * math.log2(cap) + 5
    assert all(1 <= n <= cap for n in looked)


@given(cap=st.integers(3, 60), first=st.integers(3, 60), start=st.integers(1, 60))
def test_least_meets_and_one_less_does_not_whatever_noise_does(cap, first, start):
    def noisy(n):
        # The two numbers on either side of the boundary come out the wrong way round.
        return 0.9 if n in (first - 2, first) or n > first + 1 else 1.1

    found, _ = drive(least(cap, min(start, cap)), noisy)

    if found is not None:
        assert noisy(found) <= 1
        assert noisy(found - 1) > 1
        assert not (found > 2 and noisy(found - 2) <= 1)
    else:
        assert noisy(cap) > 1


def test_least_looks_below_a_number_that_fails():
    met = {3, 5, 6, 7, 8}
    found, looked = drive(least(8), lambda n: 0.9 if n in met else 1.1)

    assert found == 3
    assert 2 in looked


def test_least_from_a_good_guess_looks_at_few():
    _, looked = drive(least(64, start=40), lambda n: 0.9 if n >= 40 else 1.1)

    assert len(looked) == 3


def test_a_strain_that_is_no_number_is_not_met():
    assert drive(least(4), lambda n: math.nan)[0] is None


# -- the highest rate ------------------------------------------------------------------------------


def brute_force(strain, low, high, step=1.001):
    """Return the highest place of a fine grid up to which every place meets."""
    place, found = low, None
    while place <= high and strain(place) <= 1:
        found, place = place, place * step
    return found


@given(
    where=st.floats(0.02, 50),
    steepness=st.floats(0.3, 40),
    start=st.floats(0.1, 10),
    tolerance=st.sampled_from([0.01, 0.05]),
)
def test_highest_is_within_its_tolerance(where, steepness, start, tolerance):
    found, looked = drive(highest(start, tolerance), lambda x: (x / where) ** steepness)

    assert found.meets <= where * (1 + 1e-9)
    assert found.misses >= where * (1 - 1e-9)
    assert found.misses / found.meets <= (1 + tolerance) * (1 + 1e-9)
    assert found.slope == pytest.approx(steepness, rel=1e-6) or found.slope is None
    assert len(looked) == len(set(looked))
    assert len(looked) < 30


@given(where=st.floats(0.3, 3), steepness=st.floats(0.5, 8), flat=st.floats(0.1, 0.95))
def test_highest_on_a_curve_with_a_level_part_and_a_wall(where, steepness, flat):
    def strain(x):
        return math.inf if x > 1.5 * where else max(flat, (x / where) ** steepness)

    found, _ = drive(highest(), strain)

    assert found.meets == pytest.approx(brute_force(strain, 0.05, 10), rel=0.011)


@given(where=st.floats(0.3, 3), phase=st.floats(0, 6), steepness=st.floats(2, 8))
def test_highest_with_waves_is_a_crossing_within_2_percent_of_brute_force(where, phase, steepness):
    def strain(x):  # waves of half a percent in rate
        return (x / where) ** steepness * (
            1 + 0.005 * steepness * math.sin(300 * x / where + phase)
        )

    found, _ = drive(highest(), strain)

    assert strain(found.meets) <= 1 < strain(found.misses)
    assert found.meets == pytest.approx(brute_force(strain, where / 2, 2 * where), rel=0.02)


def test_highest_does_not_trust_an_answer_above_a_miss():
    def strain(x):  # missed from 0.97 to 0.995, and beyond 1
        return 1.2 if 0.97 < x <= 0.995 or x > 1 else 0.8

    found, _ = drive(highest(start=1.0), strain)

    assert found.meets <= 0.97


@given(where=st.floats(0.3, 3), wide=st.floats(0.001, 0.03), below=st.floats(0, 0.05))
def test_highest_looks_below_and_takes_the_lower_crossing(where, wide, below):
    dip = where * (1 - below)

    def strain(x):  # met up to `where`, but for a stretch that lies a little below
        return 0.8 if x <= where and not dip * (1 - wide) < x <= dip else 1.2

    found, looked = drive(highest(start=1.0), strain)

    beside = [x for x in looked if found.meets / 1.051 <= x < found.meets]
    assert beside
    assert all(strain(x) <= 1 for x in beside)
    assert strain(found.meets) <= 1 < strain(found.misses)


def test_highest_with_the_slope_of_an_earlier_search_needs_few_looks():
    def strain(x):
        return (x / 1.07) ** 2.2

    _, looked = drive(highest(1.0, slope=2.0), strain)

    assert len(looked) <= 5


@pytest.mark.parametrize(("value", "which"), [(0.5, "meets"), (2.0, "misses")])
def test_highest_gives_up_where_nothing_changes(value, which):
    found, looked = drive(highest(farthest=100), lambda x: value)

    assert getattr(found, which) is not None
    assert (found.meets is None) != (found.misses is None)
    assert max(looked) / min(looked) > 10
    assert max(looked) <= 100


# -- the best size ---------------------------------------------------------------------------------

SIZES = [8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256]


@given(valley=st.integers(0, 10), start=st.sampled_from(SIZES), steep=st.floats(0.1, 3))
def test_best_finds_the_bottom_of_a_valley(valley, start, steep):
    found, looked = drive(best(SIZES, start), lambda s: steep * abs(SIZES.index(s) - valley))

    assert found == SIZES[valley]
    assert len(looked) == len(set(looked))


def test_best_goes_on_over_level_ground():
    def strain(size):  # nothing changes from 32 up: no batch is ever that large
        return {8: 3.0, 12: 0.5, 16: 0.7}.get(size, 1.0)

    assert drive(best(SIZES, 256), strain)[0] == 12


def test_best_stays_where_all_are_alike():
    assert drive(best(SIZES, 64), lambda size: 1.0)[0] == 64


def test_best_of_one():
    assert drive(best([32], 32), lambda size: 1.0) == (32, [32])


def test_best_does_not_look_everywhere():
    _, looked = drive(best(SIZES, 64), lambda s: abs(SIZES.index(s) - 6))

    assert len(looked) < len(SIZES) / 2 + 1
