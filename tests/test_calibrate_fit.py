"""The fit: it finds a cost that it knows not, says how well, and is not fooled by bad points."""

from dataclasses import replace

import numpy as np
import pytest
from fit_cases import CHUNKS, CURVED, DECODES, GRID, MIXED, PREFILLS, STRAIGHT, measured
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibrate.fit import Fit, fit_cost, fit_warnings
from calibrate.fitdesign import design
from calibrate.holdout import held_out_rows, is_held_out
from calibrate.predict import predict_s
from calibrate.quality import FitError, checked_intervals, coefficients
from calibrate.schema import ProfileError
from calibrate.steps import KINDS, Measurement, Step
from calibrate.steptime import StepCost


def fit(measurements, **options):
    given = {"engine_overhead_s": 0.0, "bootstrap": 0, "rng": np.random.default_rng(1)}
    return fit_cost(measurements, **given | options)


def off_pct(cost, measurement):
    return abs(predict_s(cost, measurement.step) / measurement.median_s - 1) * 100


def test_exact_times_give_back_the_cost_that_made_them():
    found = fit(measured(CURVED, repeats=3))
    for table, numbers in coefficients(CURVED).items():
        assert coefficients(found.cost)[table] == pytest.approx(numbers, rel=1e-6)
    assert found.in_sample.keys() == set(KINDS)
    assert all(error.max < 1e-6 for error in found.in_sample.values())


def test_exact_times_on_straight_lines_are_foretold_exactly():
    found = fit(measured(STRAIGHT, repeats=3))
    assert found.held_out.keys() == found.held_out_rows.keys() == set(KINDS)
    assert all(error.max < 1e-6 for error in found.held_out.values())


def test_where_the_cost_bends_in_a_row_held_out_its_error_says_so():
    # A bend at 256 tokens, which is held out: 128 and 512 are joined past it.
    tokens, seconds = CURVED.prefill.x, list(CURVED.prefill.y)
    seconds[tokens.index(256)] = seconds[tokens.index(512)]
    bent = replace(CURVED, prefill=replace(CURVED.prefill, y=tuple(seconds)))
    found = fit(measured(bent, (*DECODES, *PREFILLS), repeats=3))
    assert found.in_sample["prefill"].max < 1e-6
    middle_s = seconds[3] + (seconds[5] - seconds[3]) * (256 - 128) / (512 - 128)
    expected_s = seconds[4] + bent.attention_token2_s * 256**2 / 2
    # Without a past in any step the table holds the attention, at 128 and at 512 too.
    attention_s = bent.attention_token2_s * (128**2 + (512**2 - 128**2) / 3) / 2
    error_pct = (1 - (middle_s + attention_s) / expected_s) * 100
    assert found.held_out["prefill"].max == pytest.approx(error_pct, rel=1e-6)


def test_the_errors_are_those_of_the_cost_that_is_returned():
    points = measured(CURVED, noise=0.05)
    found = fit(points)
    for region in KINDS:
        off = [off_pct(found.cost, m) for m in points if m.step.kind == region]
        assert found.in_sample[region] == FitError(
            mape=pytest.approx(np.mean(off)),
            p95=pytest.approx(np.quantile(off, 0.95)),
            max=pytest.approx(max(off)),
        )


@pytest.mark.parametrize("factor", [1.0, 7.0])
def test_what_is_held_out_is_foretold_from_the_rest_alone(factor):
    rows = held_out_rows(GRID)
    points = [
        replace(m, samples_s=tuple(s * factor for s in m.samples_s))
        if is_held_out(m.step, rows)
        else m
        for m in measured(CURVED, noise=0.02)
    ]
    found = fit(points)
    assert found.held_out_rows == rows
    rest = fit([m for m in points if not is_held_out(m.step, rows)])
    held = [m for m in points if is_held_out(m.step, rows)]
    for region in KINDS:
        off = [off_pct(rest.cost, m) for m in held if m.step.kind == region]
        assert found.held_out[region].mape == pytest.approx(np.mean(off))
        assert found.held_out[region].max == pytest.approx(max(off))


def test_the_cost_returned_knows_the_rows_that_were_held_out():
    found = fit(measured(CURVED, repeats=3))
    assert {2.0, 16.0} <= set(found.cost.decode_fixed.x)
    assert {16.0, 256.0, 1024.0} <= set(found.cost.prefill.x)


def test_regions_with_too_few_rows_have_no_held_out_error():
    found = fit(measured(CURVED, (*DECODES, *PREFILLS, *CHUNKS[:2], MIXED[0])))
    assert found.in_sample.keys() == set(KINDS)
    assert found.held_out.keys() == found.held_out_rows.keys() == {"decode", "prefill"}
    assert "mixed" not in fit(measured(CURVED, (*DECODES, *PREFILLS, *CHUNKS))).in_sample


