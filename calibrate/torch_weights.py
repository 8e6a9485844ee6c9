"""The weights of the transformer that is timed, drawn at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from calibrate.architectures import Architecture

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


class Affine(NamedTuple):
    """Weight and bias of a linear layer, or of a norm."""

    weight: torch.Tensor
    bias: torch.Tensor | None


@dataclass(frozen=True)
class Layer:
    """The weights of one layer; those of linear layers are (outputs, inputs).

    `qkv` holds the rows of queries, keys and values, in that order, and `mlp_in` those of gate
    and up where the MLP is SwiGLU: products that share an input are one, as engines do it.
    """

    attention_norm: Affine
    qkv: Affine
    attention_out: Affine
    mlp_norm: Affine
    mlp_in: Affine
    mlp_out: Affine


@dataclass(frozen=True)
class Weights:
    """All weights; `head` is `embedding` itself where they are tied."""

    embedding: torch.Tensor
    layers: tuple[Layer, ...]
    final_norm: Affine
    head: torch.Tensor


def random_weights(
    arch: Architecture, device: torch.device, dtype: torch.dtype, seed: int
) -> Weights:
    """Return weights drawn from normal distributions, on the device itself.

    Each linear layer keeps the size of what goes through it, those that add to the residual
    stream share one unit among all layers: everything stays finite in 16 bits too.
    """
    generator = torch.Generator(device).manual_seed(seed)

    def normal(*shape: int, std: float, mean: float = 0.0) -> torch.Tensor:
        empty = torch.empty(shape, device=device, dtype=dtype)
        return empty.normal_(mean, std, generator=generator)

    def linear(outputs: int, inputs: int, *, bias: bool, scale: float = 1.0) -> Affine:
        weight = normal(outputs, inputs, std=scale * inputs**-0.5)
        return Affine(weight, normal(outputs, std=0.02) if bias else None)

    def norm() -> Affine:
        weight = normal(arch.hidden, std=0.02, mean=1.0)
        return Affine(weight, normal(arch.hidden, std=0.02) if arch.norm == "layer" else None)

    qkv = (arch.heads + 2 * arch.kv_heads) * arch.head_dim
    mlp_in = arch.intermediate * (2 if arch.mlp == "swiglu" else 1)
    share = (2 * arch.layers) ** -0.5
    embedding = normal(arch.vocab, arch.hidden, std=arch.hidden**-0.5)
    layers = tuple(
        Layer(
            attention_norm=norm(),
            qkv=linear(qkv, arch.hidden, bias=arch.qkv_bias),
            attention_out=linear(
                arch.hidden, arch.heads * arch.head_dim, bias=arch.bias, scale=share
            ),
            mlp_norm=norm(),
            mlp_in=linear(mlp_in, arch.hidden, bias=arch.bias),
            mlp_out=linear(arch.hidden, arch.intermediate, bias=arch.bias, scale=share),
        )
        for _ in range(arch.layers)
    )
    head = embedding if arch.tied_embeddings else torch.empty_like(embedding)
    if not arch.tied_embeddings:
        head.normal_(0.0, arch.hidden**-0.5, generator=generator)
    return Weights(embedding, layers, norm(), head)
