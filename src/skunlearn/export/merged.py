"""theta_o + edit as an ordinary checkpoint: the base's files with edited weights."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from skunlearn.export.base import Finding, Job
from skunlearn.export.base_files import beside
from skunlearn.export.out_of_core import weight_files
from skunlearn.export.safetensors_io import Shard
from skunlearn.utils.progress import Progress

WHAT = "base + tau gives these weights"  # what `check` checks
# Other machines add up a product in another order. The difference may be this share of the largest
# change in a block.
ROUNDING = 1e-5


def write(job: Job, folder: Path, progress: Progress) -> dict[str, Any]:
    """Write weights, config, tokenizer, chat template, generation config and licence.

    Returns:
        Facts for the manifest: none.
    """
    job.checkpoint.write(folder, job.edit, job.dtype, progress)
    for path in beside(job.base, job.trust_remote_code):
        copy = folder / path.relative_to(job.base)
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, copy)
    if job.dtype:
        path = folder / "config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        config.pop("torch_dtype", None)  # the older name of "dtype"
        config["dtype"] = job.options.dtype
        path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return {}


def check(job: Job, folder: Path, _: dict[str, Any], progress: Progress) -> Finding:
    """Check that the weights in `folder` are base + edit, up to the rounding of another machine."""
    found: dict[str, Shard] = {}
    for file in weight_files(folder):
        shard = Shard(folder / file)
        found.update(dict.fromkeys(shard.entries, shard))
    expected: dict[str, Shard] = {}
    for shard in job.checkpoint.shards.values():
        expected.update(dict.fromkeys(shard.entries, shard))
    unpaired = sorted(set(found) ^ set(expected))
    if unpaired:
        return Finding(
            WHAT, "differs", f"'{unpaired[0]}' is in one only ({len(unpaired)} such tensors)"
        )
    exact = True
    for name, shard in progress.over("comparing tensors", list(expected.items())):
        if found[name].entries[name].shape != shard.entries[name].shape:
            return Finding(WHAT, "differs", f"'{name}' has another shape")
        agreement = _compare(job, shard, name, found[name])
        if agreement == "differs":
            return Finding(WHAT, "differs", f"'{name}' is not base + tau")
        exact = exact and agreement == "equal"
    return Finding(WHAT, "ok", "bit for bit" if exact else "up to rounding")


def _compare(job: Job, shard: Shard, name: str, found: Shard) -> str:
    """Compare one tensor of a checkpoint with base + edit.

    Args:
        job: the base and the edit.
        shard: the base's file that the tensor is in.
        name: of the tensor.
        found: the file that is checked.

    Returns:
        "equal" (to the bit), "near" or "differs".
    """
    agreement = "equal"
    first = 0
    for rows, change in job.checkpoint.blocks(shard, name, job.edit, job.dtype):
        last = first + len(rows)
        others = found.rows(name, first, last)
        first = last
        if others.dtype != rows.dtype:
            return "differs"
        if torch.equal(others, rows):
            continue
        # Rows without a change are copies of the base's and have nothing to round.
        if change is None or not _near(rows, others, change):
            return "differs"
        agreement = "near"
    return agreement


def _near(rows: torch.Tensor, others: torch.Tensor, change: torch.Tensor) -> bool:
    """Whether two results differ by rounding alone: two steps of the type, and `ROUNDING`."""
    step = torch.finfo(rows.dtype).eps
    room = 2 * step * rows.float().abs() + ROUNDING * change.abs().max()
    difference = (rows.float() - others.float()).abs()
    return bool((difference <= room).all())
