"""What raw points say of a cost, with a truth that is known."""

from dataclasses import replace

import pytest
from profile_cases import TOO_LARGE, TRUE, profile_with_raw, scaled, steps

from calibrate.evidence import bare, errors_by_kind, misses, not_run, over_floor, points_of
from calibrate.profile import ProfileError
from calibrate.steps import RawPoint, Step

EXACT = points_of(profile_with_raw(noise=0.0))


def test_errors_have_size_and_sign_by_kind():
    found = errors_by_kind(scaled(TRUE, 1.1), EXACT)

    assert {kind: row["points"] for kind, row in found.items()} == {
        **{"decode": 35, "prefill": 9, "chunk": 6, "mixed": 6}
    }
    for row in found.values():
        for key in ("mape", "p95", "max", "bias"):
            assert row[key] == pytest.approx(10, abs=0.01)
    slow = errors_by_kind(scaled(TRUE, 0.8), EXACT)["decode"]
    assert slow["bias"] == pytest.approx(-20, abs=0.01)
    assert slow["mape"] == pytest.approx(20, abs=0.01)


def test_statistics_of_unequal_errors():
    # It says 0.9, 1.0 and 1.4 s for steps that took a second.
    cost = replace(
        TRUE,
        decode_fixed=replace(TRUE.decode_fixed, x=(1,), y=(1e-12,)),
        decode_context=replace(TRUE.decode_context, x=(1,), y=(0.01,)),
    )
    points = [RawPoint(Step(1, context), 1.0) for context in (90, 100, 140)]
    found = errors_by_kind(cost, points)["decode"]
    assert found["mape"] == pytest.approx(50 / 3)
    assert found["bias"] == pytest.approx(10)
    assert found["max"] == pytest.approx(40)
    assert found["p95"] == pytest.approx(37)  # linear between 10 and 40


def test_an_engines_own_time_is_not_held_against_kernels():
    served = replace(TRUE, engine_overhead_s=5e-3, engine_overhead_request_s=1e-4)

    assert errors_by_kind(served, EXACT)["decode"]["max"] < 0.01
    assert bare(served) == TRUE
    assert misses(served, EXACT, 1)[0]["error_pct"] == pytest.approx(0, abs=0.01)


def test_the_largest_misses_come_first():
    times = {Step(8, 1024): 2.0, Step(0, 0, 64): 0.8}
    points = [
        replace(point, median_s=point.median_s * times.get(point.step, 1))
        for point in EXACT
        if point.median_s
    ]
    first, second = misses(TRUE, points, 2)

    assert (first["kind"], first["batch"], first["context_tokens"]) == ("decode", 8, 1024)
    assert first["error_pct"] == pytest.approx(-50, abs=0.01)
    assert first["median_s"] == pytest.approx(2 * first["fitted_s"], rel=1e-4)
    assert second["prompt_tokens"] == 64
    assert second["error_pct"] == pytest.approx(25, abs=0.01)
    assert len(misses(TRUE, points, 1000)) == len(steps())


def test_floors_by_kind():
    slow = Step(prompt_tokens=64)
    alone = Step(1, 128)
    points = [
        replace(point, floor_s=point.floor_s / {slow: 2, alone: 1.2}.get(point.step, 1))
        for point in EXACT
        if point.floor_s
    ]
    found = over_floor(points)

    assert found["prefill"]["median"] == pytest.approx(1.25, rel=1e-4)
    assert found["prefill"]["worst"] == pytest.approx(2.5, rel=1e-4)
    assert found["prefill"]["worst_step"]["prompt_tokens"] == 64
    assert found["decode"]["batch_1"] == pytest.approx(1.5, rel=1e-4)
    assert "batch_1" not in found["prefill"]


def test_points_without_floors_have_no_ratio():
    assert over_floor([replace(point, floor_s=None) for point in EXACT]) == {}


def test_steps_that_could_not_be_run():
    found = not_run(EXACT)

    assert [(row["batch"], row["context_tokens"]) for row in found] == [
        (step.batch, step.context_tokens) for step in TOO_LARGE
    ]
    assert found[0]["problem"] == "out of memory"


def test_a_wrong_point_names_the_profile():
    profile = replace(profile_with_raw("mine"), raw=({"kind": "decoding"},))
    with pytest.raises(ProfileError, match=r"mine: raw\[0\]\.kind is 'decoding'"):
        points_of(profile)
