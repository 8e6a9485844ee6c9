"""Series over time against numbers worked out by hand."""

import numpy as np
import pytest
from report_cases import frame, simulated, timeline

from sim.report.series import (
    bin_edges,
    gauges,
    load_by_arrival,
    replicas_up,
    tokens_by_bin,
    up,
)


def test_bins_are_round_and_cover_the_span():
    edges = bin_edges(3.2, 17.0, 160)
    assert edges[0] == 3.0
    assert edges[-1] > 17.0
    assert np.allclose(np.diff(edges), 1.0)


@pytest.mark.parametrize(
    ("start_s", "end_s", "requests"),
    [(0.0, 0.0, 1), (0.0, 0.037, 500), (5.0, 5.0, 9), (0, 86_400 * 14, 10**6), (0.0, 95.0, 10**5)],
)
def test_bins_of_any_span_are_not_too_many_and_hold_every_instant(start_s, end_s, requests):
    edges = bin_edges(start_s, end_s, requests)
    assert 2 <= len(edges) <= 123
    assert edges[0] <= start_s
    assert edges[-1] > end_s


def test_an_instant_on_the_last_edge_has_a_bin():
    edges = bin_edges(0.0, 10.0, 80)
    assert np.histogram([10.0], edges)[0].sum() == 1
    assert edges[-2] <= 10.0 < edges[-1]


def test_goodput_is_the_met_share_by_bin_of_arrival():
    requests = frame(
        arrival_s=[0.0, 0.5, 1.5, 1.6, 1.7, 2.5], met=[True, False, True, True, False, None]
    )
    load = load_by_arrival(requests, np.array([0.0, 1.0, 2.0, 3.0, 4.0]))
    assert load.offered.tolist() == [2, 3, 1, 0]
    assert load.objectives.tolist() == [2, 3, 0, 0]
    assert load.met.tolist() == [1, 2, 0, 0]
    assert load.goodput_pct[:2].tolist() == [50.0, pytest.approx(200 / 3)]
    assert np.isnan(load.goodput_pct[2:]).all()


def test_rates_are_by_second_whatever_the_width():
    requests = frame(arrival_s=[0.0, 1.0, 2.0], met=[True, True, False])
    load = load_by_arrival(requests, np.array([0.0, 4.0]))
    assert load.offered_rps.tolist() == [0.75]
    assert load.met_rps.tolist() == [0.5]


def test_tokens_come_first_at_once_then_evenly():
    # 9 tokens: one at 1.0, then 2 a second until 5.0.
    requests = frame(arrival_s=[0.0], first_token_s=[1.0], finished_s=[5.0], output_tokens=[9])
    assert tokens_by_bin(requests, np.array([0.0, 1.0, 2.0, 4.5, 6.0])).tolist() == [0, 3, 5, 1]


def test_tokens_of_one_instant_and_of_requests_that_did_not_finish():
    requests = frame(
        arrival_s=[0.0, 0.0, 0.0],
        first_token_s=[1.0, 1.0, 1.0],
        finished_s=[1.0, 1.0, np.nan],
        output_tokens=[1, 4, 50],
    )
    assert tokens_by_bin(requests, np.array([0.0, 1.0, 2.0])).tolist() == [0, 5]


def test_no_token_is_lost_between_bins():
    run = simulated(n=60)
    edges = bin_edges(0.0, float(run.requests["finished_s"].max()), 60)
    found = tokens_by_bin(run.requests, edges).sum()
    assert found == pytest.approx(run.requests["output_tokens"].sum())


TWO = timeline(
    held=[[1, 2, 3, 0], [0, 0, 1, 0]],
    waiting=[[0, 1, 0, 0], [0, 0, 4, 0]],
    running=[[5, 5, 6, 0], [0, 1, 1, 0]],
    kv_blocks=[[10, 20, 30, 0], [0, 40, 60, 0]],
    up_s=[[(0.0, 3.0)], [(1.0, 2.0)]],
)


def test_gauges_of_one_replica_are_its_samples():
    found = gauges(TWO, [0])
    assert found.at_s.tolist() == [0, 1, 2, 3]
    assert found.queue.mean.tolist() == [1, 3, 3, 0]
    assert found.held.mean.tolist() == [1, 2, 3, 0]
    assert found.running.mean.tolist() == [5, 5, 6, 0]
    assert found.kv_pct.mean.tolist() == [10, 20, 30, 0]


def test_gauges_of_several_replicas_are_sums_and_kv_is_of_those_that_are_up():
    found = gauges(TWO, [0, 1])
    assert found.queue.mean.tolist() == [1, 3, 8, 0]
    assert found.running.mean.tolist() == [5, 6, 7, 0]
    assert found.kv_pct.mean.tolist() == [10, 30, 45, 0]


def test_kv_of_a_replica_that_is_down_is_not_defined():
    found = gauges(TWO, [1])
    assert np.isnan(found.kv_pct.mean).tolist() == [True, False, False, True]


def test_a_stretch_of_samples_has_its_mean_least_and_most():
    found = gauges(TWO, [0], most=2)
    assert found.at_s.tolist() == [0, 2]
    assert found.queue.mean.tolist() == [2, 1.5]
    assert found.queue.low.tolist() == [1, 0]
    assert found.queue.high.tolist() == [3, 3]


def test_the_last_stretch_may_be_shorter():
    found = gauges(TWO, [0], most=3)
    assert found.at_s.tolist() == [0, 2]
    assert gauges(TWO, [0], most=1).queue.mean.tolist() == [7 / 4]


def test_what_was_sampled_before_the_first_bin_takes_no_points():
    assert gauges(TWO, [0], from_s=2.5).at_s.tolist() == [2, 3]
    late = gauges(TWO, [0], from_s=2.0, most=2)
    assert late.at_s.tolist() == [2, 3]
    assert late.queue.mean.tolist() == [3, 0]
    assert late.kv_pct.mean.tolist() == [30, 0]


def test_replicas_are_up_within_their_periods():
    assert up(TWO).tolist() == [[True] * 4, [False, True, True, False]]


def test_the_number_of_replicas_up_steps_at_every_change():
    at_s, numbers = replicas_up(TWO)
    assert at_s.tolist() == [0, 1, 2, 3]
    assert numbers.tolist() == [1, 2, 1, 0]


def test_a_replica_that_takes_over_at_once_is_no_change():
    relay = timeline([[0], [0]], [[0], [0]], [[0], [0]], [[0], [0]], [[(0.0, 2.0)], [(2.0, 5.0)]])
    at_s, numbers = replicas_up(relay)
    assert at_s.tolist() == [0, 5]
    assert numbers.tolist() == [1, 0]


def test_the_samples_of_a_run_are_those_of_its_timeline():
    run = simulated(n=30, replicas=2, timeline=True)
    found = gauges(run.timeline, [0, 1])
    assert found.running.high.max() == run.timeline.running.sum(axis=0).max()
    assert found.queue.high.max() == (run.timeline.held + run.timeline.waiting).sum(axis=0).max()
