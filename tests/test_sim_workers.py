"""The same call for many things, in order, however many workers there are."""

import pytest

from sim.options import OptionError
from sim.workers import check_jobs, each


def double(number):
    return 2 * number


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_order(jobs):
    assert list(each(double, range(20), jobs)) == list(range(0, 40, 2))


def test_a_stream_can_be_left_before_its_end():
    stream = each(double, range(50), 2)  # warnings are errors here
    assert next(stream) == 0
    stream.close()


@pytest.mark.parametrize("jobs", [0, -2])
def test_no_such_number_of_workers(jobs):
    with pytest.raises(OptionError, match=f"jobs={jobs}"):
        check_jobs(jobs)
