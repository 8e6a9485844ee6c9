"""Shapes of models: published counts, and what follows from the shapes."""

from dataclasses import replace

import pytest

from calibrate import ProfileError, load_profile
from calibrate.architectures import TEST_SHAPES, Architecture, architecture, architectures

# Exact counts as the hubs that serve these models list them.
PUBLISHED = {
    "qwen2.5-coder-0.5b": 494_032_768,
    "qwen2.5-coder-1.5b": 1_543_714_304,
    "qwen2.5-coder-3b": 3_085_938_688,
    "qwen2.5-coder-7b": 7_615_616_512,
    "qwen2.5-coder-14b": 14_770_033_664,
    "qwen2.5-coder-32b": 32_763_876_352,
    "codellama-7b": 6_738_546_688,
    "codellama-13b": 13_016_028_160,
    "codellama-34b": 33_743_970_304,
    "deepseek-coder-1.3b": 1_346_471_936,
    "deepseek-coder-6.7b": 6_740_512_768,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_the_published_number(name):
    assert architecture(name).parameters == PUBLISHED[name]


@pytest.mark.parametrize("name", [name for name in architectures() if name not in TEST_SHAPES])
def test_every_model_names_its_source_with_its_published_size(name):
    model = architecture(name)
    assert model.name == name
    where, size = model.source.rsplit(" ", 1)
    assert "published config.json of " in where
    assert model.parameters == pytest.approx(float(size.removesuffix("B")) * 1e9, rel=0.01)


def test_bytes_of_weights_and_cache():
    # Total size in the index of the published weights; 28 layers x (4 + 4) heads x 128 x 2 bytes.
    model = architecture("qwen2.5-coder-7b")
    assert model.weight_bytes("bf16") == 15_231_233_024
    assert model.kv_bytes_per_token("fp16") == 28 * 8 * 128 * 2 == 57344
    assert model.kv_bytes_per_token("fp32") == 2 * 57344
    assert model.head_dim * model.heads == model.hidden


def test_a_step_reads_no_table_that_is_only_looked_up_in():
    untied, tied = architecture("qwen2.5-coder-7b"), architecture("qwen2.5-coder-3b")
    assert untied.step_parameters == untied.parameters - 152064 * 3584
    assert tied.step_parameters == tied.parameters


def test_the_model_block_is_the_one_of_the_bundled_profile():
    paper = load_profile("paper-qwen2.5-coder-3b").model
    block = architecture("qwen2.5-coder-3b").to_dict("fp16")
    assert list(block) == list(paper)
    assert block | {"name": "Qwen2.5-Coder-3B", "dtype": "float16"} == paper


def test_biases_and_norms_count():
    plain = Architecture(
        name="m", layers=3, hidden=8, heads=4, kv_heads=2, head_dim=4, intermediate=10, vocab=7,
        tied_embeddings=True, mlp="swiglu", norm="rms", qkv_bias=False, bias=False,
        max_context_tokens=16, rope_theta=1e4, norm_eps=1e-6, source="made up",
    )  # fmt: skip
    # q 8x16, k and v 8x8, o 16x8, three matrices 8x10; two norms a layer, one at the end.
    layer = 8 * 16 + 2 * 8 * 8 + 16 * 8 + 3 * 80
    assert plain.linear_parameters == 3 * layer
    assert plain.parameters == 3 * (layer + 2 * 8) + 8 + 7 * 8
    count = plain.parameters
    assert replace(plain, tied_embeddings=False).parameters == count + 7 * 8
    assert replace(plain, norm="layer").parameters == count + 7 * 8
    assert replace(plain, qkv_bias=True).parameters == count + 3 * (16 + 2 * 8)
    assert replace(plain, bias=True).parameters == count + 3 * (8 + 2 * 10 + 8)
    gelu = replace(plain, mlp="gelu")
    assert gelu.parameters == count - 3 * 80
    assert replace(gelu, bias=True).parameters == gelu.parameters + 3 * (8 + 10 + 8)


def test_an_unknown_model_gets_the_nearest():
    with pytest.raises(
        ProfileError, match=r"no model 'qwen2.5-coder-8b'.*did you mean 'qwen2\.5-c"
    ):
        architecture("qwen2.5-coder-8b")
    with pytest.raises(ProfileError, match="dtype is 'int8', expected one of bf16, fp16, fp32"):
        architecture("tiny").weight_bytes("int8")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": 0}, "layers is 0, expected an integer >= 1"),
        ({"kv_heads": 3}, "kv_heads is 3, expected a divisor of 4 heads"),
        ({"head_dim": 5}, "head_dim is 5, expected an even number"),
        ({"mlp": "relu"}, "mlp is 'relu', expected one of swiglu, gelu"),
        ({"norm": "none"}, "norm is 'none', expected one of rms, layer"),
        ({"rope_theta": 0}, "rope_theta is 0"),
    ],
)
def test_impossible_shapes_are_refused(changes, message):
    with pytest.raises(ProfileError, match=message):
        replace(architecture("tiny"), **changes)
