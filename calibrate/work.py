"""The work in one engine step, in operations and bytes, and the least time it can take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from calibrate.architectures import dtype_bytes
from calibrate.schema import number

if TYPE_CHECKING:
    from calibrate.architectures import Architecture
    from calibrate.steps import Step


@dataclass(frozen=True)
class Hardware:
    """What a device can do.

    Parameters
    ----------
    bytes_per_s : float
        Bytes that its memory reads or writes in a second.
    flop_per_s : float
        Operations of matrix products in a second; a multiplication and an addition are two.
    launch_s : float
        Seconds until the least piece of work is done.
    """

    bytes_per_s: float
    flop_per_s: float
    launch_s: float = 0.0

    def __post_init__(self) -> None:
        number("bytes_per_s", self.bytes_per_s, above=0)
        number("flop_per_s", self.flop_per_s, above=0)
        number("launch_s", self.launch_s, at_least=0)


def attended_tokens(step: Step) -> int:
    """Return over how many cached tokens the tokens of a step attend, all together.

    A decode attends to its context; token i of a prompt's p tokens (i = 1 to p) to the past and
    to i: batch * context + p * past + p * (p + 1) / 2.
    """
    p = step.prompt_tokens
    return step.total_context_tokens + p * step.past_tokens + p * (p + 1) // 2


def attention_flop(arch: Architecture) -> int:
    """Return the operations of one token that attends to one other, in all layers.

    Query times key and weight times value, both over all query heads: 4 * layers * heads *
    head_dim.
    """
    return 4 * arch.layers * arch.attention_width


def step_flop(arch: Architecture, step: Step) -> int:
    """Return the operations of a step's matrix products.

    2 * linear weights * tokens, and 2 * head weights for each sampled token (one a decode, one a
    prompt), and attention: `attention_flop` * `attended_tokens`. Norms, rotations, activations,
    softmax and sampling are left out: they are no matrix products and take under one percent.
    """
    sampled = step.batch + bool(step.prompt_tokens)
    linear = arch.linear_parameters * step.tokens + arch.head_parameters * sampled
    return 2 * linear + attention_flop(arch) * attended_tokens(step)


def step_bytes(arch: Architecture, dtype: str, step: Step) -> int:
    """Return the bytes that a step must move between the device's memory and its processors.

    Weights once, the head included and an embedding table left out that is only looked up in:
    `step_parameters` * bytes a number. Keys and values of every token in a cache once: those of
    earlier tokens are read, those of the step's own are written. Activations are left out: small
    ones stay on the chip, and fused kernels keep large ones there.
    """
    cached = step.total_context_tokens + step.past_tokens + step.prompt_tokens
    weights = arch.step_parameters * dtype_bytes(dtype)
    return weights + arch.kv_bytes_per_token(dtype) * cached


def floor_s(arch: Architecture, dtype: str, step: Step, hardware: Hardware) -> float:
    """Return the seconds that a step takes at least on `hardware`.

    The largest of bytes over bandwidth, operations over peak, and the launch latency: even if all
    of them overlap perfectly, a step takes as long as the longest.
    """
    return max(
        step_bytes(arch, dtype, step) / hardware.bytes_per_s,
        step_flop(arch, step) / hardware.flop_per_s,
        hardware.launch_s,
    )
