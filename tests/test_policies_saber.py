"""SABER as a user names it: parameters, labels, and what they change."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from calibrate import load_profile
from calibrate.speed import speed_model
from policies.catalog import make_policy
from policies.protocol import PS_PER_S, Pending, PolicyError, View
from policies.saber import Saber
from sim import simulate
from traces import workload

ANY = settings(suppress_health_check=list(HealthCheck))

PAPER = load_profile("paper-qwen2.5-coder-3b")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"estimator": "cubic"}, "estimator='cubic': expected usl, logistic, linear"),
        ({"variant": "code"}, "variant='code': expected paper, artifact"),
        ({"lpq": "two"}, "lpq='two': expected one, all, idle"),
        ({"lpq": None}, "lpq=None: expected one, all, idle"),
        ({"interval": 0}, "interval=0: expected a number above 0"),
        ({"interval": -0.1}, "interval=-0.1"),
        ({"interval": nan}, "interval=nan"),
        ({"interval": "fast"}, "interval='fast'"),
        ({"interval": True}, "interval=True: expected a number above 0"),
        ({"interval": 1e-13}, "interval=1e-13: expected 1e-12 to"),
        ({"interval": 1e300}, r"interval=1e\+300: expected 1e-12 to"),
        ({"speed_limit": 0}, "speed_limit=0"),
        ({"speed_limit": 1e-300}, "speed_limit=1e-300: expected at least 1e-06 tokens/s"),
        ({"speed_limit": inf}, "speed_limit=inf"),
        ({"speed_limit": 10**400}, "speed_limit=10+: expected a number above 0"),
        ({"interval": 0.1, "window": 0}, "window=0: expected a whole number of at least 1"),
        ({"interval": 0.1, "window": 2.0}, r"window=2\.0"),
        ({"interval": 0.1, "window": True}, "window=True"),
        ({"window": 20}, "window=20 has no effect without interval="),
        ({"variant": "artifact", "lpq": "all"}, "lpq=all has no effect with variant=artifact"),
        ({"variant": "artifact", "lpq": "idle"}, "lpq=idle has no effect with variant=artifact"),
    ],
)
def test_what_a_parameter_may_not_be(parameters, message):
    with pytest.raises(PolicyError, match=f"^saber: {message}") as error:
        Saber(**parameters)
    assert "\n" not in str(error.value)


def test_a_window_goes_with_either_way_to_poll():
    assert Saber(interval=0.5, window=3).window == 3
    assert Saber(variant="artifact", window=3).window == 3


@ANY
@given(
    estimator=st.sampled_from(["usl", "logistic", "linear"]),
    variant=st.sampled_from(["paper", "artifact"]),
    lpq=st.sampled_from(["one", "all", "idle"]),
    interval=st.none() | st.floats(1e-9, 1e6) | st.integers(1, 10),
    window=st.none() | st.integers(1, 100),
    speed_limit=st.none() | st.floats(1e-9, 1e9) | st.integers(1, 1000),
)
def test_a_label_makes_the_same_policy(**parameters):
    try:
        policy = Saber(**parameters)
    except PolicyError:
        assume(False)
    assert make_policy(policy.label) == policy


def test_labels_name_what_differs_from_the_defaults():
    assert Saber().label == "saber"
    assert (
        Saber(estimator="linear", interval=0.05).label == "saber(estimator=linear, interval=0.05)"
    )


def test_a_curve_without_speed_is_refused():
    rising = replace(PAPER, speed_points=((10, 1), (11, 50), (12, 100)))
    with pytest.raises(PolicyError, match=r"linear curve of profile .* predicts no speed"):
        Saber(estimator="linear").start(np.random.default_rng(0), rising)
    assert Saber(estimator="linear", speed_limit=9).start(np.random.default_rng(0), rising)


def hopeless(policy: Saber, max_tokens: int) -> bool:
    """Whether a lone request of so many tokens in a second is demoted on arrival."""
    view = View(None)
    view.arrived = Pending(0, 0, PS_PER_S, 1, max_tokens)
    choice = policy.start(np.random.default_rng(0), PAPER).decide(view)
    assert list(choice.release) == [0]
    return bool(choice.demote)


@pytest.mark.parametrize("estimator", ["usl", "logistic", "linear"])
def test_the_estimator_is_fitted_to_the_profile(estimator):
    lone = speed_model(PAPER, estimator).speed(1)
    assert not hopeless(Saber(estimator=estimator), int(lone))
    assert hopeless(Saber(estimator=estimator), int(lone) + 1)


def test_the_estimator_changes_what_is_admitted():
    trace = workload("W3", rps=10, n=100, seed=1)
    admitted = {
        tuple(simulate(trace, PAPER, Saber(estimator=estimator)).requests.admitted_s)
        for estimator in ("usl", "logistic", "linear")
    }
    assert len(admitted) == 3


def test_a_load_beyond_any_table_has_a_speed():
    view = View(None)
    view.in_engine = 10**6
    view.arrived = Pending(0, 0, 10**6 * PS_PER_S, 1, 1)
    assert list(Saber().start(np.random.default_rng(0), PAPER).decide(view).release) == [0]


def goodput(policy: str, workload_name: str, rps: float, seeds: range) -> np.ndarray:
    """Return the goodput [%] of each seed; policies share the arrivals of a seed."""
    runs = (
        simulate(workload(workload_name, rps=rps, n=100, seed=seed), PAPER, policy, seed=seed)
        for seed in seeds
    )
    return np.array([run.summary()["goodput_pct"] for run in runs])


@pytest.mark.parametrize(
    ("name", "rps", "lpq"), [("W1", 5, "all"), ("W3", 10, "all"), ("W3", 10, "idle")]
)
def test_events_are_the_limit_of_polling(name, rps, lpq):
    seeds = range(30)
    events = goodput(f"saber(lpq={lpq})", name, rps, seeds)
    polls = goodput(f"saber(lpq={lpq}, interval=0.001)", name, rps, seeds)
    # The draws differ, so single runs do; their mean must not, by more than chance.
    standard_error = (events - polls).std(ddof=1) / len(seeds) ** 0.5
    assert standard_error < 0.7
    assert abs((events - polls).mean()) < 4 * standard_error
    # The same measure sees what a poll a second changes.
    rare = goodput(f"saber(lpq={lpq}, interval=1)", name, rps, seeds)
    assert (events - rare).mean() > 8 * standard_error


def test_one_best_effort_request_an_evaluation_is_fewer_than_one_a_poll():
    seeds = range(10)
    events = goodput("saber(lpq=one)", "W3", 15, seeds)
    polls = goodput("saber(lpq=one, interval=0.001)", "W3", 15, seeds)
    assert (events - polls).mean() > 2
