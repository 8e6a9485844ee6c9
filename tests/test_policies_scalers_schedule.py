"""A schedule: what holds when, and what is none."""

from __future__ import annotations

import pytest

from policies.protocol import PS_PER_S, PolicyError
from policies.scalers_schedule import Schedule
from policies.scaling import Load


def at(schedule: Schedule, now_ps: int) -> int:
    return schedule.desired(Load(now_ps, 1, 0, 0.0, 0, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("hour", "replicas"),
    [(0, 2), (7.99, 2), (8, 6), (17.99, 6), (18, 3), (23.9, 3), (24, 2), (32, 6)],
)
def test_the_day_begins_anew(hour, replicas):
    assert at(Schedule("0:2, 28800:6, 64800:3"), round(hour * 3600 * PS_PER_S)) == replicas


def test_a_step_holds_from_its_very_instant():
    schedule = Schedule("0:1, 0.1:2", period_s=1)
    assert at(schedule, PS_PER_S // 10 - 1) == 1
    assert at(schedule, PS_PER_S // 10) == 2
    assert at(schedule, PS_PER_S - 1) == 2
    assert at(schedule, PS_PER_S) == 1


def test_before_the_first_step_the_last_one_holds():
    schedule = Schedule("10:0, 20:4", period_s=30)
    assert [at(schedule, s * PS_PER_S) for s in (0, 9, 10, 20, 39, 40)] == [4, 4, 0, 4, 4, 0]


@pytest.mark.parametrize(
    ("steps", "period_s", "message"),
    [
        ("", 10, "schedule: steps='': expected seconds:replicas, such as"),
        ("0", 10, "not '0'"),
        ("0:2,", 10, "not ''"),
        ("0:2.5", 10, "not '0:2.5'"),
        ("0:-1", 10, "not '0:-1'"),
        ("-1:1", 10, "not '-1:1'"),
        ("8h:1", 10, "not '8h:1'"),
        ("nan:1", 10, "not 'nan:1'"),
        ("inf:1", 10, "not 'inf:1'"),
        ("0:1:2", 10, "not '0:1:2'"),
        (3, 10, "schedule: steps=3: expected seconds:replicas"),
        ("0:1, 5:2, 5:3", 10, "expected ascending times, not 5 after 5"),
        ("5:1, 0:2", 10, "expected ascending times, not 0 after 5"),
        ("0:1, 10:2", 10, "schedule: steps='0:1, 10:2': expected times below period_s=10"),
        ("0:1", 0, "schedule: period_s=0: expected a number of at least 1e-09"),
        ("0:1", "day", "schedule: period_s='day': expected a number"),
    ],
)
def test_what_is_no_schedule(steps, period_s, message):
    with pytest.raises(PolicyError) as error:
        Schedule(steps, period_s)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
