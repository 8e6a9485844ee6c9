"""Configuration files of models: what is read from them, and what is refused."""

import json

import pytest

from calibrate import ProfileError
from calibrate.architectures import architecture, read_config

# Hand-made, with the keys and values of the published ones.
QWEN = {
    "model_type": "qwen2",
    "hidden_act": "silu",
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "max_position_embeddings": 32768,
    "num_attention_heads": 28,
    "num_hidden_layers": 28,
    "num_key_value_heads": 4,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "sliding_window": 131072,
    "tie_word_embeddings": False,
    "use_sliding_window": False,
    "vocab_size": 152064,
}
LLAMA = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "max_position_embeddings": 16384,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "rms_norm_eps": 1e-05,
    "rope_scaling": {"factor": 4.0, "type": "linear"},
    "rope_theta": 1000000,
    "vocab_size": 32016,
}
STARCODER = {
    "model_type": "starcoder2",
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_size": 3072,
    "intermediate_size": 12288,
    "max_position_embeddings": 16384,
    "norm_epsilon": 1e-05,
    "num_attention_heads": 24,
    "num_hidden_layers": 30,
    "num_key_value_heads": 2,
    "rope_theta": 999999.4420358813,
    "sliding_window": 4096,
    "use_bias": True,
    "vocab_size": 49152,
}
MISTRAL = {**LLAMA, "model_type": "mistral", "num_key_value_heads": 8}


@pytest.fixture
def read(tmp_path):
    def of(config):
        path = tmp_path / "some-model" / "config.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(config if isinstance(config, str) else json.dumps(config))
        return read_config(path)

    return of


@pytest.mark.parametrize(
    ("config", "name"),
    [(QWEN, "qwen2.5-coder-7b"), (LLAMA, "codellama-7b"), (STARCODER, "starcoder2-3b")],
)
def test_a_configuration_gives_the_known_shapes(read, config, name):
    found, known = read(config), architecture(name)
    for field in known.__dataclass_fields__:
        if field not in ("name", "source"):
            assert getattr(found, field) == getattr(known, field), field
    assert found.source == "configuration file config.json"


def test_the_name_is_that_of_the_folder_or_the_file(read, tmp_path):
    assert read(QWEN).name == "some-model"
    (tmp_path / "My Model-7B.json").write_text(json.dumps(QWEN))
    assert read_config(str(tmp_path / "My Model-7B.json")).name == "my-model-7b"


def test_what_is_missing_has_the_default_of_its_family(read):
    bare = {key: QWEN[key] for key in QWEN if key not in ("rms_norm_eps", "rope_theta")}
    del bare["hidden_act"], bare["tie_word_embeddings"], bare["use_sliding_window"]
    found = read(bare)
    assert (found.norm_eps, found.rope_theta, found.tied_embeddings) == (1e-6, 1e4, False)
    assert (found.qkv_bias, found.bias) == (True, False)
    assert read(LLAMA).kv_heads == 32
    assert read({**LLAMA, "num_key_value_heads": None}).kv_heads == 32
    assert read({k: v for k, v in STARCODER.items() if k != "use_bias"}).bias is True
    assert read(STARCODER).tied_embeddings is True


def test_a_window_bounds_the_context(read):
    assert read(STARCODER).max_context_tokens == 4096
    assert read({**STARCODER, "sliding_window": None}).max_context_tokens == 16384
    assert read(MISTRAL).max_context_tokens == 4096
    assert read({**MISTRAL, "sliding_window": None}).max_context_tokens == 16384
    assert read({**QWEN, "sliding_window": 4096}).max_context_tokens == 32768
    sliding = {**QWEN, "sliding_window": 4096, "use_sliding_window": True}
    assert read(sliding).max_context_tokens == 4096


def test_what_a_configuration_says_is_taken(read):
    assert read({**MISTRAL, "head_dim": 160}).head_dim == 160
    assert (
        read({**QWEN, "rope_theta": None, "rope_parameters": {"rope_theta": 5e5}}).rope_theta == 5e5
    )
    biased = read({**LLAMA, "attention_bias": True, "mlp_bias": True})
    assert (biased.qkv_bias, biased.bias) == (True, True)


def without(key):
    return {k: v for k, v in QWEN.items() if k != key}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "not a JSON file"),
        ("[1]", "the configuration is [1], expected a JSON object"),
        (without("model_type"), "the configuration lacks the key 'model_type'"),
        (without("hidden_size"), "lacks the key 'hidden_size'"),
        (without("num_key_value_heads"), "lacks the key 'num_key_value_heads'"),
        (without("max_position_embeddings"), "lacks the key 'max_position_embeddings'"),
        ({**QWEN, "hidden_size": "3584"}, "hidden_size is '3584', expected an integer >= 1"),
        ({**QWEN, "num_hidden_layers": -1}, "num_hidden_layers is -1, expected an integer >= 1"),
        ({**QWEN, "vocab_size": True}, "vocab_size is True, expected an integer >= 1"),
        ({**QWEN, "rms_norm_eps": 0}, "rms_norm_eps is 0, expected a finite number > 0"),
        ({**QWEN, "rope_theta": "big"}, "rope_theta is 'big', expected a finite number > 0"),
        ({**QWEN, "tie_word_embeddings": 1}, "tie_word_embeddings is 1, expected true or false"),
        ({**QWEN, "num_key_value_heads": 3}, "num_key_value_heads is 3, expected a divisor of"),
        ({**QWEN, "num_attention_heads": 32, "hidden_size": 3585}, "hidden_size is 3585, expected"),
        ({**QWEN, "head_dim": 127}, "head_dim is 127, expected an even number"),
        ({**QWEN, "hidden_act": "relu"}, "hidden_act is 'relu', expected one of silu"),
        ({**STARCODER, "sliding_window": 0}, "sliding_window is 0, expected an integer >= 1"),
        ({**QWEN, "model_type": "qwen3"}, "norms of queries and keys are not modelled"),
        ({**QWEN, "model_type": "gpt2"}, "model_type is 'gpt2', expected one of qwen2, llama"),
        ({**QWEN, "model_type": 7}, "model_type is 7, expected one of"),
        ({**QWEN, "num_experts": 60}, "num_experts says that the model is a mixture of experts"),
        ({"model_type": "mixtral", "num_local_experts": 8}, "num_local_experts says that"),
        ({"model_type": "llava", "text_config": LLAMA}, "text_config is a model within a model"),
        ({**QWEN, "quantization_config": {"bits": 4}}, "the weights are quantised"),
        ({**LLAMA, "attention_bias": True}, "mlp_bias is False, expected true, as attention_bias"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_file_and_key(read, tmp_path, config, message):
    with pytest.raises(ProfileError) as caught:
        read(config)
    line = str(caught.value)
    assert line.startswith(f"{tmp_path / 'some-model' / 'config.json'}: ")
    assert message in line
    assert "\n" not in line


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(ProfileError, match=r"absent\.json: cannot read the configuration: No such"):
        read_config(tmp_path / "absent.json")
    with pytest.raises(ProfileError, match="cannot read the configuration: Is a directory"):
        read_config(tmp_path)
    (tmp_path / "c.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ProfileError, match=r"c\.json: not a JSON file: it is not UTF-8 text"):
        read_config(tmp_path / "c.json")
