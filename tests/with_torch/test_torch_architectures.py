"""Parameters, operations and shapes against another implementation of the same models."""

import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from calibrate.architectures import architecture, architectures, read_config
from calibrate.steps import Step
from calibrate.work import attended_tokens, attention_flop, step_flop

transformers = pytest.importorskip(
    "transformers", reason="needs transformers, the implementation to compare with"
)

MODEL_TYPES = {"qwen2.5": "qwen2", "codellama": "llama", "deepseek": "llama",
               "starcoder2": "starcoder2", "tiny": "llama", "small": "llama"}  # fmt: skip


def config_of(model):
    """Return the configuration of a model as its config.json would have it."""
    kind = next(kind for start, kind in MODEL_TYPES.items() if model.name.startswith(start))
    keys = {
        "model_type": kind,
        "hidden_size": model.hidden,
        "intermediate_size": model.intermediate,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "num_key_value_heads": model.kv_heads,
        "vocab_size": model.vocab,
        "tie_word_embeddings": model.tied_embeddings,
        "max_position_embeddings": model.max_context_tokens,
        "rope_theta": model.rope_theta,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    eps = "norm_epsilon" if kind == "starcoder2" else "rms_norm_eps"
    return keys | {eps: model.norm_eps}


def built(model):
    """Return transformers' model of the same shapes, without memory for its weights."""
    config = config_of(model)
    kind = config.pop("model_type")
    known = transformers.AutoConfig.for_model(kind, **config)
    known._attn_implementation = "eager"
    with torch.device("meta"):
        return transformers.AutoModelForCausalLM.from_config(known, dtype=torch.bfloat16).eval()


@pytest.mark.parametrize("name", architectures())
def test_parameters_are_those_of_the_other_implementation(name):
    model = architecture(name)
    other = built(model)
    # parameters() gives a tied table once.
    assert model.parameters == sum(p.numel() for p in other.parameters())


@pytest.mark.parametrize("name", ["qwen2.5-coder-0.5b", "codellama-13b", "starcoder2-15b"])
def test_a_configuration_that_the_other_implementation_wrote_is_read(name, tmp_path):
    model = architecture(name)
    written = built(model).config.to_dict()
    (tmp_path / "config.json").write_text(json.dumps(written))
    found = read_config(tmp_path / "config.json")
    for field in found.__dataclass_fields__:
        if field not in ("name", "source"):
            assert getattr(found, field) == getattr(model, field), field


def counted_flop(other, step):
    """Return what PyTorch counts for a decode step or for a prompt of the other implementation."""
    batch = step.batch or 1
    past = step.context_tokens - 1 if step.batch else step.past_tokens
    cache = transformers.DynamicCache(config=other.config)
    with torch.device("meta"), torch.no_grad():
        if past:
            other(torch.zeros(batch, past, dtype=torch.long), past_key_values=cache, use_cache=True)
        new = torch.zeros(batch, step.prompt_tokens or 1, dtype=torch.long)
        with FlopCounterMode(display=False) as counter:
            other(new, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return counter.get_total_flops()


@pytest.mark.parametrize("name", ["qwen2.5-coder-7b", "codellama-7b", "starcoder2-3b", "small"])
@pytest.mark.parametrize(
    "step",
    [
        Step(batch=1, context_tokens=128),
        Step(batch=8, context_tokens=2048),
        Step(prompt_tokens=512),
        Step(prompt_tokens=256, past_tokens=768),
    ],
    ids=lambda step: f"{step.kind}-{step.tokens}",
)
def test_operations_are_those_that_pytorch_counts(name, step):
    model = architecture(name)
    # It computes, and masks, what a prompt's tokens would attend to after themselves.
    p = step.prompt_tokens
    square = step.total_context_tokens + p * (step.past_tokens + p)
    masked = (square - attended_tokens(step)) * attention_flop(model)
    assert counted_flop(built(model), step) - masked == step_flop(model, step)
