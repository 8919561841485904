"""The private names that `models/compat.py` uses exist in the installed releases and still work.

When a case fails after an upgrade, mend the function of `models/compat.py` that the message names.
"""

import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import toy
import transformers

from skunlearn.models import compat
from skunlearn.models.loading import load
from skunlearn.models.qlora import nf4_options
from skunlearn.utils.errors import ModelError


def attention_implementation() -> None:
    assert compat.attention_implementation(toy.model().config) == "sdpa"


def replaced_attention() -> None:
    model, called = toy.model(), []
    sdpa = transformers.AttentionInterface()["sdpa"]

    def recorded(module: Any, *args: Any, **options: Any) -> Any:
        called.append(module)
        return sdpa(module, *args, **options)

    transformers.AttentionInterface.register("recorded", recorded)
    with compat.replaced_attention(model.config, "recorded"):
        model(torch.tensor([[5, 6]]))
    assert len(called) == 3, "the attention modules did not call the function put in place"
    model(torch.tensor([[5, 6]]))
    assert len(called) == 3, "the attention modules did not go back to their own function"


def replaced_attention_of_one_config() -> None:
    text = {"vocab_size": 262, **toy.SIZE, "num_key_value_heads": 2, "head_dim": 8}
    config = transformers.Gemma3Config(text_config=text)
    config._attn_implementation = "sdpa"
    with compat.replaced_attention(config, "eager"):
        assert compat.attention_implementation(config) == "eager"
        assert compat.attention_implementation(config.text_config) == "sdpa"
    assert compat.attention_implementation(config) == "sdpa"


def is_recurrent() -> None:
    config = transformers.MambaConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1)
    assert compat.is_recurrent(transformers.MambaForCausalLM(config))
    assert not compat.is_recurrent(toy.model())


def llama_inverse_frequencies() -> None:
    found = compat.llama_inverse_frequencies(toy.model().config)
    torch.testing.assert_close(found, 10000.0 ** -(torch.arange(4) / 4))


def forget_quantisation() -> None:
    model = toy.model()
    model.config.quantization_config = {"quant_method": "gguf"}
    model.hf_quantizer = SimpleNamespace(quantization_config=SimpleNamespace(quant_method="gguf"))
    with tempfile.TemporaryDirectory() as folder:
        with pytest.raises(ValueError, match="quantiz"):
            model.save_pretrained(folder)
        compat.forget_quantisation(model)
        model.save_pretrained(folder)
        assert "quantization_config" not in (Path(folder) / "config.json").read_text()


def class_before_quantisation() -> None:
    assert compat.class_before_quantisation(torch.nn.Linear(2, 2)) is None
    pytest.importorskip("bitsandbytes", reason="pip install skunlearn[quant]")
    with tempfile.TemporaryDirectory() as folder:
        toy.saved(Path(folder), "GPT2")
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, **nf4_options("cpu"))
    module = model.get_submodule("transformer.h.0.mlp.c_fc")
    assert type(module) is not transformers.Conv1D
    assert compat.class_before_quantisation(module) is transformers.Conv1D


def parameter_names() -> None:
    model = toy.model("GPT2")
    names = dict(compat.parameter_names(model, ["wte.weight", "h.0.mlp.c_fc.bias"]))
    assert names == {
        "wte.weight": "transformer.wte.weight",
        "h.0.mlp.c_fc.bias": "transformer.h.0.mlp.c_fc.bias",
    }


def parameter_names_of_tied_weights() -> None:
    names = dict(compat.parameter_names(toy.model(), ["lm_head.weight", "model.norm.weight"]))
    assert names["lm_head.weight"] == "model.embed_tokens.weight"
    assert names["model.norm.weight"] == "model.norm.weight"


def parameter_names_of_merged_weights() -> None:
    expert = "model.layers.0.block_sparse_moe.experts.0.w1.weight"
    assert not list(compat.parameter_names(toy.model("Mixtral"), [expert]))


def forget_renaming() -> None:
    from safetensors.torch import load_file, save_file

    with tempfile.TemporaryDirectory() as folder:
        path = toy.saved(Path(folder) / "model") / "model.safetensors"
        own = load_file(path)
        wrapped = {f"_orig_mod.{name}": tensor.clone() for name, tensor in own.items()}
        save_file(wrapped, path, metadata={"format": "pt"})
        mapping = {r"_orig_mod\.": ""}
        load_model = transformers.AutoModelForCausalLM.from_pretrained
        model = load_model(path.parent, key_mapping=mapping)
        compat.forget_renaming(model, mapping)
        model.save_pretrained(Path(folder) / "again")
        assert set(load_file(Path(folder) / "again/model.safetensors")) == set(own)


def untie_head() -> None:
    model = toy.model()
    compat.untie_head(model)
    model.get_input_embeddings().weight.data.add_(1)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        again = transformers.AutoModelForCausalLM.from_pretrained(folder)
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)
    assert not torch.equal(again.lm_head.weight, again.model.embed_tokens.weight)


def lora_layers() -> None:
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(toy.model(), LoraConfig(r=2, target_modules=["q_proj"]))
    layers = dict(compat.lora_layers(adapted.base_model.model))
    assert list(layers) == [f"model.layers.{number}.self_attn.q_proj" for number in range(3)]
    for layer in layers.values():
        assert layer.lora_A["default"].weight.shape == (2, 32)
        assert layer.lora_B["default"].weight.shape == (32, 2)
        assert layer.scaling["default"] > 0 and not layer.merged and not layer.disable_adapters
        assert layer.get_base_layer() is layer.base_layer


def tracker_class() -> None:
    assert compat.tracker_class("tensorboard").requires_logging_directory


def read_as_experts() -> None:
    model = toy.model("Mixtral")
    assert compat.read_as_experts(model, {"q_proj"}) == set()
    model.config.model_type = "deepseek_v3"
    assert compat.read_as_experts(model, {"q_proj", "gate_proj"}) == {"gate_proj"}


CHECKS = [
    attention_implementation,
    replaced_attention,
    replaced_attention_of_one_config,
    is_recurrent,
    llama_inverse_frequencies,
    forget_quantisation,
    class_before_quantisation,
    parameter_names,
    parameter_names_of_tied_weights,
    parameter_names_of_merged_weights,
    forget_renaming,
    untie_head,
    lora_layers,
    read_as_experts,
    tracker_class,
]


@pytest.mark.parametrize("check", CHECKS, ids=[check.__name__ for check in CHECKS])
def test_a_private_name_is_still_there(check: Callable[[], None]):
    try:
        check()
    except Exception as error:
        packages = ("transformers", "peft", "accelerate", "torch")
        releases = ", ".join(f"{name} {version(name)}" for name in packages)
        pytest.fail(
            f"models/compat.py: what `{check.__name__}` needs is gone or works differently in "
            f"{releases}: {type(error).__name__}: {error}"
        )


def test_values_of_a_config(tmp_path: Path):
    config, _ = transformers.PretrainedConfig.get_config_dict(toy.saved(tmp_path / "model"))
    assert compat.revision_hash(config) is None and compat.name_in_config(config) == ""
    assert compat.revision_hash({"_commit_hash": "abc"}) == "abc"
    assert compat.name_in_config({"_name_or_path": "org/model"}) == "org/model"


def test_recurrent_models_are_refused(tmp_path: Path):
    config = transformers.MambaConfig(vocab_size=262, hidden_size=8, num_hidden_layers=1)
    transformers.MambaForCausalLM(config).save_pretrained(tmp_path)
    toy.tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="recurrent layers"):
        load(tmp_path)
