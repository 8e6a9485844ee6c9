"""The transformer that is timed: one engine step of a decoder-only model in plain PyTorch.

A step is formed as vLLM's chunked engine forms it. The sequences that decode, one token each, and
one chunk of a prompt go through every linear layer together; each writes its keys and values to
its cache and attends for itself; tokens are sampled for the decodes and for the chunk's last
token. Weights are random: time depends on shapes, not on values.

Engines fuse norms with residual sums, and rotation with the cache's write; PyTorch alone does
not, so that a step with little work takes somewhat longer here than in an engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.bias import causal_lower_right

from calibrate.steps import Step

if TYPE_CHECKING:
    from calibrate.architectures import Architecture
    from calibrate.torch_weights import Affine, Layer, Weights

TEMPERATURE = 0.8
# The flash kernel wherever it runs, then the next one, in PyTorch's own order: it spreads the long
# context of a few decodes over the whole device, and it alone takes grouped heads and a past
# without a mask in memory. cuDNN's, which PyTorch may prefer for whole prompts, is left out: the
# times of prompts and of chunks are one table, and one kernel for all is what engines have.
ATTENTION = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


@dataclass(frozen=True)
class Inputs:
    """What one step works on; nothing in it changes shape or place from run to run.

    Parameters
    ----------
    step : Step
    tokens : Tensor
        Token ids, (step.tokens,): the decodes', then the prompt's.
    cos, sin : Tensor
        Of each token's rotation, (step.tokens, 1, head_dim), both halves of the head alike.
    decode_kv : Tensor
        (layers, 2, batch, context_tokens, kv_heads, head_dim): keys and values; a step writes the
        last of the context.
    prompt_kv : Tensor
        (layers, 2, past_tokens + prompt_tokens, kv_heads, head_dim); a step writes the prompt's.
    mask : Tensor, optional
        For a prompt with a past: which cached tokens each of its tokens may attend to.
    """

    step: Step
    tokens: torch.Tensor
    cos: torch.Tensor
    sin: torch.Tensor
    decode_kv: torch.Tensor
    prompt_kv: torch.Tensor
    mask: torch.Tensor | None


class Transformer:
    """A decoder-only transformer of an architecture, run one engine step at a time.

    Parameters
    ----------
    arch : Architecture
    weights : Weights
        All of one dtype, on one device.
    """

    def __init__(self, arch: Architecture, weights: Weights) -> None:
        self.arch = arch
        self.weights = weights

    def step(self, inputs: Inputs, generator: torch.Generator | None = None) -> torch.Tensor:
        """Run one step; return the sampled token ids, (batch [+ 1 with a prompt],)."""
        return sample(self.logits(inputs), generator)

    def logits(self, inputs: Inputs) -> torch.Tensor:
        """Run one step up to the logits, (batch [+ 1 with a prompt], vocab)."""
        weights, batch = self.weights, inputs.step.batch
        with sdpa_kernel(ATTENTION):
            x = F.embedding(inputs.tokens, weights.embedding)
            for layer, decode_kv, prompt_kv in zip(
                weights.layers, inputs.decode_kv, inputs.prompt_kv, strict=True
            ):
                normed = self._norm(x, layer.attention_norm)
                attended = self._attention(
                    F.linear(normed, *layer.qkv), inputs, decode_kv, prompt_kv
                )
                x = x + F.linear(attended, *layer.attention_out)
                x = x + self._mlp(self._norm(x, layer.mlp_norm), layer)
        if inputs.step.prompt_tokens:
            x = torch.cat((x[:batch], x[-1:])) if batch else x[-1:]
        return F.linear(self._norm(x, weights.final_norm), weights.head)

    def _norm(self, x: torch.Tensor, norm: Affine) -> torch.Tensor:
        if self.arch.norm == "rms":
            return F.rms_norm(x, (self.arch.hidden,), norm.weight, self.arch.norm_eps)
        return F.layer_norm(x, (self.arch.hidden,), *norm, self.arch.norm_eps)

    def _mlp(self, x: torch.Tensor, layer: Layer) -> torch.Tensor:
        x = F.linear(x, *layer.mlp_in)
        if self.arch.mlp == "swiglu":
            gate, up = x.chunk(2, dim=-1)
            x = F.silu(gate).mul_(up)
        else:
            x = F.gelu(x, approximate="tanh")
        return F.linear(x, *layer.mlp_out)

    def _attention(
        self,
        qkv: torch.Tensor,
        inputs: Inputs,
        decode_kv: torch.Tensor,
        prompt_kv: torch.Tensor,
    ) -> torch.Tensor:
        """Write the new keys and values, then attend: (tokens, heads * head_dim)."""
        arch, step = self.arch, inputs.step
        q, k, v = (arch.heads, arch.kv_heads, arch.kv_heads)
        qk, value = qkv.unflatten(1, (q + k + v, arch.head_dim)).split((q + k, v), dim=1)
        query, key = rotate(qk, inputs.cos, inputs.sin).split((q, k), dim=1)
        attended = []
        if step.batch:
            b = step.batch
            keys, values = decode_kv
            keys[:, -1], values[:, -1] = key[:b], value[:b]
            # The query heads that share a key head stand in a row like queries of one head: all
            # kernels take that, none needs the keys repeated, and each key is read once.
            grouped = query[:b].unflatten(1, (k, q // k))
            out = F.scaled_dot_product_attention(
                grouped, keys.transpose(1, 2), values.transpose(1, 2)
            )
            attended.append(out.reshape(b, -1))
        if step.prompt_tokens:
            keys, values = prompt_kv
            keys[step.past_tokens :] = key[step.batch :]
            values[step.past_tokens :] = value[step.batch :]
            out = F.scaled_dot_product_attention(
                query[step.batch :].transpose(0, 1).unsqueeze(0),
                keys.transpose(0, 1).unsqueeze(0),
                values.transpose(0, 1).unsqueeze(0),
                attn_mask=inputs.mask,
                is_causal=inputs.mask is None,
                enable_gqa=q != k,
            )
            attended.append(out.squeeze(0).transpose(0, 1).reshape(step.prompt_tokens, -1))
        return attended[0] if len(attended) == 1 else torch.cat(attended)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Turn every pair (x[i], x[i + half]) of each head, (tokens, heads, head_dim)."""
    half = x.shape[-1] // 2
    turned = x * cos
    turned[..., :half].addcmul_(x[..., half:], sin[..., half:], value=-1)
    turned[..., half:].addcmul_(x[..., :half], sin[..., :half])
    return turned


