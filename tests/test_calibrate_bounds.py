"""What intervals mean: their widths, and the costs at their ends."""

from dataclasses import replace

import pytest
from profile_cases import TRUE, profile_with_raw

from calibrate.bounds import bounds, widths_pct
from calibrate.library import load_profile
from calibrate.predict import predict_s
from calibrate.steps import Step

PROFILE = profile_with_raw()


@pytest.mark.parametrize(
    "step", [Step(16, 2048), Step(0, 0, 700), Step(0, 0, 100, 3000), Step(8, 512, 256, 0)]
)
def test_the_ends_enclose_the_cost(step):
    low, high = bounds(PROFILE)

    middle_s = predict_s(TRUE, step)
    assert predict_s(low, step) == pytest.approx(0.97 * middle_s)
    assert predict_s(high, step) == pytest.approx(1.05 * middle_s)


def test_no_intervals_no_bounds():
    assert bounds(load_profile("paper-qwen2.5-coder-3b")) is None
    assert widths_pct(load_profile("paper-qwen2.5-coder-3b")) == {}


def test_a_table_without_intervals_stays_as_it_is():
    table = "cost.prefill.step_s"
    low, high = bounds(replace(PROFILE, intervals={table: PROFILE.intervals[table]}))

    assert low.decode_fixed == high.decode_fixed == TRUE.decode_fixed
    assert high.prefill(8192) == pytest.approx(1.05 * 0.31)


def test_low_ends_that_no_cost_could_have_are_mended():
    wide = {
        "cost.decode.step_s": ((0.0, 0.1),) * 4,
        "cost.prefill.step_s": ((0.005, 0.1), (0.004, 0.1), (0.006, 0.1), (0.2, 0.4)),
    }
    low, _ = bounds(replace(PROFILE, intervals=wide))

    assert min(low.decode_fixed.y) > 0
    assert low.prefill.y == (0.005, 0.005, 0.006, 0.2)


def test_widths_are_half_an_interval_in_percent():
    found = widths_pct(PROFILE)

    assert found["cost.decode.step_s"]["numbers"] == 4
    assert found["cost.prefill.attention_token2_s"]["numbers"] == 1
    for row in found.values():
        assert row["median"] == pytest.approx(4)
    steps = ((0.0054, 0.0066), (0.0063, 0.0063), (0.0075, 0.0075), (0.0117, 0.0143))
    [row] = widths_pct(replace(PROFILE, intervals={"cost.decode.step_s": steps})).values()
    assert row == {"numbers": 4, "median": pytest.approx(5), "worst": pytest.approx(10)}


def test_a_number_that_is_0_has_no_width_in_percent():
    paper = load_profile("paper-qwen2.5-coder-3b")
    some = replace(paper, intervals={"cost.prefill.attention_token2_s": ((0.0, 1e-9),)})
    assert widths_pct(some) == {}
