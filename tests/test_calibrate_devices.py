"""Published facts of devices."""

import pytest

from calibrate import ProfileError
from calibrate.devices import DEVICES, device, devices, reported_device


def test_the_devices_asked_for_are_known():
    assert devices() == (
        "a100-40gb", "a100-80gb", "a10", "l4", "l40s", "rtx-3090", "rtx-4090", "h100", "h200",
        "mi300x",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "tensor_cores", "flop_a_cycle", "boost_ghz"),
    [
        # Peak = tensor cores x dense operations with fp32 sums a cycle x boost clock.
        ("a100-40gb", 432, 512, 1.41),
        ("a100-80gb", 432, 512, 1.41),
        ("a10", 288, 256, 1.695),
        ("l4", 240, 256, 2.04),
        ("l40s", 568, 256, 2.52),
        ("rtx-3090", 328, 128, 1.695),
        ("rtx-4090", 512, 128, 2.52),
        ("h100", 528, 1024, 1.83),
        ("h200", 528, 1024, 1.83),
        ("mi300x", 304, 2048, 2.1),
    ],
)
def test_peaks_are_dense_and_follow_from_cores_and_clock(
    name, tensor_cores, flop_a_cycle, boost_ghz
):
    peak = tensor_cores * flop_a_cycle * boost_ghz * 1e9
    assert device(name).flop_per_s == pytest.approx(peak, rel=0.04)


@pytest.mark.parametrize(
    ("name", "bus_bits", "gbit_a_pin"),
    [
        # Bandwidth = width of the memory bus x rate of a pin.
        ("a100-40gb", 5120, 2.43),
        ("a100-80gb", 5120, 3.19),
        ("a10", 384, 12.5),
        ("l4", 192, 12.5),
        ("l40s", 384, 18),
        ("rtx-3090", 384, 19.5),
        ("rtx-4090", 384, 21),
        ("h100", 5120, 5.23),
        ("h200", 6144, 6.25),
        ("mi300x", 8192, 5.2),
    ],
)
def test_bandwidths_follow_from_bus_and_pins(name, bus_bits, gbit_a_pin):
    bandwidth = bus_bits * gbit_a_pin * 1e9 / 8
    assert device(name).bytes_per_s == pytest.approx(bandwidth, rel=0.01)


@pytest.mark.parametrize("known", DEVICES, ids=lambda known: known.name)
def test_a_source_names_every_number(known):
    assert f"{known.memory_bytes / 1e9:g} GB" in known.source
    bandwidth = (f"{known.bytes_per_s / 1e9:,g} GB/s", f"{known.bytes_per_s / 1e12:g} TB/s")
    assert any(text in known.source for text in bandwidth)
    peak = known.flop_per_s / 1e12
    assert any(f"{text} TFLOPS" in known.source for text in (f"{peak:,.7g}", f"{2 * peak:g}"))


def test_an_unknown_device_gets_the_nearest():
    with pytest.raises(ProfileError, match=r"no device 'h10', expected one of .*did you mean"):
        device("h10")


def test_only_the_exact_name_of_a_driver_counts():
    assert reported_device("NVIDIA H100 80GB HBM3") is device("h100")
    assert reported_device("nvidia geforce rtx 4090 ") is device("rtx-4090")
    assert reported_device("h200") is device("h200")
    for other in ("NVIDIA H100 PCIe", "NVIDIA A10G", "NVIDIA A100-PCIE-40GB", "", None, "cpu"):
        assert reported_device(other) is None
