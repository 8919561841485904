"""The edit as an ordinary PEFT adapter: a switch on top of the untouched base.

Two vectors become one adapter by putting their factors side by side, which is exact (peft's own
"linear" combination of adapters is not, with a negative weight). The strength is in the factors;
lora_alpha / r is 1.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers.pytorch_utils import Conv1D

from skunlearn.export.base import Finding, Job
from skunlearn.export.safetensors_io import Shard
from skunlearn.task_vectors.vector import LowRank
from skunlearn.utils.errors import ModelError
from skunlearn.utils.progress import Progress

WEIGHTS = "adapter_model.safetensors"
OVERSAMPLING, ITERATIONS = 16, 4  # of the randomised SVD


def write(job: Job, folder: Path, progress: Progress) -> dict[str, Any]:
    """Write adapter_config.json and the factors.

    Returns:
        The rank; `relative_error`, ||edit - adapter|| / ||edit|| over all weights; and the weights
        of the edit that no LoRA can carry (norms, biases, embeddings), which count as lost in it.

    Raises:
        ModelError: when the edit moves no linear weight.
    """
    from peft import LoraConfig

    job.checkpoint.check_fits(job.edit)
    modules, left_out = linear(job)
    factors = {module: _factors(job, module) for module in progress.over("factors", modules)}
    rank = max(low.left_OR.shape[1] for low in factors.values())
    dtype = job.dtype or torch.float32
    tensors = {}
    for module, low in factors.items():
        for side, tensor in zip("AB", _as_peft(low, modules[module], rank), strict=True):
            tensors[f"base_model.model.{module}.lora_{side}.weight"] = tensor.to(dtype).contiguous()
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    LoraConfig(
        r=rank,
        lora_alpha=rank,
        lora_dropout=0.0,
        target_modules=list(modules),
        fan_in_fan_out=any(modules.values()),
        task_type="CAUSAL_LM",
        base_model_name_or_path=job.name,
        inference_mode=True,
    ).save_pretrained(folder)
    return {
        "rank": rank,
        "relative_error": relative_error(job, folder, progress),
        "left_out": left_out,
    }


def check(job: Job, folder: Path, facts: dict[str, Any], progress: Progress) -> Finding:
    """Whether the factors in `folder` give the edit as nearly as the manifest says."""
    what = "the adapter is the edit"
    job.checkpoint.check_fits(job.edit)
    try:
        error = relative_error(job, folder, progress)
    except KeyError as missing:
        return Finding(what, "differs", f"no tensor {missing}")
    same = error <= facts["relative_error"] * 1.01 + 1e-5
    return Finding(
        what,
        "ok" if same else "differs",
        f"relative error {error:.2g}, stated {facts['relative_error']:.2g}",
    )


def relative_error(job: Job, folder: Path, progress: Progress) -> float:
    """||edit - adapter|| / ||edit|| over all weights that the edit moves; 0 for an edit of zero."""
    shard, (modules, _) = Shard(folder / WEIGHTS), linear(job)
    total = lost = 0.0
    for name in progress.over("comparing with the edit", sorted(job.edit.shapes)):
        delta = job.edit.delta(name)
        dense = delta.dense() if isinstance(delta, LowRank) else delta
        total += float(dense.double().square().sum())
        module = name.removesuffix(".weight")
        if module in modules:
            a, b = (
                shard.rows(f"base_model.model.{module}.lora_{side}.weight").float() for side in "AB"
            )
            dense = dense - ((b @ a).T if modules[module] else b @ a)
        lost += float(dense.double().square().sum())
    return (lost / total) ** 0.5 if total else 0.0


def linear(job: Job) -> tuple[dict[str, bool], list[str]]:
    """The linear modules that the edit moves (name -> whether it is a Conv1D), and its other
    weights.

    Raises:
        ModelError: when there is none.
    """
    modules: dict[str, bool] = {}
    left_out = []
    for name in job.edit.shapes:
        module, _, kind = name.rpartition(".")
        found: Any = job.checkpoint.model.get_submodule(module)
        if kind == "weight" and isinstance(found, torch.nn.Linear | Conv1D):
            modules[module] = isinstance(found, Conv1D)
        else:
            left_out.append(name)
    if not modules:
        raise ModelError(
            "the task vector moves no linear weight, so no adapter can carry it: use --format merged"
        )
    return modules, left_out


def _factors(job: Job, module: str) -> LowRank:
    delta = job.edit.delta(f"{module}.weight")
    return delta if isinstance(delta, LowRank) else truncated(delta, job.options.rank)


def truncated(dense_OI: torch.Tensor, rank: int) -> LowRank:
    """The nearest matrix of that rank (Eckart-Young), by randomised SVD (Halko et al.,
    arXiv:0909.4061), seeded."""
    rank = min(rank, *dense_OI.shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = torch.svd_lowrank(dense_OI, min(rank + OVERSAMPLING, *dense_OI.shape), ITERATIONS)
    left_OR, values_R, right_IR = (part[..., :rank] for part in found)
    root_R = values_R.clamp(min=0).sqrt()
    return LowRank(left_OR * root_R, (right_IR * root_R).T)


def _as_peft(low: LowRank, conv: bool, rank: int) -> Iterator[torch.Tensor]:
    """lora_A (rank x in) and lora_B (out x rank), with rows or columns of zeros up to the rank of
    all."""
    lora_A, lora_B = (low.left_OR.T, low.right_RI.T) if conv else (low.right_RI, low.left_OR)
    missing = rank - lora_A.shape[0]
    yield torch.nn.functional.pad(lora_A, (0, 0, 0, missing))
    yield torch.nn.functional.pad(lora_B, (0, missing))
