"""The simulated offline phase, against steps summed by hand."""

import numpy as np
import pytest

from calibrate.profile import Profile
from calibrate.steptime import StepCost
from sim.offline import STUDY_LOADS, apart_by_load, offline_speeds
from sim.options import OptionError
from traces.request import Trace

# Decode 10 ms + 1 ms a sequence, prefill 2 ms + 0.1 ms a token; a long way to the client.
PROFILE = Profile(
    name="plain",
    method="torch",
    cost=StepCost.affine(decode_s=10e-3, sequence_s=1e-3, prefill_s=2e-3, prompt_token_s=1e-4),
    kv_tokens=10_000,
    kv_source="chosen",
    discipline="prefill-first",
    client_overhead_s=0.5,
)


def trace(*lengths):
    prompts, outputs = zip(*lengths, strict=True)
    return Trace(np.arange(len(lengths)) * 1.0, np.array(prompts), np.array(outputs))


def test_alone_a_request_is_as_fast_as_its_steps():
    # 50 tokens, 49 of them in decode steps of 11 ms.
    assert offline_speeds(PROFILE, trace((100, 50)), [1]) == (
        (1.0, pytest.approx(50 / (49 * 0.011), abs=1e-3)),
    )


def test_together_they_share_a_prefill_and_every_step():
    points = offline_speeds(PROFILE, trace((100, 50), (100, 50), (100, 50)), [3])

    expected = pytest.approx(50 / (49 * 0.013), abs=1e-3)
    assert points == ((3.0, expected),) * 3


def test_more_than_the_study_ran_run_together_as_well():
    points = offline_speeds(PROFILE, trace(*[(1, 3)] * 70), [70])

    assert points == ((70.0, pytest.approx(3 / (2 * 0.080), abs=1e-3)),) * 70


def test_prefills_of_the_others_stall_the_first():
    # The second prompt does not fit the budget of 2,048 tokens: it takes 152 ms of its own
    # between the first token and the second of the request that went before.
    points = offline_speeds(PROFILE, trace((1500, 50), (1500, 50)), [2])

    assert sorted(points) == [
        (2.0, pytest.approx(50 / (49 * 0.012 + 0.152), abs=1e-3)),
        (2.0, pytest.approx(50 / (49 * 0.012), abs=1e-3)),
    ]


def test_longer_requests_go_on_alone():
    speeds = {speed for _, speed in offline_speeds(PROFILE, trace((9, 11), (9, 41)), [2])}

    assert speeds == {
        round(11 / (10 * 0.012), 4),
        round(41 / (10 * 0.012 + 30 * 0.011), 4),
    }


def test_a_point_for_each_request_with_a_second_token():
    done = []
    points = offline_speeds(PROFILE, trace((9, 2), (9, 1)), [2, 4], on_done=done.append)

    assert [load for load, _ in points] == [2, 4, 4]
    assert done == [1, 2]


def test_the_seed_draws_the_requests():
    requests = trace(*((10 * i, 10 + i) for i in range(1, 40)))

    assert offline_speeds(PROFILE, requests, [5], seed=1) == offline_speeds(
        PROFILE, requests, [5], seed=1
    )
    assert offline_speeds(PROFILE, requests, [5], seed=1) != offline_speeds(
        PROFILE, requests, [5], seed=2
    )


def test_as_many_points_as_the_study_took():
    points = offline_speeds(PROFILE, trace((9, 20)))

    assert len(points) == 255
    assert sorted({load for load, _ in points}) == list(STUDY_LOADS)


@pytest.mark.parametrize(
    ("lengths", "load", "named"),
    [((9, 1), 3, "second token"), ((9_999, 9), 1, "KV cache of 10000"), ((9, 9), 0, "load 0")],
)
def test_what_cannot_be_measured_is_refused(lengths, load, named):
    with pytest.raises(OptionError, match=named):
        offline_speeds(PROFILE, trace(lengths), [load])


def test_distances_are_between_the_means_of_a_load():
    simulated = ((1.0, 90.0), (2.0, 50.0), (2.0, 60.0), (3.0, 9.0))
    measured = ((1.0, 100.0), (2.0, 40.0), (2.0, 60.0), (4.0, 7.0))

    assert apart_by_load(simulated, measured) == {
        1.0: pytest.approx(-0.1),
        2.0: pytest.approx(0.1),
    }
    assert apart_by_load(simulated, ()) == {}
