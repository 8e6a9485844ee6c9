"""Pooled inter-token gaps against numpy on every single token."""

from __future__ import annotations

import numpy as np
import pytest
from cases import expand
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim.gaps import gap_rows, pooled_mean, pooled_percentiles
from sim.ledger import ReplicaLedger

ANY = settings(suppress_health_check=list(HealthCheck))

PERCENT = (0, 1, 25, 50, 90, 95, 99, 99.9, 100)

ROWS = st.lists(
    st.tuples(
        st.integers(0, 500),  # instant of the first token
        st.integers(0, 30) | st.integers(0, 10**13),  # its gap
        st.sampled_from([0, 0, 1, 2, 7]) | st.integers(0, 10**9),  # growth a step
        st.integers(1, 20),  # steps
        st.integers(1, 5),  # tokens a step
    ),
    max_size=8,
)


def account(rows) -> ReplicaLedger:
    ledger = ReplicaLedger()
    for row in rows:
        ledger.gaps.extend(row)
    return ledger


def tokens(*accounts: ReplicaLedger, from_ps: int = 0) -> np.ndarray:
    """Return the gap of each token."""
    gaps = [
        gap
        for ledger in accounts
        for (end, gap), count in expand(list(ledger.gaps)).items()
        for _ in range(count)
        if end >= from_ps
    ]
    return np.array(gaps, dtype=np.float64)


@ANY
@given(ROWS, ROWS)
def test_mean_and_percentiles_are_those_of_all_tokens(first, second):
    accounts = account(first), account(second)
    rows, gaps = gap_rows(accounts), tokens(*accounts)
    if not len(gaps):
        assert np.isnan(pooled_mean(rows))
        assert np.isnan(pooled_percentiles(rows, PERCENT)).all()
        return
    assert pooled_mean(rows) == pytest.approx(gaps.mean(), rel=1e-12)
    expected = np.percentile(gaps, PERCENT)
    assert pooled_percentiles(rows, PERCENT) == pytest.approx(expected.tolist(), rel=1e-12)


@ANY
@given(ROWS, st.integers(-1, 700) | st.integers(0, 10**13))
def test_a_warm_up_cuts_tokens_and_not_rows(rows, from_ps):
    ledger = account(rows)
    before = list(ledger.gaps)
    kept = gap_rows([ledger], from_ps)
    assert expand(kept.ravel().tolist()) == {
        token: count for token, count in expand(before).items() if token[0] >= from_ps
    }
    gaps = tokens(ledger, from_ps=from_ps)
    if len(gaps):
        assert pooled_percentiles(kept, [50]) == pytest.approx([np.percentile(gaps, 50)])
    # What was accounted stays as it was.
    assert list(ledger.gaps) == before


def test_a_worked_example():
    # Three steps of gaps 10, 12, 14 for two sequences, and one gap of 100: 7 tokens.
    rows = gap_rows([account([(50, 10, 2, 3, 2), (300, 100, 0, 1, 1)])])
    assert pooled_mean(rows) == pytest.approx((2 * (10 + 12 + 14) + 100) / 7)
    assert pooled_percentiles(rows, [0, 50, 100]) == [10, 12, 100]
    # They came at 50, 62, 76 and 300.
    rows = gap_rows([account([(50, 10, 2, 3, 2), (300, 100, 0, 1, 1)])], from_ps=62)
    assert pooled_mean(rows) == pytest.approx((2 * (12 + 14) + 100) / 5)


def test_many_tokens_cost_no_more_than_few():
    # A million million tokens, of which numpy could not hold an array.
    rows = gap_rows([account([(0, 1, 1, 10**6, 10**6)])])
    assert pooled_percentiles(rows, [50]) == [(10**6 + 1) / 2]
    assert pooled_mean(rows) == pytest.approx((10**6 + 1) / 2)
