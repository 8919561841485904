"""An adapter export loads with transformers and peft alone and gives the merged model's logits."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from skunlearn.export.adapter import truncated
from skunlearn.export.base import ExportOptions
from skunlearn.utils.progress import Progress
from skunlearn.workflows.export import export

Finished = Callable[..., Path]
TOKENS = torch.arange(24).reshape(2, 12) * 10


@torch.no_grad()
def logits(model: torch.nn.Module) -> torch.Tensor:
    return model(TOKENS).logits


def both(
    run: Path, out: Path, **options: object
) -> tuple[dict, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Manifest, and logits of base, merged and adapter."""
    (base,) = run.parent.glob("toy-*")
    export(run, out / "merged", ExportOptions(dtype="float32"), Progress())
    manifest = export(run, out / "adapter", ExportOptions("adapter", **options), Progress())
    model = AutoModelForCausalLM.from_pretrained(base)
    before = logits(model)
    adapted = logits(PeftModel.from_pretrained(model, out / "adapter"))
    return manifest, before, logits(AutoModelForCausalLM.from_pretrained(out / "merged")), adapted


@pytest.mark.parametrize("family", ["Llama", "GPT2"])
def test_two_vectors_in_one_adapter_equal_the_merged_model(
    family: str, finished: Finished, tmp_path: Path
):
    manifest, before, merged, adapted = both(finished(family), tmp_path)
    assert (merged - before).abs().max() > 0.05
    assert (merged - adapted).abs().max() < 1e-4
    assert manifest["rank"] == 3 and manifest["relative_error"] < 1e-6 and not manifest["left_out"]
    config = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    assert config["r"] == config["lora_alpha"] == 3 and config["fan_in_fan_out"] == (
        family == "GPT2"
    )
    assert config["base_model_name_or_path"] == f"toy-{family}"


def test_a_dense_edit_is_cut_to_a_rank_and_says_what_that_loses(finished: Finished, tmp_path: Path):
    run = finished("Llama", "lora.mode=full", "refuse.weight=0")
    exact, before, merged, adapted = both(run, tmp_path / "a", rank=64)
    assert (
        "model.norm.weight" in exact["left_out"]
        and "model.embed_tokens.weight" in exact["left_out"]
    )
    coarse, _, _, cut = both(run, tmp_path / "b", rank=1)
    assert 0 < exact["relative_error"] < coarse["relative_error"] < 1
    assert (merged - adapted).abs().max() < (merged - before).abs().max()
    assert (cut - adapted).abs().max() > 0
    assert f"{coarse['relative_error']:.3f}" in (tmp_path / "b/adapter/README.md").read_text()


def test_the_truncation_is_the_nearest_of_its_rank():
    left, right = torch.eye(4)[:, [1, 0, 2]], torch.eye(5)[[0, 3, 4]]
    dense = left @ torch.diag(torch.tensor([5.0, 3.0, 1.0])) @ right
    low = truncated(dense, 2)
    assert low.left_OR.shape == (4, 2) and low.right_RI.shape == (2, 5)
    assert float((dense - low.dense()).norm()) == pytest.approx(
        1.0, abs=1e-5
    )  # the singular value left out
    assert torch.allclose(truncated(dense, 9).dense(), dense, atol=1e-5)
    assert not truncated(torch.zeros(3, 3), 2).dense().any()
