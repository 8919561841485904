"""Recurrent layers are recognised, and prompts that do not fit are one line."""

import pytest
import torch
import toy
import transformers

from skunlearn.data.examples import Example
from skunlearn.models.architecture import recurrent_layers
from skunlearn.models.lm import LM
from skunlearn.utils.errors import DataError

SMALL = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4}
RECURRENT = {
    "Lfm2": {
        **SMALL,
        "num_key_value_heads": 2,
        "intermediate_size": 48,
        "block_auto_adjust_ff_dim": False,
        "layer_types": ["conv", "full_attention"] * 2,
    },
    "Mamba": {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2},
    "Rwkv": {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2},
    "Qwen3Next": {
        **SMALL,
        "num_key_value_heads": 2,
        "intermediate_size": 48,
        "moe_intermediate_size": 16,
        "num_experts": 2,
        "num_experts_per_tok": 1,
        "shared_expert_intermediate_size": 16,
        "linear_num_value_heads": 2,
        "linear_num_key_heads": 2,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "layer_types": ["linear_attention", "full_attention"] * 2,
    },
    "Jamba": {**SMALL, "num_experts": 2, "mamba_d_state": 4, "mamba_dt_rank": 4},
    "FalconH1": {
        **SMALL,
        "mamba_d_ssm": 32,
        "mamba_n_heads": 4,
        "mamba_d_head": 8,
        "mamba_n_groups": 1,
        "mamba_d_state": 4,
    },
    "FalconMamba": {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2},
    "Bamba": {
        **SMALL,
        "mamba_n_heads": 8,
        "mamba_d_head": 8,
        "mamba_d_state": 4,
        "attn_layer_indices": [1],
    },
    "RecurrentGemma": {**SMALL, "lru_width": 32},
    "MiniMax": {**SMALL, "num_key_value_heads": 2, "num_local_experts": 2, "head_dim": 8},
}


@pytest.mark.parametrize("family", RECURRENT)
def test_layers_with_a_state_are_found(family: str):
    config = getattr(transformers, f"{family}Config")(**RECURRENT[family])
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    assert recurrent_layers(model)


@pytest.mark.parametrize("family", toy.FAMILIES)
def test_models_of_attention_alone_have_none(family: str):
    assert recurrent_layers(toy.model(family)) == []


@pytest.mark.parametrize("family", ["GPT2", "OPT"])
def test_a_prompt_longer_than_the_models_positions_is_one_line(family: str):
    lm = toy.lm(family)
    short = Example("hello", where="p:1")
    long = Example("word " * 150, where="p:2")
    assert lm.answers([short], 2)
    for call in (lambda: lm.answers([short, long], 2), lambda: lm.batches([short, long])):
        with pytest.raises(
            DataError, match=r"p:2: prompt and answer would take \d+ tokens"
        ) as error:
            call()
        assert "the model takes 512" in str(error.value)
    # The answer must fit too.
    with pytest.raises(DataError, match="p:1"):
        lm.answers([short], 510)
    assert toy.lm("Llama").batches([long]) == [[0]]


def test_a_model_shows_what_it_is():
    assert repr(toy.lm()) == "LM('toy-Llama', LlamaForCausalLM, 0.0 million parameters)"


def test_a_model_that_is_not_prompted_as_usual_says_so():
    tokenizer = toy.tokenizer()
    tokenizer.chat_template = toy.CHAT.replace("{% endif %}", "<think>\n{% endif %}")
    with pytest.warns(UserWarning, match="toy: the chat template opens a thought"):
        lm = LM(toy.model(), tokenizer, "toy")
    assert "opens a thought" in lm.template.note