def sample(logits: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
    """Draw a token of each row's distribution at `TEMPERATURE`, without waiting for the device.

    Of clocks that ring after times -log(u)/p[i], u uniform, number i rings first with
    probability p[i].
    """
    probabilities = torch.softmax(logits.float() / TEMPERATURE, dim=-1)
    clocks = torch.empty_like(probabilities).uniform_(generator=generator).log_()
    return clocks.div_(probabilities).argmax(dim=-1)


def kv_elements(arch: Architecture, step: Step) -> int:
    """Return how many numbers the caches of a step hold, keys and values of all layers."""
    tokens = step.total_context_tokens + step.past_tokens + step.prompt_tokens
    return 2 * arch.layers * arch.kv_heads * arch.head_dim * tokens


def make_inputs(arch: Architecture, step: Step, tokens: torch.Tensor, kv: torch.Tensor) -> Inputs:
    """Return a step's inputs.

    Parameters
    ----------
    arch : Architecture
    step : Step
    tokens : Tensor
        Token ids, (step.tokens,).
    kv : Tensor
        The caches' memory with what they hold at first: `kv_elements` numbers in one dimension.
    """
    device = tokens.device
    past, length = step.past_tokens, step.past_tokens + step.prompt_tokens
    decodes = torch.full((step.batch,), step.context_tokens - 1, device=device)
    positions = torch.cat((decodes, torch.arange(past, length, device=device)))
    exponents = torch.arange(0, arch.head_dim, 2, device=device) / arch.head_dim
    angles = positions[:, None] * arch.rope_theta**-exponents
    angles = torch.cat((angles, angles), dim=-1).unsqueeze(1)
    heads = (arch.kv_heads, arch.head_dim)
    decode_elements = kv_elements(arch, Step(step.batch, step.context_tokens)) if step.batch else 0
    return Inputs(
        step,
        tokens,
        angles.cos().to(kv.dtype),
        angles.sin().to(kv.dtype),
        kv[:decode_elements].view(arch.layers, 2, step.batch, step.context_tokens, *heads),
        kv[decode_elements:].view(arch.layers, 2, length, *heads),
        _mask(step, device) if past else None,
    )


def _mask(step: Step, device: torch.device) -> torch.Tensor:
    """Return which cached tokens each token of a chunk attends to, (prompt_tokens, past + those).

    On cuda this is only a note for the kernel, on a cpu a tensor of booleans.
    """
    length = step.past_tokens + step.prompt_tokens
    if device.type == "cuda":
        return causal_lower_right(step.prompt_tokens, length)
    ones = torch.ones(step.prompt_tokens, length, dtype=torch.bool, device=device)
    return ones.tril(step.past_tokens)


def attention_kernel(
    arch: Architecture, device: torch.device, dtype: torch.dtype, *, decode: bool
) -> str:
    """Return the name of the kernel that decodes, or prompts, attend with: one of `ATTENTION`."""
    group = arch.heads // arch.kv_heads
    heads, queries = (arch.kv_heads, group) if decode else (arch.heads, 16)
    query = torch.empty(1, heads, queries, arch.head_dim, device=device, dtype=dtype)
    key = torch.empty(1, arch.kv_heads, 16, arch.head_dim, device=device, dtype=dtype)
    with sdpa_kernel(ATTENTION):
        choice = torch._fused_sdp_choice(
            query, key, key, is_causal=not decode, enable_gqa=heads != arch.kv_heads
        )
    return str(SDPBackend(choice).name).lower()