def test_nothing_is_held_out_where_the_rest_could_not_be_fitted():
    # Only the middle batch, the one to hold out, tells what context costs.
    steps = (Step(1, 10), Step(2, 10), Step(2, 5000), Step(4, 10), *PREFILLS[:2])
    found = fit(measured(STRAIGHT, steps))
    assert found.held_out == {}
    assert found.held_out_rows == {}
    assert found.in_sample.keys() == {"decode", "prefill"}


def test_steps_that_did_not_fit_into_memory_are_left_out():
    points = measured(CURVED, noise=0.02)
    lost = [Measurement(Step(32, 16384), problem="out of memory"),
            Measurement(Step(64, 64), problem="out of memory"),
            Measurement(Step(prompt_tokens=9000), problem="out of memory")]  # fmt: skip
    assert fit([*lost, *points], bootstrap=20) == fit(points, bootstrap=20)


def test_a_batch_at_one_context_is_fitted_with_the_context_cost_of_the_one_before():
    steps = (*GRID, Step(64, 64))
    found = fit(measured(STRAIGHT, steps, repeats=3))
    assert found.cost.decode_coefficients(64) == pytest.approx(STRAIGHT.decode_coefficients(64))


def test_too_few_measurements_are_refused():
    with pytest.raises(ProfileError, match="expected at least 2, 1 and 2 to fit a step cost"):
        fit([])
    with pytest.raises(ProfileError, match=r"decode steps of 1 batch sizes"):
        fit(measured(CURVED, (*DECODES[:4], *PREFILLS)))
    with pytest.raises(ProfileError, match="bootstrap is -1, expected an integer >= 0"):
        fit(measured(CURVED), bootstrap=-1)


def test_chunks_tell_the_attention_that_whole_prompts_hide():
    with_chunks = fit(measured(CURVED, (*DECODES, *PREFILLS, *CHUNKS), repeats=3))
    assert with_chunks.cost.attention_token2_s == pytest.approx(1.5e-9, rel=1e-6)
    without = fit(measured(CURVED, (*DECODES, *PREFILLS), repeats=3))
    assert without.cost.attention_token2_s == 0
    assert without.cost.prefill(2048) == pytest.approx(CURVED.prefill_s(2048, 2048**2 / 2))


def test_mixed_steps_have_their_say():
    points = measured(CURVED, repeats=3)
    slower = [
        replace(m, samples_s=tuple(1.3 * s for s in m.samples_s)) if m.step.kind == "mixed" else m
        for m in points
    ]
    plain, pulled = fit(points), fit(slower)
    mixed = [m for m in slower if m.step.kind == "mixed"]
    off_without = np.mean([off_pct(plain.cost, m) for m in mixed])
    assert 1 < pulled.in_sample["mixed"].mape < off_without
    assert pulled.held_out["mixed"].mape > 1


def test_one_wild_point_does_not_spoil_the_others():
    points = measured(CURVED, noise=0.01)
    for wild in (Step(8, 512), Step(prompt_tokens=512, past_tokens=1024), Step(16, 1024, 256)):
        spoilt = [
            replace(m, samples_s=tuple(5 * s for s in m.samples_s)) if m.step == wild else m
            for m in points
        ]
        cost = fit(spoilt).cost
        off = [off_pct(cost, m) for m in points if m.step != wild]
        assert max(off) < 5
        assert np.mean(off) < 1


def test_a_point_that_scatters_pulls_less():
    def attention_with(scatter):
        points = measured(STRAIGHT, repeats=3)
        wrong = next(i for i, m in enumerate(points) if m.step == CHUNKS[-1])
        middle_s = points[wrong].median_s * 1.05
        samples_s = (middle_s * (1 - scatter), middle_s, middle_s * (1 + scatter))
        points[wrong] = replace(points[wrong], samples_s=samples_s)
        return fit(points).cost.attention_token2_s - STRAIGHT.attention_token2_s

    assert 0 < attention_with(0.3) < attention_with(0.01) / 10


