"""The shapes of decoder-only transformers, and what follows from them: parameters and bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from calibrate.hfconfig import read_shapes
from calibrate.models import MODELS
from calibrate.schema import ProfileError, integer, nearest, number, one_of, text, wrong

if TYPE_CHECKING:
    import os

DTYPE_BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}
TEST_SHAPES = ("tiny", "small")
MLPS = ("swiglu", "gelu")
NORMS = ("rms", "layer")
_SIZES = ("layers", "hidden", "heads", "kv_heads", "head_dim", "intermediate", "vocab",
          "max_context_tokens")  # fmt: skip


@dataclass(frozen=True)
class Architecture:
    """A decoder-only transformer with rotary positions and grouped-query attention.

    Parameters
    ----------
    name : str
    layers, hidden, heads, kv_heads, head_dim, intermediate, vocab : int
        `intermediate` is the inner width of the feed-forward part.
    tied_embeddings : bool
        Whether the output head is the embedding table.
    mlp : str
        "swiglu" (gate, up and down projections) or "gelu" (up and down).
    norm : str
        "rms" (a weight) or "layer" (a weight and a bias).
    qkv_bias, bias : bool
        Whether the projections to queries, keys and values have biases, and whether all other
        linear layers but the head have.
    max_context_tokens : int
        Up to so many tokens, each attends to all before it. Where attention slides over a window,
        that is the window: longer sequences cost less than these shapes say.
    rope_theta, norm_eps : float
        Without influence on the time of a step.
    source : str
        Where the shapes come from.

    Raises
    ------
    ProfileError
        For shapes that no model can have.
    """

    name: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    tied_embeddings: bool
    mlp: str
    norm: str
    qkv_bias: bool
    bias: bool
    max_context_tokens: int
    rope_theta: float
    norm_eps: float
    source: str

    def __post_init__(self) -> None:
        text("architecture.name", self.name)
        text("architecture.source", self.source)
        for key in _SIZES:
            integer(f"architecture.{key}", getattr(self, key), at_least=1)
        one_of("architecture.mlp", self.mlp, MLPS)
        one_of("architecture.norm", self.norm, NORMS)
        number("architecture.rope_theta", self.rope_theta, above=0)
        number("architecture.norm_eps", self.norm_eps, above=0)
        if self.heads % self.kv_heads:
            raise wrong("architecture.kv_heads", self.kv_heads, f"a divisor of {self.heads} heads")
        if self.head_dim % 2:
            raise wrong("architecture.head_dim", self.head_dim, "an even number, for rotation")

    @property
    def attention_width(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Width of all key heads together, and of all value heads."""
        return self.kv_heads * self.head_dim

    @property
    def linear_parameters(self) -> int:
        """Weights of the matrices in all layers; no biases, no norms, no embedding, no head."""
        attention = self.hidden * (2 * self.attention_width + 2 * self.kv_width)
        matrices = 3 if self.mlp == "swiglu" else 2
        return self.layers * (attention + matrices * self.hidden * self.intermediate)

    @property
    def head_parameters(self) -> int:
        """Weights of the output head; the embedding table has as many."""
        return self.vocab * self.hidden

    @property
    def parameters(self) -> int:
        """All weights: matrices, biases, norms, the embedding table, and the head if untied."""
        biases = self.attention_width + 2 * self.kv_width if self.qkv_bias else 0
        if self.bias:
            inner = 2 if self.mlp == "swiglu" else 1
            biases += 2 * self.hidden + inner * self.intermediate
        norm = self.hidden if self.norm == "rms" else 2 * self.hidden
        tables = 1 if self.tied_embeddings else 2
        return (
            self.linear_parameters
            + self.layers * (biases + 2 * norm)
            + norm
            + tables * self.head_parameters
        )

    @property
    def step_parameters(self) -> int:
        """Weights that a step reads: all but an embedding table that is only looked up in."""
        return self.parameters - (0 if self.tied_embeddings else self.head_parameters)

    def weight_bytes(self, dtype: str) -> int:
        """Return the bytes of all weights in `dtype`, a key of `DTYPE_BYTES`."""
        return self.parameters * dtype_bytes(dtype)

    def kv_bytes_per_token(self, dtype: str) -> int:
        """Return the bytes that the keys and values of one token take in all layers."""
        return 2 * self.layers * self.kv_width * dtype_bytes(dtype)

    def to_dict(self, dtype: str) -> dict[str, Any]:
        """Return the `model` block of a profile."""
        return {
            "name": self.name,
            "layers": self.layers,
            "hidden": self.hidden,
            "heads": self.heads,
            "kv_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "intermediate": self.intermediate,
            "vocab": self.vocab,
            "tied_embeddings": self.tied_embeddings,
            "dtype": dtype,
            "quantisation": None,
            "parameters": self.parameters,
            "weight_bytes": self.weight_bytes(dtype),
            "kv_bytes_per_token": self.kv_bytes_per_token(dtype),
        }


def dtype_bytes(dtype: str) -> int:
    """Return the bytes of one number of `dtype`; ProfileError for an unknown one."""
    return DTYPE_BYTES[one_of("dtype", dtype, tuple(DTYPE_BYTES))]


def architectures() -> tuple[str, ...]:
    """Return the names of the known models, by family and size; test shapes last."""
    return tuple(MODELS)


def architecture(name: str) -> Architecture:
    """Return the shapes of a known model.

    Raises
    ------
    ProfileError
        For an unknown name, in one line with the nearest one.
    """
    if name not in MODELS:
        raise ProfileError(
            f"there is no model {name!r}, expected one of {', '.join(MODELS)}"
            f"{nearest(name, MODELS)}"
        )
    return Architecture(name=name, **MODELS[name])


def read_config(path: str | os.PathLike[str]) -> Architecture:
    """Return the shapes in a Hugging Face config.json, see `calibrate.hfconfig.read_shapes`.

    The name is the file's, or that of its folder where the file is called config.json.

    Raises
    ------
    ProfileError
        For a file that cannot be read, a model of another kind, a missing or a wrong key, in one
        line that names the file and the key.
    """
    return Architecture(**read_shapes(path))
