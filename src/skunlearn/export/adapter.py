"""The edit as an ordinary PEFT adapter: a switch on top of the untouched base model.

Several task vectors become one adapter by putting their factors side by side, which is exact.
(peft's own "linear" combination of adapters is not, when a weight is negative.) The strength is in
the factors already, so lora_alpha / r is 1.

A dense task vector has no factors. Each of its weights is approximated by a matrix of the rank in
the options, and the relative error of that is reported.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch.nn.functional import pad
from transformers import Conv1D

from skunlearn.export.base import Finding, Job
from skunlearn.export.safetensors_io import Shard
from skunlearn.models.architecture import modules_misread
from skunlearn.task_vectors.delta import LowRank, dense
from skunlearn.task_vectors.parameter_names import kind_of
from skunlearn.utils.errors import ModelError
from skunlearn.utils.progress import Progress

WEIGHTS = "adapter_model.safetensors"
# Of the randomised SVD: directions beyond the rank, and power iterations.
OVERSAMPLING, ITERATIONS = 16, 4


def write(job: Job, folder: Path, progress: Progress) -> dict[str, Any]:
    """Write adapter_config.json and the factors.

    Returns:
        Facts for the manifest: `rank`; `relative_error`, which is ||edit - adapter|| / ||edit||
        over all weights; and `left_out`, the weights of the edit that a LoRA cannot carry (norms,
        biases, embeddings). Those count as lost in the relative error.

    Raises:
        ModelError: when the edit changes no linear weight.
    """
    from peft import LoraConfig

    job.checkpoint.check_fits(job.edit)
    modules, left_out = linear(job)
    factors: dict[str, LowRank] = {}
    for module in progress.over("factors", modules):
        factors[module] = _factors(job, module)
    # One adapter has one rank: the largest. Smaller factors are padded with zeros.
    rank = max(low.rank for low in factors.values())
    dtype = job.dtype or torch.float32
    tensors: dict[str, torch.Tensor] = {}
    for module, low in factors.items():
        lora_A, lora_B = _as_peft(low, modules[module], rank)
        tensors[_tensor_name(module, "A")] = lora_A.to(dtype).contiguous()
        tensors[_tensor_name(module, "B")] = lora_B.to(dtype).contiguous()
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
    """Check that the factors in `folder` approximate the edit as well as the manifest states."""
    what = "the adapter is the edit"
    job.checkpoint.check_fits(job.edit)
    try:
        error = relative_error(job, folder, progress)
    except KeyError as missing:
        return Finding(what, "differs", f"no tensor {missing}")
    stated = facts["relative_error"]
    return Finding(
        what,
        "ok" if error <= stated * 1.01 + 1e-5 else "differs",
        f"relative error {error:.2g}, stated {stated:.2g}",
    )


def relative_error(job: Job, folder: Path, progress: Progress) -> float:
    """Measure ||edit - adapter|| / ||edit|| over all weights that the edit changes.

    Args:
        job: the edit.
        folder: with the adapter's weights.
        progress: reports every weight.

    Returns:
        0 or more; 0 for an edit of zero.

    Raises:
        KeyError: when the adapter has no factors for a linear weight of the edit.
    """
    shard = Shard(folder / WEIGHTS)
    modules, _ = linear(job)
    total = lost = 0.0  # sums of squares
    for name in progress.over("comparing with the edit", sorted(job.edit.shapes)):
        change = dense(job.edit.delta(name))
        total += float(change.double().square().sum())
        module = name.removesuffix(".weight")
        if module in modules:
            lora_A = shard.rows(_tensor_name(module, "A")).float()
            lora_B = shard.rows(_tensor_name(module, "B")).float()
            product = lora_B @ lora_A  # (outputs, inputs)
            change = change - (product.T if modules[module] else product)
        lost += float(change.double().square().sum())
    return (lost / total) ** 0.5 if total else 0.0


def linear(job: Job) -> tuple[dict[str, bool], list[str]]:
    """Divide the weights of the edit into those that a LoRA can carry and the others.

    Returns:
        Name of each linear module -> whether it is a Conv1D, which stores its weight as (inputs,
        outputs); and the names of the other weights.

    Raises:
        ModelError: when the edit changes no linear weight.
    """
    modules: dict[str, bool] = {}
    left_out = []
    # PEFT would read the factors of these modules as those of the experts.
    misread = modules_misread(job.checkpoint.model)
    for name in job.edit.shapes:
        module_name, _, kind = name.rpartition(".")
        module: Any = job.checkpoint.model.get_submodule(module_name)
        carried = kind == "weight" and isinstance(module, torch.nn.Linear | Conv1D)
        if carried and kind_of(name) not in misread:
            modules[module_name] = isinstance(module, Conv1D)
        else:
            left_out.append(name)
    if not modules:
        raise ModelError(
            "the task vector moves no linear weight, so no adapter can carry it: "
            "use --format merged"
        )
    return modules, left_out


def _tensor_name(module: str, side: str) -> str:
    """What peft calls the factor "A" or "B" of a module."""
    return f"base_model.model.{module}.lora_{side}.weight"


def _factors(job: Job, module: str) -> LowRank:
    delta = job.edit.delta(f"{module}.weight")
    return delta if isinstance(delta, LowRank) else truncated(delta, job.options.rank)


def truncated(dense_OI: torch.Tensor, rank: int) -> LowRank:
    """Approximate a matrix by the nearest one of a lower rank (Eckart and Young).

    The singular directions come from a randomised SVD (Halko et al., arXiv:0909.4061) with a fixed
    seed. The root of the singular values goes into either factor.

    Args:
        dense_OI: the matrix.
        rank: 1 or more; at most the shorter side of the matrix is used.
    """
    rank = min(rank, *dense_OI.shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = torch.svd_lowrank(dense_OI, min(rank + OVERSAMPLING, *dense_OI.shape), ITERATIONS)
    left_OR, values_R, right_IR = (part[..., :rank] for part in found)
    root_R = values_R.clamp(min=0).sqrt()
    return LowRank(left_OR * root_R, (right_IR * root_R).T)


def _as_peft(low: LowRank, is_conv: bool, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The factors as peft stores them.

    peft computes lora_B @ lora_A as (outputs, inputs). A Conv1D's factors lie the other way round
    and are transposed.

    Returns:
        lora_A (rank, inputs) and lora_B (outputs, rank), padded with zeros up to the rank.
    """
    if is_conv:
        lora_A, lora_B = low.left_OR.T, low.right_RI.T
    else:
        lora_A, lora_B = low.right_RI, low.left_OR
    missing = rank - lora_A.shape[0]
    return pad(lora_A, (0, 0, 0, missing)), pad(lora_B, (0, missing))
