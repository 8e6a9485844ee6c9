"""How many tokens a KV cache holds beside weights and activations."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from calibrate.architectures import dtype_bytes
from calibrate.schema import ProfileError, integer, number, wrong

if TYPE_CHECKING:
    from calibrate.architectures import Architecture

MEMINFO = Path("/proc/meminfo")
# The share of a device's memory that engines use unless they are told otherwise.
DEFAULT_UTILIZATION = 0.9


def kv_tokens(
    memory_bytes: float,
    utilization: float,
    weight_bytes: float,
    reserve_bytes: float,
    kv_bytes_per_token: float,
    free_bytes: float | None = None,
) -> int:
    """Return (memory * utilization - weights - reserve) / bytes a token, rounded down.

    Where the device said what it had left beside the weights, that less the share not to be used
    stands for memory * utilization - weights if it is less: the driver takes its part as well.

    Parameters
    ----------
    memory_bytes : float
        Of the device.
    utilization : float
        The share of it that the engine may use: over 0, at most 1.
    weight_bytes, reserve_bytes : float
        What the weights take, and what is kept free for activations.
    kv_bytes_per_token : float
    free_bytes : float, optional
        Of the device, with the weights loaded.

    Raises
    ------
    ProfileError
        When not one token fits.
    """
    number("memory_bytes", memory_bytes, above=0)
    number("weight_bytes", weight_bytes, at_least=0)
    number("reserve_bytes", reserve_bytes, at_least=0)
    number("kv_bytes_per_token", kv_bytes_per_token, above=0)
    if number("gpu_memory_utilization", utilization, above=0) > 1:
        raise wrong("gpu_memory_utilization", utilization, "a share of at most 1")
    left, measured = memory_bytes * utilization - weight_bytes, ""
    if free_bytes is not None:
        number("free_bytes", free_bytes, at_least=0)
        left = min(left, free_bytes - (1 - utilization) * memory_bytes)
        measured = f" ({free_bytes / 1e9:.1f} GB measured free beside them)"
    if left - reserve_bytes < kv_bytes_per_token:
        raise ProfileError(
            f"{memory_bytes / 1e9:.1f} GB of memory x {utilization:g} leave no room for a KV cache "
            f"beside {weight_bytes / 1e9:.1f} GB of weights{measured} and "
            f"{reserve_bytes / 1e9:.1f} GB of activations, expected a smaller model, more memory "
            "or more devices"
        )
    return int((left - reserve_bytes) // kv_bytes_per_token)


def activation_bytes(
    arch: Architecture, dtype: str, max_num_batched_tokens: int, max_num_seqs: int
) -> int:
    """Return an estimate of the bytes that the activations of the largest step take.

    The larger of two moments, with T = `max_num_batched_tokens`, S = `max_num_seqs` and b bytes a
    number: in a layer, T * b * (2 * hidden + w), the residual, its norm and the widest inner
    values w (gate, up and product of a SwiGLU; up and its activation of a GELU; or queries, keys,
    values and the attention's output); at the head, T * b * hidden + S * vocab * (b + 8), logits
    in b bytes and their copy and probabilities in float32.

    Left out: the driver's context (about 0.5 GB), memory pools of CUDA graphs, workspaces of
    kernels, buffers between devices, and what fragmentation wastes.
    """
    tokens = integer("max_num_batched_tokens", max_num_batched_tokens, at_least=1)
    seqs = integer("max_num_seqs", max_num_seqs, at_least=1)
    size = dtype_bytes(dtype)
    mlp = (3 if arch.mlp == "swiglu" else 2) * arch.intermediate
    attention = 2 * arch.attention_width + 2 * arch.kv_width
    layer = tokens * size * (2 * arch.hidden + max(mlp, attention))
    head = tokens * size * arch.hidden + seqs * arch.vocab * (size + 8)
    return max(layer, head)


def available_memory_bytes(meminfo: Path = MEMINFO) -> int:
    """Return the bytes of main memory that could be taken without swapping.

    MemAvailable of Linux, else the free pages that the system reports.

    Raises
    ------
    ProfileError
        Where neither can be had.
    """
    try:
        for line in meminfo.read_text("ascii").splitlines():
            key, _, value = line.partition(":")
            if key == "MemAvailable":
                return int(value.split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        raise ProfileError(
            "cannot tell how much memory is available on this system: neither "
            f"{meminfo} nor sysconf says so; calibrate on Linux"
        ) from None
