"""Distributions in few points: exact where they are given, close everywhere."""

import json

import numpy as np
import pytest

from sim.report.curves import bins_of, cdf_edges


def shares(values, edges):
    counts = np.bincount(bins_of(values, edges), minlength=len(edges))
    return np.cumsum(counts) / len(values)


def test_few_values_are_kept_as_they_are():
    assert cdf_edges([np.array([0.5, 2.0]), np.array([0.5, np.nan, 1.0])], 10).tolist() == [
        0.5, 1.0, 2.0
    ]  # fmt: skip


def test_no_value_has_no_edges():
    assert len(cdf_edges([np.array([np.nan])], 10)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_a_distribution_is_exact_at_its_edges_and_close_between(seed):
    rng = np.random.default_rng(seed)
    values = np.concatenate((rng.lognormal(0, 1.5, 5000), rng.lognormal(4, 0.1, 50)))
    edges = cdf_edges([values], 200)
    assert len(edges) <= 230
    assert edges[-1] >= values.max()
    found = shares(values, edges)
    assert np.array_equal(found, np.searchsorted(np.sort(values), edges, side="right") / 5050)
    assert np.diff(found, prepend=0).max() < 0.011
    assert np.diff(found[found >= 0.98]).max() < 0.003


def test_edges_survive_json():
    values = np.random.default_rng(1).exponential(1.0, 3000)
    edges = cdf_edges([values], 150)
    assert json.loads(json.dumps(edges.tolist())) == edges.tolist()


def test_a_value_on_an_edge_counts_there_and_none_is_lost():
    edges = np.array([1.0, 2.0])
    assert bins_of(np.array([0.5, 1.0, 1.5, 2.0, np.nan]), edges).tolist() == [0, 0, 1, 1, -1]


def test_zeros_are_values_too():
    values = np.concatenate((np.zeros(500), np.linspace(0, 1, 1000)))
    edges = cdf_edges([values], 100)
    assert edges[0] == 0
    assert shares(values, edges)[0] == pytest.approx(501 / 1500)
