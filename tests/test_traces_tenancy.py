"""Tenants drawn for a trace that has none."""

from __future__ import annotations

import numpy as np
import pytest

from traces import load, workload
from traces.errors import TraceError
from traces.formats import save
from traces.request import Trace
from traces.tenancy import with_tenants

MANY = workload("W3", rps=10, n=20_000, seed=0)


def test_tenants_get_their_shares_of_the_traffic():
    drawn = with_tenants(MANY, {"a": 3, "b": 1}, np.random.default_rng(0))
    assert drawn.tenants == ("a", "b")
    share = (drawn.tenant_code == 0).mean()
    assert abs(share - 0.75) < 4 * (0.75 * 0.25 / len(MANY)) ** 0.5
    assert np.array_equal(drawn.arrival_s, MANY.arrival_s)


def test_a_session_has_one_tenant():
    sessions = [f"s{i % 50}" if i % 3 else None for i in range(3000)]
    trace = Trace(np.arange(3000.0), np.ones(3000, int), np.ones(3000, int), session=sessions)
    drawn = with_tenants(trace, {"a": 1, "b": 1}, np.random.default_rng(1))
    for code in range(len(drawn.sessions)):
        assert len(set(drawn.tenant_code[drawn.session_code == code])) == 1
    alone = drawn.tenant_code[drawn.session_code < 0]
    assert set(alone) == {0, 1}


def test_they_survive_a_file(tmp_path):
    drawn = with_tenants(MANY[:50], {"a": 1, "b": 1}, np.random.default_rng(2))
    save(drawn, tmp_path / "t.csv")
    assert load(tmp_path / "t.csv") == drawn


@pytest.mark.parametrize("shares", [{}, {"a": 0.0}, {"a": -1}, {"a": float("inf")}])
def test_shares_that_are_none(shares):
    with pytest.raises(TraceError, match="expected weights above 0"):
        with_tenants(MANY, shares, np.random.default_rng(0))


def test_tenants_of_its_own_are_kept():
    drawn = with_tenants(MANY[:5], {"a": 1}, np.random.default_rng(0))
    with pytest.raises(TraceError, match="has tenants of its own"):
        with_tenants(drawn, {"b": 1}, np.random.default_rng(0))
