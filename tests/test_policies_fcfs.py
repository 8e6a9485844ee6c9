"""First come, first served with the engine's default number of seats."""

from __future__ import annotations

import pytest
from queue_cases import PAPER

from policies.catalog import make_policy
from policies.fcfs import Fcfs
from policies.protocol import PolicyError
from policies.static import Static
from sim import simulate
from traces import workload

TRACE = workload("W3", rps=20, n=60, seed=0)


def test_it_is_static_under_another_name():
    mine = simulate(TRACE, PAPER, Fcfs(16)).requests
    assert mine.equals(simulate(TRACE, PAPER, Static(16)).requests)
    assert (mine.admitted_s == mine.arrival_s).all()


def test_it_has_the_seats_that_vllm_has_by_default():
    assert make_policy("fcfs").max_num_seqs == 256
    assert simulate(TRACE, PAPER, "fcfs").options.max_num_seqs == 256


def test_parameters_are_checked():
    with pytest.raises(PolicyError, match=r"fcfs: max_num_seqs=0: expected a whole number"):
        make_policy("fcfs(0)")
