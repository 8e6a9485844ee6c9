"""The transformer that is timed computes what another implementation computes."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch.nn.attention.bias import CausalBias

from calibrate.architectures import Architecture
from calibrate.steps import Step
from calibrate.torch_model import (
    TEMPERATURE,
    Transformer,
    _mask,
    kv_elements,
    make_inputs,
    sample,
)
from calibrate.torch_weights import DTYPES, Affine, Layer, Weights, random_weights

transformers = pytest.importorskip(
    "transformers", reason="needs transformers, the implementation to compare with"
)

SHAPES = {
    "layers": 3, "hidden": 48, "heads": 6, "kv_heads": 2, "head_dim": 8, "intermediate": 80,
    "vocab": 101, "max_context_tokens": 64, "rope_theta": 10000.0, "norm_eps": 1e-5,
    "source": "hand-made",
}  # fmt: skip
LLAMA = {"mlp": "swiglu", "norm": "rms", "qkv_bias": False, "bias": False}
FAMILIES = {
    "qwen2": {**LLAMA, "qkv_bias": True},
    "llama": LLAMA,
    "starcoder2": {"mlp": "gelu", "norm": "layer", "qkv_bias": True, "bias": True},
}
CASES = [(family, tied) for family in FAMILIES for tied in (True, False)]


@pytest.fixture(params=CASES, ids=[f"{family}-{'tied' if t else 'untied'}" for family, t in CASES])
def pair(request):
    """Yield both with the same weights: our model, and theirs as logits of a sequence."""
    family, tied = request.param
    arch = Architecture(name=family, tied_embeddings=tied, **SHAPES, **FAMILIES[family])
    other = built(family, arch)
    with torch.inference_mode():
        model = Transformer(arch, weights_of(other, arch))

        def reference(ids):
            return other(ids[None]).logits[0]

        yield SimpleNamespace(arch=arch, model=model, reference=reference)


def built(family, arch):
    """Return transformers' model with every weight, bias and norm drawn at random."""
    eps = "norm_epsilon" if family == "starcoder2" else "rms_norm_eps"
    config = transformers.AutoConfig.for_model(
        family,
        hidden_size=arch.hidden,
        intermediate_size=arch.intermediate,
        num_hidden_layers=arch.layers,
        num_attention_heads=arch.heads,
        num_key_value_heads=arch.kv_heads,
        vocab_size=arch.vocab,
        tie_word_embeddings=arch.tied_embeddings,
        bos_token_id=0,
        eos_token_id=0,
        **{eps: arch.norm_eps},
    )
    other = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            mean = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.normal_(mean, 0.3, generator=generator)
    return other.float().eval()


def weights_of(other, arch):
    """Return the weights of transformers' model as ours."""

    def affine(*modules):
        biases = [m.bias for m in modules if getattr(m, "bias", None) is not None]
        return Affine(torch.cat([m.weight for m in modules]), torch.cat(biases) if biases else None)

    def layer(its):
        attention, mlp = its.self_attn, its.mlp
        swiglu = arch.mlp == "swiglu"
        return Layer(
            attention_norm=affine(its.input_layernorm),
            qkv=affine(attention.q_proj, attention.k_proj, attention.v_proj),
            attention_out=affine(attention.o_proj),
            mlp_norm=affine(its.post_attention_layernorm),
            mlp_in=affine(mlp.gate_proj, mlp.up_proj) if swiglu else affine(mlp.c_fc),
            mlp_out=affine(mlp.down_proj if swiglu else mlp.c_proj),
        )

    return Weights(
        embedding=other.model.embed_tokens.weight,
        layers=tuple(layer(its) for its in other.model.layers),
        final_norm=affine(other.model.norm),
        head=other.lm_head.weight,
    )


def draw(arch, *shape, seed=0):
    return torch.randint(arch.vocab, shape, generator=torch.Generator().manual_seed(seed))


