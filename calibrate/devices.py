"""What vendors publish about accelerators: memory, bandwidth, and the peak of matrix products."""

from __future__ import annotations

from dataclasses import dataclass

from calibrate.schema import ProfileError, nearest

_AMPERE = "NVIDIA A100 Tensor Core GPU data sheet"
_HOPPER = "NVIDIA H100 Tensor Core GPU Architecture white paper"


@dataclass(frozen=True)
class Device:
    """One accelerator, by its vendor's numbers.

    Parameters
    ----------
    name : str
        In lower case, as profiles are named.
    title : str
    memory_bytes : int
        As printed, with 10^9 bytes to the GB; drivers report up to a tenth more.
    bytes_per_s : float
        Peak bandwidth of its memory.
    flop_per_s : float
        Peak of dense matrix products of bf16 or fp16 numbers that are summed in fp32. What vendors
        print for sparse matrices, or for fp16 sums, is twice that on most devices.
    source : str
    reported_as : tuple of str
        How drivers name it.
    """

    name: str
    title: str
    memory_bytes: int
    bytes_per_s: float
    flop_per_s: float
    source: str
    reported_as: tuple[str, ...]


DEVICES = (
    Device(
        "a100-40gb", "A100 SXM 40 GB", 40_000_000_000, 1.555e12, 312e12,
        f"{_AMPERE}: 40 GB, 1,555 GB/s, 312 TFLOPS (624 with sparsity)",
        ("NVIDIA A100-SXM4-40GB",),
    ),
    Device(
        "a100-80gb", "A100 SXM 80 GB", 80_000_000_000, 2.039e12, 312e12,
        f"{_AMPERE}: 80 GB, 2,039 GB/s, 312 TFLOPS (624 with sparsity)",
        ("NVIDIA A100-SXM4-80GB",),
    ),
    Device(
        "a10", "A10", 24_000_000_000, 600e9, 125e12,
        "NVIDIA A10 Tensor Core GPU data sheet: 24 GB, 600 GB/s, 125 TFLOPS (250 with sparsity)",
        ("NVIDIA A10",),
    ),
    Device(
        "l4", "L4", 24_000_000_000, 300e9, 121e12,
        "NVIDIA L4 Tensor Core GPU data sheet: 24 GB, 300 GB/s, 242 TFLOPS with sparsity, half of "
        "it dense",
        ("NVIDIA L4",),
    ),
    Device(
        "l40s", "L40S", 48_000_000_000, 864e9, 362.05e12,
        "NVIDIA L40S data sheet: 48 GB, 864 GB/s, 362.05 TFLOPS (733 with sparsity)",
        ("NVIDIA L40S",),
    ),
    Device(
        "rtx-3090", "GeForce RTX 3090", 24_000_000_000, 936e9, 71e12,
        "NVIDIA Ampere GA102 GPU Architecture white paper: 24 GB, 936 GB/s, 71 TFLOPS with fp32 "
        "sums (142 with fp16 sums)",
        ("NVIDIA GeForce RTX 3090",),
    ),
    Device(
        "rtx-4090", "GeForce RTX 4090", 24_000_000_000, 1.008e12, 165.2e12,
        "NVIDIA Ada GPU Architecture white paper: 24 GB, 1,008 GB/s, 165.2 TFLOPS with fp32 sums "
        "(330.3 with fp16 sums)",
        ("NVIDIA GeForce RTX 4090",),
    ),
    Device(
        "h100", "H100 SXM 80 GB", 80_000_000_000, 3.35e12, 989.4e12,
        f"NVIDIA H100 data sheet: 80 GB, 3.35 TB/s; {_HOPPER}: 989.4 TFLOPS dense",
        ("NVIDIA H100 80GB HBM3",),
    ),
    Device(
        "h200", "H200 SXM", 141_000_000_000, 4.8e12, 989.4e12,
        "NVIDIA H200 data sheet: 141 GB, 4.8 TB/s, the H100's 1,979 TFLOPS with sparsity; "
        f"{_HOPPER}: 989.4 TFLOPS dense",
        ("NVIDIA H200",),
    ),
    Device(
        "mi300x", "Instinct MI300X", 192_000_000_000, 5.3e12, 1307.4e12,
        "AMD Instinct MI300X data sheet: 192 GB, 5.3 TB/s, 1,307.4 TFLOPS (2,614.9 with sparsity)",
        ("AMD Instinct MI300X", "AMD Instinct MI300X OAM"),
    ),
)  # fmt: skip


def devices() -> tuple[str, ...]:
    """Return the names of the known devices."""
    return tuple(known.name for known in DEVICES)


def device(name: str) -> Device:
    """Return what is published of a device.

    Raises
    ------
    ProfileError
        For an unknown name, in one line with the nearest one.
    """
    for known in DEVICES:
        if known.name == name:
            return known
    raise ProfileError(
        f"there is no device {name!r}, expected one of {', '.join(devices())}"
        f"{nearest(name, devices())}"
    )


def reported_device(reported: object) -> Device | None:
    """Return the device that a driver, or a person, calls `reported`; None if it is not known.

    Only the exact name counts: cards of the same chip for another slot are slower.
    """
    for known in DEVICES:
        names = (known.name, *known.reported_as)
        if str(reported).strip().lower() in (name.lower() for name in names):
            return known
    return None
