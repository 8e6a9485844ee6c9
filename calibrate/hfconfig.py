"""Read the shapes of a model from its Hugging Face config.json."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calibrate.schema import ProfileError, integer, number, one_of, parse_json, wrong


@dataclass(frozen=True)
class _Family:
    """What a model type fixes, and what its configuration leaves out when it is the default."""

    mlp: str = "swiglu"
    norm: str = "rms"
    activations: tuple[str, ...] = ("silu", "swish")
    norm_eps_key: str = "rms_norm_eps"
    norm_eps: float = 1e-6
    tied: bool = False
    # Elsewhere a configuration without this key means some number of its class, not the heads.
    kv_heads_are_heads: bool = False
    window: int | None = None


FAMILIES: Mapping[str, _Family] = {
    "qwen2": _Family(),
    "llama": _Family(kv_heads_are_heads=True),
    "mistral": _Family(window=4096),
    "starcoder2": _Family(
        mlp="gelu",
        norm="layer",
        activations=("gelu_pytorch_tanh", "gelu_new", "gelu"),
        norm_eps_key="norm_epsilon",
        norm_eps=1e-5,
        tied=True,
    ),
}
_REFUSED = {
    "text_config": "is a model within a model: expected the configuration of a text model alone",
    "quantization_config": "says that the weights are quantised, which is not modelled: expected "
    "the configuration of the model in bf16, fp16 or fp32",
    "num_experts": "says that the model is a mixture of experts, which is not modelled",
    "num_local_experts": "says that the model is a mixture of experts, which is not modelled",
    "n_routed_experts": "says that the model is a mixture of experts, which is not modelled",
}


def read_shapes(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the fields of `calibrate.architectures.Architecture` in a config.json.

    Model types qwen2, llama, mistral and starcoder2 are known. Keys that may be missing, and what
    is taken for them, the defaults of the type: num_key_value_heads of a llama (as many as there
    are heads), head_dim (hidden_size over the heads), rope_theta (10000), the norm's epsilon, the
    biases, tie_word_embeddings. Scaled rotary positions are read over: they cost no time.

    Raises
    ------
    ProfileError
        For a file that cannot be read, a model of another kind, a missing or a wrong key, in one
        line that names the file and the key.
    """
    where = os.fspath(path)
    try:
        content = Path(path).read_text("utf-8-sig")
    except OSError as error:
        raise ProfileError(f"{where}: cannot read the configuration: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ProfileError(f"{where}: not a JSON file: it is not UTF-8 text") from None
    try:
        return {
            "name": _name(Path(path)),
            **_shapes(parse_json(content)),
            "source": f"configuration file {Path(path).name}",
        }
    except ProfileError as error:
        raise ProfileError(f"{where}: {error}") from None


def _name(path: Path) -> str:
    """Return a name for the model in the letters of a file name."""
    given = path.absolute().parent.name if path.stem == "config" else path.stem
    return re.sub(r"[^a-z0-9.]+", "-", given.lower()).strip("-") or "model"


def _shapes(config: object) -> dict[str, Any]:
    if not isinstance(config, Mapping):
        raise wrong("the configuration", config, "a JSON object")
    for key, reason in _REFUSED.items():
        if config.get(key) is not None:
            raise ProfileError(f"{key} {reason}")
    kind = _given(config, "model_type")
    if kind == "qwen3":
        raise ProfileError(
            "model_type is 'qwen3', whose norms of queries and keys are not modelled, expected "
            f"one of {', '.join(FAMILIES)}"
        )
    family = FAMILIES[one_of("model_type", kind, tuple(FAMILIES))]
    one_of("hidden_act", config.get("hidden_act", family.activations[0]), family.activations)
    hidden, heads = _size(config, "hidden_size"), _size(config, "num_attention_heads")
    qkv_bias, bias = _biases(config, kind)
    return {
        "layers": _size(config, "num_hidden_layers"),
        "hidden": hidden,
        "heads": heads,
        "kv_heads": _kv_heads(config, heads, family),
        "head_dim": _head_dim(config, hidden, heads),
        "intermediate": _size(config, "intermediate_size"),
        "vocab": _size(config, "vocab_size"),
        "tied_embeddings": _flag(config, "tie_word_embeddings", family.tied),
        "mlp": family.mlp,
        "norm": family.norm,
        "qkv_bias": qkv_bias,
        "bias": bias,
        "max_context_tokens": _full_attention_tokens(config, kind, family),
        "rope_theta": _rope_theta(config),
        "norm_eps": number(
            family.norm_eps_key, config.get(family.norm_eps_key, family.norm_eps), above=0
        ),
    }


def _given(config: Mapping[str, Any], key: str) -> Any:
    if config.get(key) is None:
        raise ProfileError(f"the configuration lacks the key {key!r}")
    return config[key]


def _size(config: Mapping[str, Any], key: str) -> int:
    return integer(key, _given(config, key), at_least=1)


def _flag(config: Mapping[str, Any], key: str, default: bool) -> bool:
    value = config.get(key, default)
    if not isinstance(value, bool):
        raise wrong(key, value, "true or false")
    return value


def _kv_heads(config: Mapping[str, Any], heads: int, family: _Family) -> int:
    key = "num_key_value_heads"
    if family.kv_heads_are_heads and config.get(key) is None:
        return heads
    kv_heads = _size(config, key)
    if heads % kv_heads:
        raise wrong(key, kv_heads, f"a divisor of num_attention_heads, {heads}")
    return kv_heads


def _head_dim(config: Mapping[str, Any], hidden: int, heads: int) -> int:
    if config.get("head_dim") is None:
        if hidden % heads or hidden // heads % 2:
            expected = f"an even multiple of num_attention_heads, {heads}, or a head_dim"
            raise wrong("hidden_size", hidden, expected)
        return hidden // heads
    head_dim = _size(config, "head_dim")
    if head_dim % 2:
        raise wrong("head_dim", head_dim, "an even number")
    return head_dim


def _biases(config: Mapping[str, Any], kind: str) -> tuple[bool, bool]:
    """Return whether the projections to queries, keys and values have biases, and the others."""
    if kind == "starcoder2":
        bias = _flag(config, "use_bias", True)
        return bias, bias
    if kind == "llama":
        bias = _flag(config, "attention_bias", False)
        if _flag(config, "mlp_bias", False) != bias:
            raise wrong("mlp_bias", not bias, f"{str(bias).lower()}, as attention_bias is")
        return bias, bias
    return kind == "qwen2", False


def _full_attention_tokens(config: Mapping[str, Any], kind: str, family: _Family) -> int:
    """Return up to how many tokens attention is full: a sliding window may be shorter."""
    positions = _size(config, "max_position_embeddings")
    if kind == "qwen2" and not _flag(config, "use_sliding_window", False):
        return positions
    window = config.get("sliding_window", family.window)
    if window is None:
        return positions
    return min(positions, integer("sliding_window", window, at_least=1))


def _rope_theta(config: Mapping[str, Any]) -> float:
    nested = config.get("rope_parameters")
    if isinstance(nested, Mapping) and "rope_theta" in nested:
        return number("rope_parameters.rope_theta", nested["rope_theta"], above=0)
    return number("rope_theta", config.get("rope_theta", 10000.0), above=0)
