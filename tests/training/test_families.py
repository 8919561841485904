"""LoRA on mixtures of experts: what the model computes decides which modules are trained."""

from typing import Any

import pytest
import torch
import transformers

from skunlearn.models.architecture import linear_modules, without_lora
from skunlearn.training.lora import LoraOptions, trained_modules
from skunlearn.training.trainable_model import TrainableModel
from skunlearn.utils.errors import ConfigError

SIZE = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "intermediate_size": 48,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 1,
}
ROUTED = {
    "moe_intermediate_size": 16,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
}
LATENT = {
    "kv_lora_rank": 8,
    "q_lora_rank": 8,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2}
LOCAL = {"num_local_experts": 4, "num_experts_per_tok": 2}
# Their dense layers and shared experts have modules that PEFT reads as those of the experts.
MISREAD: dict[str, dict[str, Any]] = {
    "DeepseekV2": {**SIZE, **ROUTED, **LATENT},
    "DeepseekV3": {**SIZE, **ROUTED, **LATENT},
    "Glm4Moe": {**SIZE, **ROUTED, "head_dim": 8},
    "Dots1": {**SIZE, **ROUTED, "head_dim": 8},
    "HunYuanMoEV1": {**SIZE, "num_experts": 4, "moe_topk": 2, "head_dim": 8},
}
OTHERS: dict[str, dict[str, Any]] = {
    "Llama4Text": {
        **SIZE,
        "head_dim": 8,
        "intermediate_size_mlp": 48,
        "num_local_experts": 2,
        "moe_layers": [1],
    },
    "Phimoe": {**SIZE, **LOCAL},
    "Mixtral": {**SIZE, **LOCAL},
    "GptOss": {**SIZE, **LOCAL, "head_dim": 8},
    "GraniteMoe": {**SIZE, **LOCAL},
    "Olmoe": {**SIZE, **EXPERTS},
    "Qwen2Moe": {
        **SIZE,
        **EXPERTS,
        "moe_intermediate_size": 16,
        "shared_expert_intermediate_size": 16,
    },
    "Qwen3Moe": {**SIZE, **EXPERTS, "moe_intermediate_size": 16, "head_dim": 8},
}
FAMILIES = {**MISREAD, **OTHERS}


def _model(family: str) -> Any:
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**FAMILIES[family])
    return transformers.AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_mixture_of_experts_trains_and_its_vector_is_what_was_trained(family: str):
    model = _model(family)
    ids = torch.randint(2, 64, (2, 9), generator=torch.Generator().manual_seed(1))
    trainable = TrainableModel(model, LoraOptions(rank=2), 0)
    trainable.model(input_ids=ids, labels=ids).loss.backward()
    for name, parameter in trainable.parameters.items():
        assert parameter.grad is not None, name
        torch.nn.init.normal_(parameter, std=0.05)
    with torch.no_grad():
        trained = trainable.model(input_ids=ids).logits
        tau = trainable.task_vector(1.0)
        base = model(input_ids=ids).logits
        tau.apply_to(model)
        applied = model(input_ids=ids).logits
    torch.testing.assert_close(applied, trained, rtol=1e-4, atol=1e-5)
    assert (applied - base).abs().max() > 0.01
    assert any("q" in name for name in tau.deltas)


@pytest.mark.parametrize("family", MISREAD)
def test_modules_that_peft_misreads_are_left_out_and_listed(family: str):
    model = _model(family)
    chosen = trained_modules(model, LoraOptions(frozen=0.0))
    assert not any(name.endswith(".gate_proj") for name in chosen)
    assert any(name.endswith(".gate_proj") for name in linear_modules(model))
    assert "mlp.experts.gate_up_proj" in without_lora(model)
    assert any(name.endswith("gate_proj") for name in without_lora(model))
    with pytest.raises(ConfigError, match="no module 'gate_proj'"):
        trained_modules(model, LoraOptions(modules=("gate_proj",)))


@pytest.mark.parametrize(("family", "router"), [("Llama4Text", "router"), ("Phimoe", "router")])
def test_a_router_that_inherits_from_a_linear_module_is_none(family: str, router: str):
    model = _model(family)
    assert isinstance(_named(model, router), torch.nn.Linear)
    assert not any(name.endswith(f".{router}") for name in linear_modules(model))
    assert any(name.endswith(router) for name in without_lora(model))


def _named(model: Any, last: str) -> Any:
    for name, module in model.named_modules():
        if name.endswith(f".{last}"):
            return module
    raise AssertionError(f"no module {last}")


def test_a_dense_model_has_nothing_that_lora_cannot_reach():
    config = transformers.LlamaConfig(**SIZE)
    assert without_lora(transformers.AutoModelForCausalLM.from_config(config)) == []
