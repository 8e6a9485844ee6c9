"""Profiles from published peaks alone: an optimistic bound for devices that nobody measured."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from calibrate.architectures import TEST_SHAPES, architecture, architectures, dtype_bytes
from calibrate.devices import DEVICES, device, devices
from calibrate.kv import DEFAULT_UTILIZATION, activation_bytes, kv_tokens
from calibrate.profile import Profile
from calibrate.schema import ProfileError, integer, nearest, one_of, wrong
from calibrate.steptime import PiecewiseLinear, StepCost
from calibrate.work import attention_flop

if TYPE_CHECKING:
    from calibrate.architectures import Architecture
    from calibrate.devices import Device

PREFIX = "roofline-"
DTYPES = ("bf16", "fp16")
# The engine's default limits: they set the activation reserve.
MAX_NUM_BATCHED_TOKENS = 2048
MAX_NUM_SEQS = 256
PREFILL_TOKENS = 16384
_FORM = (
    "matrix products take the longer of their weights over the bandwidth and their operations over "
    "the peak; after them attention takes the longer of keys and values over the bandwidth and "
    "operations over the peak; nothing else takes time: no launches, no norms, no sampling, no "
    "communication between devices"
)
_LIMITS = (
    "An optimistic bound, not a measurement. No kernel reaches both published peaks, so real steps "
    "take longer, small models and short steps many times as long. Attention of a prompt's chunk "
    "counts its operations only: a chunk of a few tokens with a long past is limited by reading "
    "that past, which is left out."
)


def roofline_cost(arch: Architecture, device: Device, dtype: str, count: int = 1) -> StepCost:
    """Return the least that the steps of a model can cost by a device's published peaks.

    With W the bytes of all weights that a step reads, bw the bandwidth, peak the operations a
    second, n and h the weights of the matrices and of the head, kv the bytes of a token's keys and
    values, and f the operations of one token's attention to another:

    * decode of B sequences with context C: max(W / bw, 2 * (n + h) * B / peak) + C * max(kv / bw,
      f / peak). The step's own keys and values are written, and C counts them.
    * prefill of p tokens with a past: max((W + p * kv) / bw, (2 * n * p + 2 * h) / peak) + f *
      (p * past + p * (p + 1) / 2) / peak.

    Both are straight lines between the knees where memory and operations take equally long, and
    the knees are points of the tables. `count` devices share all work evenly.

    Parameters
    ----------
    arch : Architecture
    device : Device
    dtype : str
        "bf16" or "fp16"; both have the same peak.
    count : int
        Devices that share the model; each holds the same number of KV heads.

    Raises
    ------
    ProfileError
        For another dtype, or a count that does not divide the KV heads.
    """
    one_of("dtype", dtype, DTYPES)
    if arch.kv_heads % integer("count", count, at_least=1):
        raise wrong("count", count, f"a divisor of the {arch.kv_heads} KV heads of {arch.name}")
    bytes_per_s, flop_per_s = device.bytes_per_s * count, device.flop_per_s * count
    weights_s = arch.step_parameters * dtype_bytes(dtype) / bytes_per_s
    token_s = 2 * arch.linear_parameters / flop_per_s
    head_s = 2 * arch.head_parameters / flop_per_s
    cached_s = arch.kv_bytes_per_token(dtype) / bytes_per_s
    pair_s = attention_flop(arch) / flop_per_s

    decode_knee = weights_s / (token_s + head_s)
    prefill_knee = (weights_s - head_s) / (token_s - cached_s)

    def decode_s(batch: float) -> float:
        return max(weights_s, (token_s + head_s) * batch)

    def prefill_s(tokens: float) -> float:
        matrices_s = max(weights_s + cached_s * tokens, token_s * tokens + head_s)
        # The half token over p^2 / 2: each token attends to itself as well.
        return matrices_s + pair_s * tokens / 2

    batches = (1.0, decode_knee, 2 * decode_knee)
    prompts = (1.0, prefill_knee, max(float(PREFILL_TOKENS), 2 * prefill_knee))
    return StepCost(
        PiecewiseLinear(batches, tuple(map(decode_s, batches))),
        PiecewiseLinear((1.0,), (max(cached_s, pair_s),)),
        PiecewiseLinear(prompts, tuple(map(prefill_s, prompts))),
        attention_token2_s=pair_s,
        engine_overhead_s=None,
    )


def roofline_profile(
    arch: Architecture,
    device: Device,
    dtype: str = "bf16",
    gpu_memory_utilization: float = DEFAULT_UTILIZATION,
    count: int = 1,
) -> Profile:
    """Return the profile of `roofline_cost`, with the KV capacity that the device's memory leaves.

    Parameters
    ----------
    arch : Architecture
    device : Device
    dtype : str
        "bf16" or "fp16".
    gpu_memory_utilization : float
        The share of the memory that the engine may use.
    count : int
        Devices that share the model.

    Raises
    ------
    ProfileError
        As `roofline_cost`, and where the weights leave no room for a KV cache.
    """
    cost = roofline_cost(arch, device, dtype, count)
    memory = device.memory_bytes * count
    reserve = activation_bytes(arch, dtype, MAX_NUM_BATCHED_TOKENS, MAX_NUM_SEQS)
    weights, token = arch.weight_bytes(dtype), arch.kv_bytes_per_token(dtype)
    on = device.name if count == 1 else f"{count}x{device.name}"
    try:
        capacity = kv_tokens(memory, gpu_memory_utilization, weights, reserve * count, token)
    except ProfileError as error:
        raise ProfileError(f"{arch.name} in {dtype} does not fit {on}: {error}") from None
    short = "" if dtype == DTYPES[0] else f"-{dtype}"
    return Profile(
        name=f"{PREFIX}{on}-{arch.name}{short}",
        method="roofline",
        model=arch.to_dict(dtype),
        device={
            "name": device.title,
            "count": count,
            "memory_bytes": device.memory_bytes,
            "bytes_per_s": device.bytes_per_s,
            "flop_per_s": device.flop_per_s,
            "gpu_memory_utilization": gpu_memory_utilization,
            "activation_reserve_bytes": reserve,
        },
        provenance={"form": _FORM, "limits": _LIMITS},
        sources=_sources(arch, device),
        discipline="chunked",
        kv_tokens=capacity,
        kv_source=(
            f"assumed: {memory / 1e9:g} GB of device memory x {gpu_memory_utilization:g} less "
            f"{weights / 1e9:.2f} GB of weights and an estimated {reserve * count / 1e9:.2f} GB of "
            f"activations, over {token} bytes a token"
        ),
        cost=cost,
    )


def roofline_names() -> tuple[str, ...]:
    """Return the names of the roofline profiles that can be computed: each model that fits."""
    return tuple(
        f"{PREFIX}{known.name}-{name}"
        for known in DEVICES
        for name in _published()
        if _fits(architecture(name), known)
    )


def roofline_by_name(name: str) -> Profile:
    """Return the profile called roofline-DEVICE-MODEL, in bf16 and on one device.

    A "2x" before the device stands for two that share the model, "-fp16" after it for that dtype.

    Raises
    ------
    ProfileError
        For a name that is none, with the nearest one, and for a model that does not fit.
    """
    parts = re.fullmatch(
        rf"{PREFIX}(?:([1-9]\d*)x)?({'|'.join(devices())})-(.+?)(?:-(fp16))?", name
    )
    if parts is None or parts[3] not in architectures():
        raise ProfileError(
            f"there is no profile {name!r}, expected {PREFIX}DEVICE-MODEL as in "
            f"{PREFIX}h100-qwen2.5-coder-7b{nearest(name, roofline_names())}"
        )
    return roofline_profile(
        architecture(parts[3]), device(parts[2]), parts[4] or DTYPES[0], count=int(parts[1] or 1)
    )


def rooflines(model: str) -> tuple[Profile, ...]:
    """Return the roofline profiles of a model on one of each device that can hold it."""
    arch = architecture(model)
    return tuple(roofline_profile(arch, known) for known in DEVICES if _fits(arch, known))


def _published() -> tuple[str, ...]:
    return tuple(name for name in architectures() if name not in TEST_SHAPES)


def _fits(arch: Architecture, known: Device) -> bool:
    try:
        roofline_profile(arch, known)
    except ProfileError:
        return False
    return True


def _sources(arch: Architecture, device: Device) -> dict[str, str]:
    by = "computed from the shapes of the model and the published peaks of the device:"
    return {
        "cost.decode.step_s": f"{by} weights read, or operations of the matrices and the head",
        "cost.decode.context_token_s": f"{by} bytes of a token's keys and values, or operations",
        "cost.prefill.step_s": f"{by} weights read, or operations of the matrices",
        "cost.prefill.attention_token2_s": f"{by} operations of causal attention",
        "engine_overhead_s": "unknown: the bound has no serving engine",
        "client_overhead_s": "0: the bound has no client",
        "kv_tokens": "an assumption, see kv_source; activations are calibrate.kv.activation_bytes "
        f"of {MAX_NUM_BATCHED_TOKENS} tokens and {MAX_NUM_SEQS} sequences a step",
        "discipline": "chosen: how current engines form steps",
        "model": f"shapes: {arch.source}; parameters: counted from the shapes, biases and norms "
        "included",
        "device": f"{device.source}; gpu_memory_utilization is chosen, activations are an estimate",
    }
