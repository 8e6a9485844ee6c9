"""Earliest deadline first: the order of its queue, and what it comes to past saturation."""

from __future__ import annotations

import pytest
from queue_cases import Bench, goodputs, standard_errors

from policies.catalog import make_policy
from policies.edf import Edf
from policies.protocol import PolicyError
from traces import workload


def test_seats_are_given_by_deadline_and_then_by_arrival():
    bench = Bench(Edf(max_num_seqs=2))
    assert bench.arrive(0, sla_s=9) == [0]
    assert bench.arrive(1) == [1]
    for request, sla_s in ((2, None), (3, 5), (4, 2), (5, 5), (6, None), (7, 1)):
        assert bench.arrive(request, sla_s=sla_s) == []
    assert bench.finish(0, 1) == [7, 4]
    assert bench.finish(7) == [3]
    assert bench.finish(4, 3) == [5, 2]


def test_a_deadline_counts_and_not_the_sla():
    bench = Bench(Edf(max_num_seqs=1))
    bench.arrive(0)
    bench.arrive(1, at_s=0.0, sla_s=8)
    bench.arrive(2, at_s=5.0, sla_s=2)
    assert bench.drain() == [2, 1]


def test_who_gave_up_is_forgotten_and_comes_back_as_someone_new():
    bench = Bench(Edf(max_num_seqs=1))
    bench.arrive(0)
    bench.arrive(1, sla_s=1)
    bench.arrive(2, sla_s=2)
    assert bench.give_up(1) == []
    bench.arrive(1, at_s=3.0, sla_s=1)
    assert bench.give_up(0) == [2]
    assert bench.finish(2) == [1]


@pytest.mark.parametrize("workload_name", ["W1", "W3"])
def test_it_collapses_past_saturation(workload_name):
    """C. Locke (1986): overloaded, EDF serves those who are about to miss, and all miss.

    Below saturation it meets nearly every deadline.  At twice the load that it bears it meets
    fewer deadlines a second than at half of it, and clearly fewer than SABER, which gives up on the
    hopeless.
    """
    low, high = {"W1": (3, 8), "W3": (4, 10)}[workload_name]

    def at(rps):
        return lambda seed: workload(workload_name, rps=rps, n=300, seed=seed)

    calm, overloaded = goodputs(Edf(), at(low)), goodputs(Edf(), at(high))
    assert calm.mean() > 97
    assert standard_errors(calm * low - overloaded * high) > 5
    assert standard_errors(goodputs("saber", at(high)) - overloaded) > 3


def test_parameters_are_checked():
    with pytest.raises(PolicyError, match=r"edf: max_num_seqs=1.5: expected a whole number"):
        make_policy("edf(1.5)")
