"""A roofline against what was measured on its device."""

import pytest

from calibrate import Profile, load_profile
from calibrate.architectures import architecture
from calibrate.describe import describe_profile
from calibrate.devices import device
from calibrate.predict import predict_s
from calibrate.roofline import roofline_cost, roofline_profile
from calibrate.steps import Measurement, Step
from calibrate.twins import measured_twins, roofline_error, roofline_errors

MODEL, H100 = architecture("qwen2.5-coder-7b"), device("h100")
BOUND = roofline_cost(MODEL, H100, "bf16")
STEPS = (Step(1, 512), Step(64, 2048), Step(prompt_tokens=512), Step(prompt_tokens=2048))


def measured(name="measured", times=1.25, **changes):
    """Return a profile whose steps took `times` what the bound says."""
    raw = [Measurement(step, (times * predict_s(BOUND, step),)).to_raw() for step in STEPS]
    raw.append(Measurement(Step(256, 16384), problem="out of memory").to_raw())
    return Profile(
        **{
            "name": name,
            "method": "torch",
            "cost": BOUND,
            "kv_tokens": 1000,
            "kv_source": "free memory",
            "discipline": "chunked",
            "model": MODEL.to_dict("bf16"),
            "device": {"name": "NVIDIA H100 80GB HBM3", "count": 1},
            "raw": tuple(raw),
            **changes,
        }
    )


def test_the_error_is_that_of_the_bound_at_the_raw_points():
    errors = roofline_error(measured())
    assert set(errors) == {"decode", "prefill"}
    assert errors["decode"]["points"] == 2
    # The bound says 80 % of what was measured.
    for kind in errors.values():
        assert kind["mape"] == pytest.approx(20, abs=1e-3)
        assert kind["bias"] == pytest.approx(-20, abs=1e-3)


def test_the_fitted_cost_of_the_measured_profile_does_not_matter():
    slower = measured(cost=roofline_cost(MODEL, device("l4"), "bf16"))
    assert roofline_error(slower) == roofline_error(measured())


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "imported"},
        {"device": {"name": "NVIDIA H100 PCIe", "count": 1}},
        {"device": {}},
        {"device": {"name": "h100", "count": 3}},
        {"device": {"name": "h100", "count": "two"}},
        {"model": {**MODEL.to_dict("bf16"), "name": "my-model"}},
        {"model": {**MODEL.to_dict("bf16"), "dtype": "int8"}},
        {"model": {**MODEL.to_dict("bf16"), "quantisation": "awq"}},
        {"model": {}},
        {"raw": ()},
    ],
)
def test_without_a_roofline_of_the_same_there_is_no_error(changes):
    assert roofline_error(measured(**changes)) == {}


def test_twins_are_measured_on_the_same_device_with_the_same_model():
    roofline = roofline_profile(MODEL, H100)
    twin = measured("twin", method="endpoint")
    others = (
        measured("device", device={"name": "h200"}),
        measured("count", device={"name": "h100", "count": 2}),
        measured("dtype", model=MODEL.to_dict("fp16")),
        measured("model", model=architecture("qwen2.5-coder-14b").to_dict("bf16")),
        measured("method", method="simulated"),
        roofline,
    )
    assert measured_twins(roofline, (*others, twin)) == (twin,)
    assert measured_twins(roofline_profile(MODEL, H100, "fp16"), (twin,)) == ()


def test_a_profile_is_described_with_the_error_of_its_roofline(monkeypatch):
    twin = measured("twin")
    assert describe_profile(twin)["roofline_errors"] == {"twin": roofline_error(twin)}
    assert describe_profile(load_profile("paper-qwen2.5-coder-3b"))["roofline_errors"] == {}
    monkeypatch.setattr("calibrate.twins.bundled_profiles", lambda: ("twin", "other"))
    bundled = {"twin": twin, "other": measured("other", device={"name": "l4"})}
    monkeypatch.setattr("calibrate.twins.load_profile", bundled.__getitem__)
    roofline = roofline_profile(MODEL, H100)
    assert roofline_errors(roofline) == {"twin": roofline_error(twin)}
    assert describe_profile(roofline)["roofline_errors"] == {"twin": roofline_error(twin)}
