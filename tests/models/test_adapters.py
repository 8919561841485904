"""Adapters are merged whole, or refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import peft
import pytest
import torch
import toy
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from skunlearn.models.loading import load, skeleton
from skunlearn.utils.errors import ModelError

IDS = torch.arange(6, 40)[None]


def saved(tmp_path: Path, **options: object) -> tuple[Path, torch.Tensor]:
    """An adapter folder, and the logits of the base with the adapter."""
    base = toy.saved(tmp_path / "base")
    torch.manual_seed(0)
    config = peft.LoraConfig(r=4, lora_alpha=8, task_type="CAUSAL_LM", **options)
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
        model.save_pretrained(tmp_path / "adapter")
        return tmp_path / "adapter", model.eval()(input_ids=IDS).logits


def rename(folder: Path, renamed: Callable[[str], str]) -> None:
    path = folder / "adapter_model.safetensors"
    save_file({renamed(name): value.clone() for name, value in load_file(path).items()}, path)


TARGETS = {
    "layers": {"target_modules": ["q_proj", "down_proj"]},
    "embedding": {"target_modules": ["q_proj", "embed_tokens"]},
    "head": {"target_modules": ["q_proj", "lm_head"]},
    "whole head": {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("options", TARGETS.values(), ids=TARGETS)
@torch.no_grad()
def test_merging_is_the_adapter_on_its_base(options: dict[str, object], tmp_path: Path):
    folder, expected = saved(tmp_path, **options)
    lm = load(folder)
    torch.testing.assert_close(lm.model(IDS).logits, expected, atol=1e-4, rtol=1e-4)
    lm.save(tmp_path / "whole")
    torch.testing.assert_close(
        load(tmp_path / "whole").model(IDS).logits, expected, atol=1e-4, rtol=1e-4
    )


NAMES: dict[str, Callable[[str], str]] = {
    "compiled": lambda name: name.replace("base_model.model.", "base_model.model._orig_mod."),
    "compiled outside": lambda name: f"_orig_mod.{name}",
    "unwrapped": lambda name: name.removeprefix("base_model.model."),
    "data parallel": lambda name: f"module.{name}",
    "state dict": lambda name: name.replace(".weight", ".default.weight"),
}


@pytest.mark.parametrize("renamed", NAMES.values(), ids=NAMES)
@torch.no_grad()
def test_unusual_names_are_repaired(renamed: Callable[[str], str], tmp_path: Path):
    folder, expected = saved(tmp_path, target_modules=["q_proj"])
    rename(folder, renamed)
    torch.testing.assert_close(load(folder).model(IDS).logits, expected, atol=1e-4, rtol=1e-4)


def test_tensors_that_fit_nothing_or_are_missing_are_errors(tmp_path: Path):
    folder, _ = saved(tmp_path, target_modules=["q_proj"])
    tensors = load_file(folder / "adapter_model.safetensors")
    rename(folder, lambda name: name.replace("layers", "blocks"))
    with pytest.raises(ModelError, match="none of its 6 tensors fits"):
        load(folder)
    tensors.pop(min(tensors))
    save_file(tensors, folder / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="1 of the adapter's weights"):
        load(folder)
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no adapter_model\.safetensors"):
        load(folder)


@pytest.mark.parametrize("kind", [peft.PromptTuningConfig, peft.PrefixTuningConfig])
def test_virtual_tokens_are_refused(kind: type, tmp_path: Path):
    base = AutoModelForCausalLM.from_pretrained(toy.saved(tmp_path / "base"))
    config = kind(task_type="CAUSAL_LM", num_virtual_tokens=4)
    peft.get_peft_model(base, config).save_pretrained(tmp_path / "adapter")
    with pytest.raises(ModelError, match=r"virtual tokens .* cannot be merged"):
        load(tmp_path / "adapter")


@torch.no_grad()
def test_a_config_beside_an_adapter_and_a_whole_model_beside_one(tmp_path: Path):
    folder, expected = saved(tmp_path, target_modules=["q_proj"])
    shutil.copy(tmp_path / "base/config.json", folder)
    torch.testing.assert_close(load(folder).model(IDS).logits, expected, atol=1e-4, rtol=1e-4)
    shutil.copy(tmp_path / "base/model.safetensors", folder)
    with pytest.raises(ModelError, match=r"a whole model .* and an adapter"):
        load(folder)


@torch.no_grad()
def test_an_adapter_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder, expected = saved(tmp_path, target_modules=["q_proj"])
    asked = []

    def snapshot_download(
        repo: str, revision: str | None, token: object, allow_patterns: list[str]
    ) -> str:
        asked.append((repo, token))
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    monkeypatch.setattr(
        "huggingface_hub.file_exists", lambda repo, name, **_: name == "adapter_config.json"
    )
    lm = load("some/adapter")
    assert lm.name == "some/adapter" and asked == [("some/adapter", False)]
    torch.testing.assert_close(lm.model(IDS).logits, expected, atol=1e-4, rtol=1e-4)
    assert skeleton("some/adapter").config.model_type == "llama"


def test_an_adapter_of_itself(tmp_path: Path):
    folder, _ = saved(tmp_path, target_modules=["q_proj"])
    path = folder / "adapter_config.json"
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": str(folder)})
    )
    with pytest.raises(ModelError, match="its own folder"):
        load(folder)
