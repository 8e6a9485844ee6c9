"""Arrival processes against what is known of them; tolerances are four standard errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traces.arrivals import PROCESSES, diurnal, gamma, mmpp, parse_arrivals, poisson
from traces.request import TraceError


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def assert_mean(samples: np.ndarray, expected: float) -> None:
    """Assert that the mean of independent samples is within four standard errors."""
    assert abs(samples.mean() - expected) < 4 * samples.std(ddof=1) / np.sqrt(len(samples))


@given(
    st.sampled_from(sorted(PROCESSES)),
    st.integers(1, 300),
    st.floats(1e-3, 1e3),
    st.integers(0, 99),
)
def test_every_process_gives_n_ascending_times(name: str, n: int, rps: float, seed: int) -> None:
    process = parse_arrivals("gamma(cv=2)" if name == "gamma" else name)
    times = process(n, rps, rng(seed))
    assert times.shape == (n,)
    assert times.dtype == np.float64
    assert np.isfinite(times).all()
    assert times[0] >= 0
    assert (np.diff(times) >= 0).all()
    assert times.tolist() == process(n, rps, rng(seed)).tolist()


@pytest.mark.parametrize("cv", [0.5, 1.0, 4.0])
def test_gamma_gaps_have_the_mean_and_variation_asked_for(cv: float) -> None:
    gaps = np.diff(gamma(200_001, 5.0, rng(), cv=cv), prepend=0.0)
    assert_mean(gaps, 0.2)
    assert_mean((gaps - 0.2) ** 2, (0.2 * cv) ** 2)


def test_burstiness_is_one_over_the_squared_variation() -> None:
    a, b = gamma(50, 2.0, rng(), cv=4.0), gamma(50, 2.0, rng(), burstiness=1 / 16)
    np.testing.assert_allclose(a, b)


def test_poisson_counts_have_equal_mean_and_variance() -> None:
    times = poisson(200_000, 10.0, rng())
    counts = np.bincount(times.astype(int))[:-1]
    assert_mean(counts, 10.0)
    assert_mean((counts - 10.0) ** 2, 10.0)


def test_mmpp_has_the_rate_and_the_dispersion_of_the_theory() -> None:
    # Independent runs: the count in [0, t] of a stationary two-state process has mean rps t and
    # variance mean + 2 d^2 p q (t/s - (1 - exp(-s t))/s^2), d the difference of the rates, p and
    # q = 1 - p the shares, s the sum of the switching rates; the rate's covariance at a distance u
    # is d^2 p q exp(-s u).
    rps, ratio, p, cycle, t = 5.0, 8.0, 0.25, 4.0, 10.0
    calm = rps / (p * ratio + 1 - p)
    d, q = calm * (ratio - 1), 1 - p
    s = 1 / (p * cycle) + 1 / (q * cycle)
    variance = rps * t + 2 * d**2 * p * q * (t / s - (1 - np.exp(-s * t)) / s**2)
    generator = rng(1)
    counts = np.array(
        [
            np.searchsorted(mmpp(400, rps, generator, ratio=ratio, busy_share=p, cycle_s=cycle), t)
            for _ in range(4000)
        ]
    )
    assert counts.max() < 400
    assert_mean(counts, rps * t)
    assert_mean((counts - rps * t) ** 2, variance)


def test_mmpp_of_equal_rates_is_poisson() -> None:
    gaps = np.diff(mmpp(100_000, 3.0, rng(), ratio=1.0))
    assert_mean(gaps, 1 / 3)
    assert_mean((gaps - 1 / 3) ** 2, 1 / 9)


def test_diurnal_rate_follows_the_cosine() -> None:
    # 400 periods of 10 s; the expected count around the top follows by integrating the rate.
    times = diurnal(40_000, 10.0, rng(), amplitude=0.8, period_s=10.0, peak_s=3.0)
    periods = int(times[-1] // 10)
    phase = times[times < periods * 10] % 10
    for start, stop in [(2.0, 4.0), (7.0, 9.0)]:
        swing = np.sin(2 * np.pi * (np.array([start, stop]) - 3) / 10)
        expected = 10 * (stop - start + 0.8 * 10 / (2 * np.pi) * (swing[1] - swing[0])) * periods
        found = np.count_nonzero((phase >= start) & (phase < stop))
        assert abs(found - expected) < 4 * np.sqrt(expected)


def test_parameters_reach_the_process() -> None:
    parsed = parse_arrivals(" Gamma( cv = 4 ) ")(20, 2.0, rng())
    assert parsed.tolist() == gamma(20, 2.0, rng(), cv=4.0).tolist()
    parsed = parse_arrivals("mmpp(ratio=3,cycle_s=2e1)")(20, 2.0, rng())
    assert parsed.tolist() == mmpp(20, 2.0, rng(), ratio=3, cycle_s=20).tolist()
    assert parse_arrivals("poisson()")(9, 1.0, rng()).tolist() == poisson(9, 1.0, rng()).tolist()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gama(cv=4)", "unknown arrivals 'gama'; .* did you mean 'gamma'"),
        ("gamma(cvv=4)", "unknown parameter of gamma arrivals 'cvv'; .* did you mean 'cv'"),
        ("poisson(cv=4)", "unknown parameter of poisson arrivals 'cv'; expected none"),
        ("gamma(cv=four)", "cv is 'four'; expected a number"),
        ("gamma(4)", "'4'; expected parameter=number"),
        ("gamma(cv=1, cv=2)", "gives cv twice"),
        ("gamma", "need either cv or burstiness"),
        ("gamma(cv=1, burstiness=1)", "need either cv or burstiness"),
        ("gamma(cv=0)", "cv is 0.0; expected a finite number above 0"),
        ("gamma(burstiness=nan)", "burstiness is nan"),
        ("mmpp(ratio=0.5)", "ratio is 0.5; expected a finite number >= 1"),
        ("mmpp(busy_share=1)", "busy_share is 1.0; expected between 0 and 1"),
        ("diurnal(amplitude=2)", "amplitude is 2.0; expected between 0 and 1"),
        ("gamma(cv=4", "cannot be read"),
        ("", "cannot be read"),
    ],
)
def test_bad_arrivals_are_named(text: str, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        parse_arrivals(text)
