"""Shortest job first: the order, the quality of a predicted rank, and nobody starves."""

from __future__ import annotations

import numpy as np
import pytest
from queue_cases import PAPER, Bench, arrive_all
from scipy.stats import kendalltau

from policies.catalog import make_policy
from policies.fcfs import Fcfs
from policies.protocol import PolicyError
from policies.sjf import NoisyRank, Sjf
from sim import simulate
from traces import workload


def test_the_shortest_goes_first_and_of_equals_who_came_first():
    bench = Bench(Sjf(max_num_seqs=1))
    arrive_all(bench, [5, 30, 10, 20, 10])
    assert bench.give_up(3) == []
    assert bench.drain() == [2, 4, 1]


@pytest.mark.parametrize("tau", [0.0, 0.3, 0.55, 0.8, 1.0])
def test_a_predicted_rank_has_the_tau_it_is_said_to_have(tau):
    rng = np.random.default_rng(3)
    tokens = rng.permutation(5000) + 1
    predict = NoisyRank(tau, rng)
    reached = kendalltau(tokens, [predict(int(each)) for each in tokens]).statistic
    # The variance of tau over n pairs is at most 2 (1 - tau^2) / n.
    assert abs(reached - tau) <= 4 * np.sqrt(2 * (1 - tau**2) / len(tokens)) + 1e-9


@pytest.mark.parametrize("shares", [(0.4, 0.1, 0.4, 0.1), (0.25,) * 4, (0.1, 0.4, 0.1, 0.4)])
def test_where_many_lengths_are_equal_tau_is_a_little_higher(shares):
    rng = np.random.default_rng(4)
    tokens = rng.choice([617, 51, 387, 48], 20_000, p=shares)
    predict = NoisyRank(0.55, rng)
    reached = kendalltau(tokens, [predict(int(each)) for each in tokens]).statistic
    assert 0.53 <= reached <= 0.62


def test_a_perfect_rank_is_max_tokens_and_no_rank_at_all_is_chance():
    lengths = [1, *np.random.default_rng(0).permutation(200).tolist()]
    orders = {}
    for policy in (
        Sjf(max_num_seqs=1),
        Sjf(max_num_seqs=1, predictor="rank", tau=1),
        Sjf(max_num_seqs=1, predictor="rank", tau=0),
    ):
        bench = Bench(policy)
        arrive_all(bench, lengths)
        orders[policy] = [lengths[request] for request in bench.drain()]
    exact, perfect, chance = orders.values()
    assert perfect == exact == sorted(exact)
    assert abs(kendalltau(chance, range(200)).statistic) < 0.2


def test_who_is_passed_over_too_often_goes_next():
    bench = Bench(Sjf(max_num_seqs=1, promote_after=3, promote_for=2))
    arrive_all(bench, [1, 100, 90, *[5] * 8])
    # Three short ones pass; then the longest, who came first, and the other one.
    assert bench.drain()[:6] == [3, 4, 5, 1, 2, 6]


def test_a_promotion_ends_and_the_count_begins_anew():
    bench = Bench(Sjf(max_num_seqs=1, promote_after=4, promote_for=1))
    arrive_all(bench, [1, 100, 90, *[5] * 12])
    # Both are promoted after four releases, but the promotion lasts for one.
    assert bench.drain()[:10] == [3, 4, 5, 6, 1, 7, 8, 9, 10, 2]


def test_without_promotion_the_longest_is_last():
    bench = Bench(Sjf(max_num_seqs=1, promote_after=None))
    arrive_all(bench, [1, 1000, *[5] * 400])
    assert bench.drain()[-1] == 1


def test_the_promoted_may_give_up():
    bench = Bench(Sjf(max_num_seqs=1, promote_after=2, promote_for=9))
    arrive_all(bench, [1, 100, 90, *[5] * 6])
    bench.finish(0)
    bench.finish(3)
    bench.finish(4)  # request 1 was promoted and went
    bench.give_up(2)
    assert bench.finish(1) == [5]
    assert bench.drain() == [6, 7, 8]


def test_mean_latency_falls_with_tau_and_is_below_first_come_first_served():
    """Y. Fu et al. (2024), figure 3: the better the rank, the lower the mean latency."""

    def latencies(policy):
        runs = [
            simulate(workload("W2", rps=20, n=300, seed=seed), PAPER, policy, seed=seed).requests
            for seed in range(10)
        ]
        return np.array([(run.finished_s - run.arrival_s).mean() for run in runs])

    chance = latencies(Sjf(predictor="rank", tau=0))
    some = latencies(Sjf(predictor="rank", tau=0.55))
    exact = latencies(Sjf())
    fcfs = latencies(Fcfs(32))
    for worse, better in ((fcfs, exact), (chance, some), (some, exact)):
        gain = worse - better
        assert gain.mean() > 3 * gain.std(ddof=1) / np.sqrt(len(gain))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sjf(oracle)", "sjf: predictor='oracle': expected max_tokens, rank"),
        ("sjf(tau=0.5)", "sjf: tau=0.5 has no effect without predictor=rank"),
        ("sjf(rank, tau=1.5)", "sjf: tau=1.5: expected a number of at least 0 and at most 1"),
        ("sjf(promote_after=0)", "sjf: promote_after=0: expected a whole number of at least 1"),
        (
            "sjf(promote_after=None, promote_for=3)",
            "sjf: promote_for=3 has no effect with promote_after=None",
        ),
    ],
)
def test_parameters_are_checked(text, message):
    with pytest.raises(PolicyError) as error:
        make_policy(text)
    assert message in str(error.value)