def run(model, step, tokens, decode_past=None, prompt_past=None):
    """Return logits and the prompt's cache; what the step has to write is NaN before."""
    inputs = make_inputs(
        model.arch, step, tokens, torch.full((kv_elements(model.arch, step),), torch.nan)
    )
    if decode_past is not None:
        inputs.decode_kv[:, :, :, : step.context_tokens - 1] = decode_past
    if prompt_past is not None:
        inputs.prompt_kv[:, :, : step.past_tokens] = prompt_past
    return model.logits(inputs), inputs.prompt_kv


def cached(model, ids):
    """Return the keys and values of a sequence, (layers, 2, tokens, kv_heads, head_dim)."""
    return run(model, Step(prompt_tokens=len(ids)), ids)[1]


def assert_same(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("tokens", [1, 2, 17])
def test_a_prompt_gives_the_logits_of_the_other_implementation(pair, tokens):
    ids = draw(pair.arch, tokens)
    logits, _ = run(pair.model, Step(prompt_tokens=tokens), ids)
    assert logits.shape == (1, pair.arch.vocab)
    assert_same(logits, pair.reference(ids)[-1:])


@pytest.mark.parametrize(("past", "tokens"), [(1, 1), (12, 1), (12, 5), (3, 14)])
def test_a_chunk_goes_on_from_its_past(pair, past, tokens):
    ids = draw(pair.arch, past + tokens)
    step = Step(prompt_tokens=tokens, past_tokens=past)
    logits, _ = run(pair.model, step, ids[past:], prompt_past=cached(pair.model, ids[:past]))
    assert_same(logits, pair.reference(ids)[-1:])


@pytest.mark.parametrize(("batch", "context"), [(1, 1), (1, 9), (4, 13)])
def test_decodes_attend_each_to_its_own_context(pair, batch, context):
    ids = draw(pair.arch, batch, context)
    past = None
    if context > 1:
        past = torch.stack([cached(pair.model, row[:-1]) for row in ids], dim=2)
    logits, _ = run(pair.model, Step(batch, context), ids[:, -1], decode_past=past)
    assert logits.shape == (batch, pair.arch.vocab)
    assert_same(logits, torch.stack([pair.reference(row)[-1] for row in ids]))


@pytest.mark.parametrize("past", [0, 6])
def test_a_mixed_step_gives_what_its_parts_give(pair, past):
    batch, context, tokens = 3, 11, 7
    decodes, prompt = draw(pair.arch, batch, context), draw(pair.arch, past + tokens, seed=1)
    decode_past = torch.stack([cached(pair.model, row[:-1]) for row in decodes], dim=2)
    prompt_past = cached(pair.model, prompt[:past]) if past else None
    apart = [
        run(pair.model, Step(batch, context), decodes[:, -1], decode_past)[0],
        run(
            pair.model,
            Step(prompt_tokens=tokens, past_tokens=past),
            prompt[past:],
            prompt_past=prompt_past,
        )[0],
    ]
    together, _ = run(
        pair.model,
        Step(batch, context, tokens, past),
        torch.cat((decodes[:, -1], prompt[past:])),
        decode_past,
        prompt_past,
    )
    torch.testing.assert_close(together, torch.cat(apart), rtol=1e-5, atol=1e-5)
    assert_same(together[-1], pair.reference(prompt)[-1])


@pytest.mark.filterwarnings("ignore")  # on a cpu PyTorch says that no kernel takes such a note
def test_what_a_chunk_notes_for_cuda_means_the_mask_that_a_cpu_gets():
    arch = Architecture(name="llama", tied_embeddings=True, **SHAPES, **LLAMA)
    step = Step(2, 9, 6, 5)
    with torch.inference_mode():
        model = Transformer(arch, random_weights(arch, torch.device("cpu"), torch.float32, 0))
        inputs = make_inputs(arch, step, draw(arch, 8), torch.randn(kv_elements(arch, step)))
        note = replace(inputs, mask=_mask(step, torch.device("cuda")))
        assert isinstance(note.mask, CausalBias)
        torch.testing.assert_close(model.logits(note), model.logits(inputs))


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
@pytest.mark.parametrize("family", list(FAMILIES))
def test_random_weights_give_finite_numbers_of_ordinary_size_in_16_bits(family, dtype):
    shapes = SHAPES | {"layers": 24, "hidden": 384, "head_dim": 64}
    arch = Architecture(name=family, tied_embeddings=True, **shapes, **FAMILIES[family])
    cpu = torch.device("cpu")
    with torch.inference_mode():
        model = Transformer(arch, random_weights(arch, cpu, DTYPES[dtype], seed=0))
        step = Step(2, 9, 6, 5)
        kv = torch.randn(kv_elements(arch, step), dtype=DTYPES[dtype])
        logits = model.logits(make_inputs(arch, step, draw(arch, step.tokens), kv))
    assert logits.dtype == DTYPES[dtype]
    assert logits.isfinite().all()
    assert 0.3 < logits.float().std() < 3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(
    "step", [Step(3, 300), Step(prompt_tokens=70), Step(3, 300, 70, 200)], ids=str
)
def test_cuda_computes_what_the_cpu_computes(step):
    shapes = SHAPES | {"hidden": 384, "head_dim": 64}
    arch = Architecture(name="llama", tied_embeddings=True, **shapes, **LLAMA)
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    with torch.inference_mode():
        weights = random_weights(arch, cpu, torch.bfloat16, seed=0)
        tokens = draw(arch, step.tokens)
        kv = torch.randn(kv_elements(arch, step), generator=torch.Generator().manual_seed(0))
        logits = [
            Transformer(arch, moved(weights, device, dtype))
            .logits(make_inputs(arch, step, tokens.to(device), kv.to(device, dtype, copy=True)))
            .to(cpu, torch.float32)
            for device, dtype in ((cpu, torch.float32), (cuda, torch.bfloat16))
        ]
    error = (logits[1] - logits[0]).norm() / logits[0].norm()
    assert error < 0.03


def moved(weights, device, dtype):
    """Return the same weights elsewhere, in another precision."""

    def affine(it):
        return Affine(*(None if tensor is None else tensor.to(device, dtype) for tensor in it))

    return Weights(
        weights.embedding.to(device, dtype),
        tuple(Layer(*map(affine, vars(layer).values())) for layer in weights.layers),
        affine(weights.final_norm),
        weights.head.to(device, dtype),
    )


def test_weights_follow_from_the_seed_and_have_the_stated_number():
    arch = Architecture(name="some", tied_embeddings=False, **SHAPES, **FAMILIES["starcoder2"])
    first, same, another = (
        tensors(random_weights(arch, torch.device("cpu"), torch.float32, seed))
        for seed in (1, 1, 2)
    )
    assert sum(tensor.numel() for tensor in first) == arch.parameters
    assert all(torch.equal(a, b) for a, b in zip(first, same, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, another, strict=True))


def tensors(weights):
    affine = [weights.final_norm, *(a for layer in weights.layers for a in vars(layer).values())]
    return [weights.embedding, weights.head, *(t for a in affine for t in a if t is not None)]


def test_samples_follow_the_distribution_of_the_logits():
    rows = 40_000
    logits = torch.tensor([2.0, 0.5, -1.0, 0.0, -30.0])
    drawn = sample(logits.expand(rows, -1), torch.Generator().manual_seed(0))
    expected = torch.softmax(logits / TEMPERATURE, dim=-1)
    shares = torch.bincount(drawn, minlength=len(logits)) / rows
    standard_error = (expected * (1 - expected) / rows).sqrt()
    assert ((shares - expected).abs() <= 5 * standard_error + 1e-9).all()


def test_each_row_is_sampled_for_itself():
    likely = torch.tensor([3, 0, 2])
    logits = torch.full((3, 4), -50.0)
    logits[torch.arange(3), likely] = 50.0
    assert torch.equal(sample(logits), likely)
