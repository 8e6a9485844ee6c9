"""Counts of inter-token gaps over time against every single token."""

from __future__ import annotations

import numpy as np
import pytest
from cases import expand
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.protocol import PS_PER_S
from sim.ledger import ReplicaLedger
from sim.tokens import EDGES_S, TokenCounts, scrapes_ps, token_counts

ANY = settings(suppress_health_check=list(HealthCheck))
MS = PS_PER_S // 1000

ROWS = st.lists(
    st.tuples(
        st.integers(0, 3000).map(lambda ms: ms * MS),  # instant of the first token
        st.integers(0, 120).map(lambda ms: ms * MS) | st.integers(0, 10**13),  # its gap
        st.sampled_from([0, 0, 1, 5 * MS]) | st.integers(0, 10**10),  # growth a step
        st.integers(1, 40),  # steps
        st.integers(1, 5),  # tokens a step
    ),
    max_size=6,
)
INSTANTS = st.lists(st.integers(0, 6000), min_size=1, max_size=9, unique=True).map(
    lambda ms: [each * MS for each in sorted(ms)]
)


def account(rows) -> ReplicaLedger:
    ledger = ReplicaLedger()
    for row in rows:
        ledger.gaps.extend(row)
    return ledger


@ANY
@given(ROWS, ROWS, INSTANTS)
def test_counts_are_those_of_every_token(first, second, instants):
    accounts = [account(first), account(second)]
    at_ps = [*instants, 10**18]
    found = token_counts(accounts, at_ps)
    for replica, ledger in enumerate(accounts):
        tokens = [(end, gap, n) for (end, gap), n in expand(list(ledger.gaps)).items()]
        for k, at in enumerate(at_ps):
            come = [(gap, n) for end, gap, n in tokens if end <= at]
            in_reach = [
                sum(n for gap, n in come if gap <= round(edge * PS_PER_S)) for edge in EDGES_S
            ]
            assert found.counts[replica, k].cumsum().tolist()[:-1] == in_reach
            assert found.counts[replica, k].sum() == sum(n for _, n in come)
            total_s = sum(gap * n for gap, n in come) / PS_PER_S
            assert found.sum_s[replica, k] == pytest.approx(total_s, rel=1e-12)


@ANY
@given(ROWS, INSTANTS)
def test_they_come_back_as_they_were_written(rows, instants):
    counts = token_counts([account(rows), account([])], [*instants, 10**18])
    again = TokenCounts.from_dict(counts.to_dict())
    for name in ("at_s", "counts", "sum_s"):
        assert np.array_equal(getattr(again, name), getattr(counts, name))


@ANY
@given(st.integers(0, 10**15), st.integers(1, 10**12), st.integers(1, 10_000))
def test_scrapes_cover_the_run_and_are_few(end_ps, interval_ps, replicas):
    at_ps = scrapes_ps(end_ps, interval_ps, replicas)
    assert at_ps[0] == 0
    assert at_ps[-1] >= end_ps
    assert len(at_ps) < 2 or at_ps[-2] < end_ps
    assert at_ps.step % interval_ps == 0
    steps = len(at_ps) - 1
    assert steps <= 1 or steps <= min(256, 4096 / replicas)
    # No coarser than it has to be: an interval less would be too many.
    finer = at_ps.step - interval_ps
    assert not finer or -(-end_ps // finer) > max(1, min(256, 4096 // replicas))


def test_without_a_timeline_the_end_alone_is_counted():
    assert list(scrapes_ps(77, None, 3)) == [77]
