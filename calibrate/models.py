"""Shapes of code models, as published; the numbers behind `calibrate.architectures`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_LLAMA: Mapping[str, Any] = {"mlp": "swiglu", "norm": "rms", "qkv_bias": False, "bias": False}
_QWEN = {
    **_LLAMA,
    "qkv_bias": True,
    "max_context_tokens": 32768,
    "rope_theta": 1e6,
    "norm_eps": 1e-6,
}
_CODELLAMA = {**_LLAMA, "max_context_tokens": 16384, "rope_theta": 1e6, "norm_eps": 1e-5}
_DEEPSEEK = {**_LLAMA, "max_context_tokens": 16384, "rope_theta": 1e5, "norm_eps": 1e-6}
_STARCODER = {
    "mlp": "gelu",
    "norm": "layer",
    "qkv_bias": True,
    "bias": True,
    # 16384 positions, but a token attends to the last 4096 only.
    "max_context_tokens": 4096,
    "norm_eps": 1e-5,
}
_TEST = {**_LLAMA, "max_context_tokens": 4096, "rope_theta": 1e4, "norm_eps": 1e-6}
_SHAPE = ("layers", "hidden", "heads", "kv_heads", "head_dim", "intermediate", "vocab",
          "tied_embeddings")  # fmt: skip
_CHOSEN = "chosen for tests on a CPU; no published model"


def _of(family: Mapping[str, Any], where: str, published: str, *shape: int) -> dict[str, Any]:
    source = f"published config.json of {where}, Hugging Face; published size {published}"
    return {**family, **dict(zip(_SHAPE, shape, strict=True)), "source": source}


def _test(*shape: int) -> dict[str, Any]:
    return {**_TEST, **dict(zip(_SHAPE, shape, strict=True)), "source": _CHOSEN}


def _qwen(size: str, published: str, *shape: int) -> dict[str, Any]:
    return _of(_QWEN, f"Qwen/Qwen2.5-Coder-{size}-Instruct", published, *shape)


def _codellama(size: str, published: str, *shape: int) -> dict[str, Any]:
    return _of(_CODELLAMA, f"codellama/CodeLlama-{size}-hf", published, *shape)


def _starcoder(size: str, published: str, rope_theta: float, *shape: int) -> dict[str, Any]:
    family = {**_STARCODER, "rope_theta": rope_theta}
    return _of(family, f"bigcode/starcoder2-{size}", published, *shape)


def _deepseek(size: str, published: str, *shape: int) -> dict[str, Any]:
    return _of(_DEEPSEEK, f"deepseek-ai/deepseek-coder-{size}-base", published, *shape)


# fmt: off
MODELS: Mapping[str, Mapping[str, Any]] = {
    # layers, hidden, heads, kv heads, head dim, intermediate, vocab, tied embeddings
    "qwen2.5-coder-0.5b": _qwen("0.5B", "0.49B", 24, 896, 14, 2, 64, 4864, 151936, True),
    "qwen2.5-coder-1.5b": _qwen("1.5B", "1.54B", 28, 1536, 12, 2, 128, 8960, 151936, True),
    "qwen2.5-coder-3b": _qwen("3B", "3.09B", 36, 2048, 16, 2, 128, 11008, 151936, True),
    "qwen2.5-coder-7b": _qwen("7B", "7.61B", 28, 3584, 28, 4, 128, 18944, 152064, False),
    "qwen2.5-coder-14b": _qwen("14B", "14.7B", 48, 5120, 40, 8, 128, 13824, 152064, False),
    "qwen2.5-coder-32b": _qwen("32B", "32.8B", 64, 5120, 40, 8, 128, 27648, 152064, False),
    "codellama-7b": _codellama("7b", "6.74B", 32, 4096, 32, 32, 128, 11008, 32016, False),
    "codellama-13b": _codellama("13b", "13.0B", 40, 5120, 40, 40, 128, 13824, 32016, False),
    "codellama-34b": _codellama("34b", "33.7B", 48, 8192, 64, 8, 128, 22016, 32000, False),
    "starcoder2-3b": _starcoder(
        "3b", "3.03B", 999999.4420358813, 30, 3072, 24, 2, 128, 12288, 49152, True),
    "starcoder2-7b": _starcoder(
        "7b", "7.17B", 1e6, 32, 4608, 36, 4, 128, 18432, 49152, True),
    "starcoder2-15b": _starcoder(
        "15b", "16.0B", 1e5, 40, 6144, 48, 4, 128, 24576, 49152, False),
    "deepseek-coder-1.3b": _deepseek("1.3b", "1.35B", 24, 2048, 16, 16, 128, 5504, 32256, False),
    "deepseek-coder-6.7b": _deepseek("6.7b", "6.74B", 32, 4096, 32, 32, 128, 11008, 32256, False),
    "deepseek-coder-33b": _deepseek("33b", "33.3B", 62, 7168, 56, 8, 128, 19200, 32256, False),
    # For a CPU: a decode step is a fraction of a millisecond, and a few milliseconds.
    "tiny": _test(2, 128, 4, 2, 32, 384, 1024, True),
    "small": _test(4, 512, 8, 2, 64, 1408, 2048, False),
}
# fmt: on
