"""The study's workloads: mixes, lengths, SLAs, arrivals and seeds."""

from collections import Counter

import numpy as np
import pytest

from traces.request import TraceError
from traces.seeds import stream
from traces.workloads import counts, workload

TABLE = {
    "code_translation": (792, 617, 12.0),
    "code_qna": (181, 51, 1.0),
    "code_generation": (480, 387, 8.0),
    "code_summary": (89, 48, 1.0),
}


@pytest.mark.parametrize(
    ("name", "mix"),
    [("W1", [40, 10, 40, 10]), ("W2", [10, 40, 10, 40]), ("W3", [25] * 4), ("w3", [25] * 4)],
)
@pytest.mark.parametrize("arrivals", ["poisson", "uniform"])
def test_mix_lengths_and_slas_are_the_studys(name: str, mix: list[int], arrivals: str) -> None:
    t = workload(name, rps=5, seed=3, arrivals=arrivals)
    assert Counter(r.task for r in t) == dict(zip(TABLE, mix, strict=True))
    for r in t:
        assert (r.prompt_tokens, r.output_tokens, r.sla_s) == TABLE[r.task]
        assert r.max_tokens == r.output_tokens
    assert (np.diff(t.arrival_s) >= 0).all()


def test_uniform_arrivals_fill_the_span_of_n_over_rps() -> None:
    t = workload("W1", rps=4, n=100_000, arrivals="uniform")
    assert t.arrival_s.max() < 25_000
    # The mean of n uniform draws has standard error span / sqrt(12 n).
    assert abs(t.arrival_s.mean() - 12_500) < 4 * 25_000 / np.sqrt(12 * 100_000)


def test_poisson_arrivals_have_exponential_gaps() -> None:
    gaps = np.diff(workload("W1", rps=4, n=100_001).arrival_s)
    assert abs(gaps.mean() - 0.25) < 4 * 0.25 / np.sqrt(100_000)
    # Share of gaps above t is exp(-rps t); a binomial share.
    share, expected = (gaps > 0.5).mean(), np.exp(-2)
    assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / 100_000)


def test_tasks_are_shuffled_apart_from_arrivals() -> None:
    first, other_rate, other_arrivals = (
        workload("W1", rps=1, seed=5),
        workload("W1", rps=20, seed=5),
        workload("W1", rps=1, seed=5, arrivals="uniform"),
    )
    assert first.task_code.tolist() == other_rate.task_code.tolist()
    assert first.task_code.tolist() == other_arrivals.task_code.tolist()
    np.testing.assert_allclose(first.arrival_s, other_rate.arrival_s * 20)
    assert first.task_code.tolist() != sorted(first.task_code.tolist())
    assert first.task_code.tolist() != workload("W1", rps=1, seed=6).task_code.tolist()
    assert workload("W2", rps=1, seed=5).arrival_s.tolist() == first.arrival_s.tolist()


def test_a_seed_sequence_is_left_as_it_was() -> None:
    seed = np.random.SeedSequence(9)
    assert workload("W3", rps=2, seed=seed) == workload("W3", rps=2, seed=seed)
    assert workload("W3", rps=2, seed=seed) == workload("W3", rps=2, seed=9)
    assert seed.n_children_spawned == 0
    assert workload("W3", rps=2, seed=seed.spawn(1)[0]) != workload("W3", rps=2, seed=9)


def test_purposes_have_streams_of_their_own() -> None:
    assert stream(0, "arrivals").random() != stream(0, "mix").random()
    assert stream(0, "mix").random() == stream(np.random.SeedSequence(0), "mix").random()


@pytest.mark.parametrize(
    ("shares", "n", "expected"),
    [
        ((40, 10, 40, 10), 100, [40, 10, 40, 10]),
        ((40, 10, 40, 10), 7, [3, 1, 3, 0]),  # 2.8 0.7 2.8 0.7
        ((25, 25, 25, 25), 6, [2, 2, 1, 1]),
        ((25, 25, 25, 25), 1, [1, 0, 0, 0]),
        ((40, 10, 40, 10), 4, [2, 0, 2, 0]),  # 1.6 0.4 1.6 0.4
        ((0.1, 0.9), 30, [3, 27]),
    ],
)
def test_other_counts_follow_the_largest_remainder(
    shares: tuple[float, ...], n: int, expected: list[int]
) -> None:
    assert counts(shares, n) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "W33"}, r"unknown workload 'W33'; expected W1 \| W2 \| W3; did you mean 'W3'"),
        ({"rps": 0}, "rps is 0; expected a finite number above 0"),
        ({"rps": -2.0}, "rps is -2.0"),
        ({"rps": float("nan")}, "rps is nan"),
        ({"rps": float("inf")}, "rps is inf"),
        ({"n": 0}, "n is 0; expected at least 1"),
        ({"seed": -1}, "seed is -1; expected a whole number >= 0"),
        ({"arrivals": "poison"}, "unknown arrivals 'poison'.*did you mean 'poisson'"),
    ],
)
def test_bad_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        workload(**{"name": "W1", "rps": 5, **arguments})
