"""Leaps and single steps give the same result, compared with ``==``."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from cases import run
from hypothesis import HealthCheck, given, note, settings
from strategies import cases

from sim.cluster.run import run_cluster
from sim.ledger import FINISHED, REFUSED, UNFINISHED, UNSET
from sim.stepwise import run_stepwise

if TYPE_CHECKING:
    from cases import Case, Outcome

ANY = settings(suppress_health_check=list(HealthCheck))


def check_equal(case: Case) -> None:
    leap, step = run(case, run_cluster), run(case, run_stepwise)
    assert leap == step
    check_invariants(case, leap)


def check_invariants(case: Case, r: Outcome) -> None:
    """Check what must hold of any run, whichever way it was advanced."""
    until_ps = case.until_ps
    for i, (arrival, _, output, *_) in enumerate(case.requests):
        assert (r.replica[i] >= 0) == (until_ps is None or arrival <= until_ps)
        instants = (r.admitted[i], r.first_token[i], r.finished[i])
        if r.status[i] == FINISHED:
            assert arrival <= r.admitted[i] <= r.first_token[i] <= r.finished[i]
            if output == 1:
                assert r.first_token[i] == r.finished[i]
        elif r.status[i] == REFUSED:
            assert instants == (UNSET, UNSET, UNSET)
            assert i in r.reason
            assert r.gone[i] >= arrival
        else:
            assert r.status[i] == UNFINISHED
            # Nothing disappears: only the end of the clock leaves a request undone.
            assert until_ps is not None
            assert r.finished[i] == UNSET
        if until_ps is not None:
            assert max(instants) <= until_ps

    gaps = sum(sum(tokens.values()) for tokens in r.gaps)
    outputs = [request[2] for request in case.requests]
    rest = range(len(outputs))
    done = sum(outputs[i] - 1 for i in rest if r.status[i] == FINISHED)
    begun = sum(
        outputs[i] - 2 for i in rest if r.status[i] == UNFINISHED and r.first_token[i] != UNSET
    )
    assert done <= gaps <= done + begun

    for busy, tokens, limits, batch in zip(
        r.busy, r.gaps, case.replicas, r.peak_batch, strict=True
    ):
        assert len(busy) % 2 == 0
        periods = list(zip(busy[::2], busy[1::2], strict=True))
        assert all(start <= end for start, end in periods)
        assert all(end < start for (_, end), (start, _) in pairwise(periods))
        for end, gap in tokens:
            assert gap >= 0
            assert any(start <= end <= stop for start, stop in periods)
        assert batch <= limits.max_num_seqs


@settings(ANY, max_examples=300)
@given(cases())
def test_leap_equals_step(case: Case):
    note(repr(case))
    check_equal(case)


@pytest.mark.nightly
@settings(ANY, max_examples=10_000)
@given(cases())
def test_leap_equals_step_at_length(case: Case):
    note(repr(case))
    check_equal(case)
