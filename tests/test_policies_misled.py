"""A policy that is told otherwise: what its decider sees changes, what the engine does does not."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from calibrate.library import load_profile
from policies.misled import Misled, slowed
from policies.protocol import Choice, PolicyError
from policies.saber import Saber
from policies.static import Static
from sim.simulation import simulate
from traces.workloads import workload

PAPER = load_profile("paper-qwen2.5-coder-3b")
OTHER = load_profile("roofline-l4-qwen2.5-coder-7b")
TRACE = workload("W3", rps=8, n=60, seed=3)


@dataclass(frozen=True)
class Noting:
    """Releases on arrival and notes what it was started with and shown."""

    profiles: list = field(default_factory=list)
    told: dict = field(default_factory=dict)
    running: list = field(default_factory=list)
    lengths: dict = field(default_factory=dict)
    draws: list = field(default_factory=list)
    label = "noting"

    def start(self, rng, profile):
        self.profiles.append(profile)
        self.draws.append(rng)
        return self

    def decide(self, view):
        self.running.extend(view.running)
        self.lengths.update(zip(view.finished, view.finished_tokens, strict=True))
        if view.arrived is None:
            return Choice()
        self.draws.append(self.draws[0].random())
        self.told[view.arrived.id] = view.arrived.max_tokens
        return Choice((view.arrived.id,))


def finished_s(policy):
    return simulate(TRACE, PAPER, policy).requests["finished_s"].to_numpy()


def test_noise_changes_what_is_shown_and_not_what_is_served():
    noting = Noting()
    misled = finished_s(Misled(noting, length_cv=0.5))

    assert (misled == finished_s(Noting())).all()
    told = np.array([noting.told[i] for i in range(len(TRACE))])
    assert (told != TRACE.max_tokens).mean() > 0.8
    assert noting.lengths == dict(enumerate(TRACE.output_tokens.tolist()))


def test_noise_is_log_normal_with_mean_one_and_the_cv_asked_for():
    noting = Noting()
    trace = workload("W1", rps=100, n=4000, seed=1)
    simulate(trace, PAPER, Misled(noting, length_cv=0.5))

    factor = np.array([noting.told[i] for i in range(len(trace))]) / trace.max_tokens
    error = 0.5 / len(trace) ** 0.5
    assert factor.mean() == pytest.approx(1, abs=5 * error)
    assert factor.std() == pytest.approx(0.5, rel=0.15)
    # The median of a log-normal of mean 1 is below 1.
    assert np.median(factor) == pytest.approx(1 / 1.25**0.5, abs=0.04)


def test_the_same_seed_is_told_the_same_and_the_policys_own_draws_stay():
    first, again, other, honest = Noting(), Noting(), Noting(), Noting()
    simulate(TRACE, PAPER, Misled(first, length_cv=0.5), seed=1)
    simulate(TRACE, PAPER, Misled(again, length_cv=0.5), seed=1)
    simulate(TRACE, PAPER, Misled(other, length_cv=0.5), seed=2)
    simulate(TRACE, PAPER, honest, seed=1)

    assert first.told == again.told != other.told
    assert first.draws[1:] == honest.draws[1:]


def test_without_any_knowledge_all_are_taken_for_the_same():
    noting = Noting()
    misled = finished_s(Misled(noting, assumed_tokens=200))

    assert set(noting.told.values()) == {200}
    assert (misled == finished_s(Noting())).all()
    # What comes out of the engine is seen as it is: the longest answers have 617 tokens.
    assert max(each.generated_tokens for each in noting.running) == 616


def test_a_slower_profile_is_slower_in_every_step():
    noting = Noting()
    simulate(TRACE, PAPER, Misled(noting, slowness=1.25))

    [shown] = noting.profiles
    true = PAPER.cost
    assert shown.cost.decode_s(7, 900.0) == pytest.approx(1.25 * true.decode_s(7, 900.0))
    assert shown.cost.decode_s(200, 9e5) == pytest.approx(1.25 * true.decode_s(200, 9e5))
    assert shown.cost.prefill_s(500, 1e5) == pytest.approx(1.25 * true.prefill_s(500, 1e5))
    for (load, speed), (true_load, true_speed) in zip(
        shown.speed_points, PAPER.speed_points, strict=True
    ):
        assert (load, speed) == (true_load, pytest.approx(true_speed / 1.25))
    assert shown.mean_context_tokens is not None


def test_an_unknown_engine_overhead_stays_unknown():
    assert OTHER.engine_overhead_s is None
    assert slowed(OTHER, 2.0).engine_overhead_s is None


def test_the_profile_of_another_gpu_takes_the_traces_context():
    noting = Noting()
    simulate(TRACE, PAPER, Misled(noting, profile=OTHER))

    [shown] = noting.profiles
    assert shown.name == OTHER.name
    assert shown.mean_context_tokens == pytest.approx(
        np.average(
            TRACE.prompt_tokens + (TRACE.output_tokens - 1) / 2, weights=TRACE.output_tokens
        ),
        rel=0.05,
    )


def test_saber_that_thinks_the_engine_slow_holds_more_back():
    honest = simulate(TRACE, PAPER, Saber())
    misled = simulate(TRACE, PAPER, Misled(Saber(), slowness=1.5))

    assert misled.summary()["demoted"] > honest.summary()["demoted"]


def test_told_nothing_wrong_the_policy_is_itself():
    assert (finished_s(Misled(Saber())) == finished_s(Saber())).all()


def test_the_batch_size_of_the_policy_is_kept():
    assert (finished_s(Misled(Static(4), length_cv=0.5)) == finished_s(Static(4))).all()


def test_label_says_who_is_told_what():
    policy = Misled(Saber(), length_cv=0.5, slowness=0.8, profile=OTHER)

    assert policy.label == (
        "saber, misled(length_cv=0.5, slowness=0.8, profile=roofline-l4-qwen2.5-coder-7b)"
    )


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"length_cv": -1}, "misled: length_cv=-1: expected a number of at least 0"),
        ({"assumed_tokens": 0.5}, "misled: assumed_tokens=0.5: expected a whole number"),
        ({"slowness": 0}, "misled: slowness=0: expected a number above 0"),
        ({"length_cv": 0.5, "assumed_tokens": 9}, "misled: length_cv=0.5 beside assumed_tokens=9"),
    ],
)
def test_nonsense_is_refused(wrong, text):
    with pytest.raises(PolicyError) as refused:
        replace(Misled(Saber()), **wrong)
    assert text in str(refused.value)
