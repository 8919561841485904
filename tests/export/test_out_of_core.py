"""Editing from file to file gives the bits of editing in memory, on any architecture, and nothing
half-written."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from skunlearn.export.out_of_core import INDEX, SINGLE, CheckpointFiles, StoredEdit
from skunlearn.export.safetensors_io import Entry, Shard, write_shard
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.utils.errors import ModelError
from skunlearn.utils.progress import Progress


def lora(model: Any, seed: int, safety: float) -> TaskVector:
    return toy.edit(model, seed=seed, safety=safety)


def full(model: Any, seed: int, safety: float) -> TaskVector:
    torch.manual_seed(seed)
    return TaskVector(
        {name: torch.randn(p.shape) * 0.05 for name, p in model.named_parameters()}, safety
    )


def sharded(folder: Path, family: str, dtype: torch.dtype = torch.float32) -> Path:
    """A toy checkpoint in several files."""
    lm = toy.lm(family)
    lm.model.to(dtype).save_pretrained(folder, max_shard_size="40KB")
    lm.tokenizer.save_pretrained(folder)
    assert (folder / INDEX).is_file()
    return folder


def edit_out_of_core(
    base: Path, out: Path, parts: list[tuple[Path, float]], dtype: torch.dtype | None = None
) -> Path:
    out.mkdir()
    CheckpointFiles(base).write(out, StoredEdit(parts, 0.7), dtype, Progress())
    (out / "config.json").write_bytes((base / "config.json").read_bytes())
    return out


@pytest.mark.parametrize(
    ("family", "make"),
    [
        (family, make)
        for family in toy.FAMILIES
        for make in (lora, full)
        if (family, make) != ("Mixtral", full)
    ],
)
def test_equal_to_the_edit_in_memory_bit_for_bit(family: str, make: Any, tmp_path: Path):
    base = sharded(tmp_path / "base", family, torch.bfloat16)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    tau, refuse = make(model, 1, -1.0), make(model, 2, 1.0)
    tau.save(tmp_path / "tau.safetensors")
    refuse.save(tmp_path / "refuse.safetensors")
    parts = [(tmp_path / "tau.safetensors", -1.0), (tmp_path / "refuse.safetensors", 0.5)]
    out = edit_out_of_core(base, tmp_path / "out", parts)
    before = {name: p.clone() for name, p in model.named_parameters()}
    (0.7 * sum([0.5 * refuse], -1.0 * tau)).apply_to(model)
    found = AutoModelForCausalLM.from_pretrained(out, dtype=torch.bfloat16)
    assert {p.dtype for p in found.parameters()} == {torch.bfloat16}
    found_parameters = dict(found.named_parameters())
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, found_parameters[name]), name
    assert all(not torch.equal(found_parameters[name], before[name]) for name in tau.deltas)
    assert list(json.loads((out / INDEX).read_text())) == ["metadata", "weight_map"]
    assert {p.name for p in out.glob("*.safetensors")} == {
        p.name for p in base.glob("*.safetensors")
    }


def test_many_blocks_of_rows_are_like_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("skunlearn.task_vectors.delta.BLOCK", 1)  # 64 rows a block
    base = toy.saved(tmp_path / "base", "GPT2")
    model = AutoModelForCausalLM.from_pretrained(base)
    tau = lora(model, 1, 1.0) + 0.5 * TaskVector(
        {"transformer.wte.weight": torch.ones(262, 32)}, 1.0
    )
    tau.save(tmp_path / "tau.safetensors")
    out = edit_out_of_core(base, tmp_path / "out", [(tmp_path / "tau.safetensors", 1.0)])
    (0.7 * (1.0 * tau)).apply_to(model)
    found = dict(AutoModelForCausalLM.from_pretrained(out).named_parameters())
    assert all(torch.equal(p, found[name]) for name, p in model.named_parameters())


def test_a_head_that_is_tied_and_stored_twice_stays_tied(tmp_path: Path):
    base = toy.saved(tmp_path / "base", "Llama")
    weights = load_file(base / SINGLE)
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    save_file(weights, base / SINGLE, metadata={"format": "pt"})
    TaskVector({"model.embed_tokens.weight": torch.full((262, 32), 0.25)}, 1.0).save(
        tmp_path / "tau.safetensors"
    )
    out = edit_out_of_core(base, tmp_path / "out", [(tmp_path / "tau.safetensors", 1.0)])
    found = AutoModelForCausalLM.from_pretrained(out)
    assert found.lm_head.weight is found.model.embed_tokens.weight
    assert torch.equal(found.lm_head.weight, weights["lm_head.weight"] + 0.7 * 0.25)


def test_names_without_the_models_prefix(tmp_path: Path):
    base = toy.saved(tmp_path / "base", "GPT2")
    weights = {name.removeprefix("transformer."): t for name, t in load_file(base / SINGLE).items()}
    save_file(weights, base / SINGLE, metadata={"format": "pt"})  # as the hub's gpt2 has them
    model = AutoModelForCausalLM.from_pretrained(base)
    full(model, 3, 1.0).save(tmp_path / "tau.safetensors")
    out = edit_out_of_core(base, tmp_path / "out", [(tmp_path / "tau.safetensors", 1.0)])
    (0.7 * full(model, 3, 1.0)).apply_to(model)
    found = AutoModelForCausalLM.from_pretrained(out)
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), found.parameters(), strict=True)
    )
    assert set(Shard(out / SINGLE).entries) == set(weights)


def test_another_type_is_the_cast_of_the_sum(tmp_path: Path):
    base = toy.saved(tmp_path / "base", "Llama")
    model = AutoModelForCausalLM.from_pretrained(base)
    lora(model, 1, 1.0).save(tmp_path / "tau.safetensors")
    out = edit_out_of_core(
        base, tmp_path / "out", [(tmp_path / "tau.safetensors", 1.0)], torch.float16
    )
    (0.7 * lora(model, 1, 1.0)).apply_to(model)
    found = load_file(out / SINGLE)
    assert all(
        torch.equal(model.state_dict()[name].half(), tensor) for name, tensor in found.items()
    )


def test_what_does_not_fit_is_refused_before_anything_is_written(tmp_path: Path):
    base, path = toy.saved(tmp_path / "base", "Llama"), tmp_path / "tau.safetensors"
    for deltas, text in (
        ({"model.nope.weight": torch.ones(2, 2)}, "no tensor for parameter 'model.nope.weight'"),
        ({"model.norm.weight": torch.ones(5)}, "belongs to another model"),
    ):
        TaskVector(deltas, 1.0).save(path)
        with pytest.raises(ModelError, match=text):
            edit_out_of_core(base, tmp_path / text[:9], [(path, 1.0)])
        assert not list((tmp_path / text[:9]).iterdir())
    TaskVector({"model.norm.weight": torch.ones(32)}, -1.0).save(path)
    with pytest.raises(ModelError, match="harmful"):
        StoredEdit([(path, 1.0)], 0.7)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(
        json.dumps(config | {"quantization_config": {"quant_method": "gptq"}})
    )
    with pytest.raises(ModelError, match="quantised"):
        CheckpointFiles(base)


def test_experts_that_loading_regroups_are_refused(tmp_path: Path):
    full(toy.model("Mixtral"), 1, 1.0).save(tmp_path / "tau.safetensors")
    with pytest.raises(ModelError, match="regroups"):
        edit_out_of_core(
            toy.saved(tmp_path / "base", "Mixtral"),
            tmp_path / "out",
            [(tmp_path / "tau.safetensors", 1.0)],
        )


def test_an_interrupted_file_does_not_look_whole(tmp_path: Path):
    def blocks():
        yield torch.ones(1, 2)
        raise KeyboardInterrupt

    path = tmp_path / "a.safetensors"
    with pytest.raises(KeyboardInterrupt):
        write_shard(path, {"a": Entry(torch.float32, (2, 2))}, blocks(), {})
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors.partial"]
    with pytest.raises(ModelError, match="this is a bug"):
        write_shard(path, {"a": Entry(torch.float32, (2, 2))}, [torch.ones(1, 2)], {})
    assert not path.exists()


def test_a_shard_reads_what_the_library_writes_and_the_other_way_round(tmp_path: Path):
    tensors = {
        "a": torch.arange(12, dtype=torch.bfloat16).reshape(2, 3, 2),
        "b": torch.tensor(3),
        "c": torch.zeros(0, 4),
        "d": torch.tensor([True, False]),
        "e": torch.arange(4.0),
    }
    save_file(tensors, tmp_path / "a.safetensors", metadata={"format": "pt"})
    shard = Shard(tmp_path / "a.safetensors")
    assert torch.equal(shard.rows("a", 1, 3), torch.tensor([[2, 3], [4, 5]], dtype=torch.bfloat16))
    write_shard(
        tmp_path / "b.safetensors",
        shard.entries,
        (shard.rows(name) for name in shard.entries),
        shard.metadata,
    )
    again = load_file(tmp_path / "b.safetensors")
    assert all(
        torch.equal(again[name], tensor) and again[name].shape == tensor.shape
        for name, tensor in tensors.items()
    )


def test_broken_files_are_clear_errors(tmp_path: Path):
    path = tmp_path / "a.safetensors"
    for content in (None, b"", b"garbage that is long enough", b"\x08" + b"\0" * 7 + b'{"a":1} '):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ModelError, match="not a readable safetensors file"):
            Shard(path)
    save_file({"a": torch.ones(100)}, path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ModelError, match="4 bytes are missing"):
        Shard(path)
