"""Every weight of a loaded model comes from the checkpoint's files."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import toy
from safetensors.torch import load_file, save_file

from skunlearn.export.base_files import as_safetensors
from skunlearn.models.loading import LoadOptions, load
from skunlearn.utils.errors import ModelError
from skunlearn.utils.progress import Progress

Tensors = dict[str, torch.Tensor]


class Notes(Progress):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


def changed(folder: Path, change: Callable[[Tensors], Tensors]) -> None:
    path = folder / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    save_file(change(tensors), path, metadata={"format": "pt"})


def prefixed(prefix: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {prefix + name: tensor for name, tensor in tensors.items()}


def inside_lora(tensors: Tensors) -> Tensors:
    return {n.replace("_proj.weight", "_proj.base_layer.weight"): t for n, t in tensors.items()}


WRAPPERS = {
    "compiled": prefixed("_orig_mod."),
    "data parallel": prefixed("module."),
    "compiled, then data parallel": prefixed("module._orig_mod."),
    "data parallel, then compiled": prefixed("_orig_mod.module."),
    "inside PEFT": prefixed("base_model.model."),
    "base of LoRA layers": inside_lora,
}


@pytest.mark.parametrize("family", ["Qwen2", "Mixtral"])
@pytest.mark.parametrize("change", WRAPPERS.values(), ids=WRAPPERS)
def test_the_names_of_a_wrapper_are_repaired(
    family: str, change: Callable[[Tensors], Tensors], tmp_path: Path
):
    folder, notes = toy.saved(tmp_path / "model", family), Notes()
    before = load(folder, progress=notes).model.state_dict()
    own = set(load_file(folder / "model.safetensors"))
    assert not notes.texts
    changed(folder, change)
    lm = load(folder, progress=notes)
    after = lm.model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert len(notes.texts) == 1 and "wrapper" in notes.texts[0]
    lm.save(tmp_path / "again")
    assert set(load_file(tmp_path / "again/model.safetensors")) == own
    with as_safetensors(folder, LoadOptions(), Progress()) as repaired:
        assert set(load_file(repaired / "model.safetensors")) == own


def without_a_layer(tensors: Tensors) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if ".layers.2." not in name}


BROKEN: dict[str, tuple[Callable[[Tensors], Tensors], str]] = {
    "other names": (prefixed("other."), "have no tensor"),
    "no layer": (without_a_layer, r"12 of its weights.*model\.layers\.2\..* and 7 more"),
    "more": (lambda t: t | {"model.layers.3.mlp.bias": torch.ones(2)}, "layers.3.mlp.bias"),
    "unmerged": (lambda t: t | {"model.layers.0.lora_A.weight": torch.ones(2)}, "lora_A"),
    "empty": (
        lambda t: t | {"model.norm.weight": torch.zeros(0)},
        r"'model\.norm\.weight' has shape \(0,\).*\(32,\)",
    ),
    "no head": (lambda t: {n: v for n, v in t.items() if "lm_head" not in n}, "lm_head"),
}


@pytest.mark.parametrize("change, says", BROKEN.values(), ids=BROKEN)
def test_what_is_left_over_is_an_error(
    change: Callable[[Tensors], Tensors], says: str, tmp_path: Path
):
    folder = toy.saved(tmp_path / "model", "Qwen2")
    changed(folder, change)
    with pytest.raises(ModelError, match=says) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_a_tied_head_that_is_stored_twice_and_old_buffers_are_harmless(tmp_path: Path):
    folder = toy.saved(tmp_path / "model", "Llama")
    changed(
        folder,
        lambda t: (
            t
            | {
                "lm_head.weight": t["model.embed_tokens.weight"].clone(),
                "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4),
                "vision_tower.weight": torch.ones(4),
            }
        ),
    )
    loaded = load(folder).model.state_dict()
    for name, weight in toy.model("Llama").state_dict().items():
        assert torch.equal(loaded[name], weight), name


@pytest.mark.parametrize("family", ["Qwen2", "GPT2", "Llama"])
def test_a_folder_without_a_tokenizer(family: str, tmp_path: Path):
    base = toy.saved(tmp_path / "base", family)
    toy.model(family).save_pretrained(tmp_path / "edited")
    with pytest.raises(ModelError, match="no tokenizer in this folder"):
        load(tmp_path / "edited")
    notes = Notes()
    lm = load(tmp_path / "edited", progress=notes, tokenizer_from=str(base))
    assert lm.tokenizer.get_vocab() == load(base).tokenizer.get_vocab()
    assert lm.tokenizer.chat_template == toy.CHAT
    assert notes.texts == [f"{tmp_path / 'edited'} has no tokenizer: that of {base} is used"]