def tables(found: Fit):
    for table, numbers in coefficients(found.cost).items():
        yield table, np.array(numbers), np.array(found.intervals[table])


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Share of true coefficients inside their 95 % intervals, over independent measurements.

    The standard error comes from the runs, for coefficients of one run depend on each other.
    Resampling few repeats of a median is itself only right to about two points.
    """
    runs, inside = 60, []
    for seed in range(runs):
        points = measured(CURVED, noise=0.01, repeats=21, seed=seed)
        found = fit(points, bootstrap=200, rng=np.random.default_rng(seed))
        truth = coefficients(CURVED)
        inside.append([
            (low <= true) & (true <= high)
            for table, _, pairs in tables(found)
            for true, (low, high) in zip(truth[table], pairs, strict=True)
        ])  # fmt: skip
    hits = np.array(inside, dtype=float)
    share = hits.mean(axis=1)
    assert abs(share.mean() - 0.95) <= 0.02 + 4 * share.std(ddof=1) / runs**0.5
    # And no coefficient is left out of it: four binomial errors.
    assert hits.mean(axis=0).min() >= 0.95 - 0.02 - 4 * (0.95 * 0.05 / runs) ** 0.5


def test_intervals_narrow_with_the_noise_and_hold_the_estimate():
    widths = {}
    for noise in (0.0, 0.01, 0.04):
        found = fit(measured(CURVED, noise=noise), bootstrap=100)
        assert checked_intervals(found.intervals, found.cost) == found.intervals
        for table, numbers, pairs in tables(found):
            assert np.all(pairs[:, 0] <= numbers)
            assert np.all(numbers <= pairs[:, 1])
            widths[table, noise] = np.median((pairs[:, 1] - pairs[:, 0]) / numbers)
    for table in coefficients(CURVED):
        assert widths[table, 0.0] < 1e-6 < widths[table, 0.01] < widths[table, 0.04]


def test_intervals_are_the_same_for_the_same_generator_and_none_without_refits():
    points = measured(CURVED, noise=0.03)
    first, again, other = (
        fit(points, bootstrap=30, rng=np.random.default_rng(seed)) for seed in (5, 5, 6)
    )
    assert first == again
    assert first.intervals != other.intervals
    assert first.cost == other.cost
    assert fit(points).intervals == {}


def test_the_overhead_is_passed_on_and_not_fitted():
    points = measured(CURVED, noise=0.03)
    bare = fit(points, engine_overhead_s=None)
    served = fit(points, engine_overhead_s=0.002, engine_overhead_request_s=1e-5)
    assert bare.cost.engine_overhead_s is None
    assert (served.cost.engine_overhead_s, served.cost.engine_overhead_request_s) == (0.002, 1e-5)
    assert replace(served.cost, engine_overhead_s=None, engine_overhead_request_s=0.0) == bare.cost
    assert served.in_sample == bare.in_sample
    assert served.held_out == bare.held_out


def test_warnings_name_the_region_and_its_error():
    good = fit(measured(STRAIGHT, noise=0.005))
    assert fit_warnings(good) == []
    errors = {"decode": FitError(4.9, 20, 30), "mixed": FitError(7.26, 9, 9)}
    (line,) = fit_warnings(replace(good, held_out=errors))
    assert "7.3 % in mixed" in line
    (line,) = fit_warnings(fit(measured(STRAIGHT, (*DECODES, *PREFILLS))))
    assert "no prompt with a past was measured" in line


@settings(suppress_health_check=list(HealthCheck))
@given(
    st.floats(0.2, 1),
    st.sampled_from([CURVED, STRAIGHT, StepCost.affine(decode_s=1e-6, prefill_s=0.0,
                                                       context_token_s=1e-3)]),
    st.floats(0, 1.5),
    st.integers(1, 4),
    st.integers(0, 2**32),
)  # fmt: skip
def test_however_noisy_and_full_of_gaps_the_cost_is_possible(share, cost, noise, repeats, seed):
    kept = np.random.default_rng(seed).random(len(GRID)) < share
    steps = [step for step, keep in zip(GRID, kept, strict=True) if keep and predict_s(cost, step)]
    points = measured(cost, steps, noise=noise, repeats=repeats, seed=seed)
    try:
        problem = design(steps)
    except ProfileError:
        with pytest.raises(ProfileError):
            fit(points)
        return
    found = fit(points, bootstrap=5)
    fixed, context, prefill = found.cost.decode_fixed, found.cost.decode_context, found.cost.prefill
    assert fixed.x == problem.batch
    assert fixed.y[0] > 0
    assert found.cost.attention_token2_s >= 0
    for table in (fixed.y, prefill.y, np.array(context.x) * context.y):
        # To rounding: a value is a sum of increments, none negative.
        assert np.all(np.diff(table) >= -1e-12 * np.max(table))
    for _, numbers, pairs in tables(found):
        assert np.all(pairs[:, 0] <= numbers)
        assert np.all(numbers <= pairs[:, 1])
    for errors in (found.in_sample, found.held_out):
        assert all(0 <= e.mape <= e.max and e.p95 <= e.max for e in errors.values())
