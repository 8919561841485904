"""theta_o + edit as an ordinary checkpoint: the base's files with other weights."""

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

ROUNDING = (
    1e-5  # of the largest change in a block: other machines add up a product in another order
)


def write(job: Job, folder: Path, progress: Progress) -> dict[str, Any]:
    """Write weights, config, tokenizer, template, generation config and licence.

    Returns:
        Nothing that the manifest needs to know.
    """
    job.checkpoint.write(folder, job.edit, job.dtype, progress)
    for path in beside(job.base, job.trust_remote_code):
        place = folder / path.relative_to(job.base)
        place.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, place)
    if job.dtype:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config.pop("torch_dtype", None)  # the older name
        config["dtype"] = job.options.dtype
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return {}


def check(job: Job, folder: Path, _: dict[str, Any], progress: Progress) -> Finding:
    """Whether the weights in `folder` are base + edit, up to the rounding of another machine."""
    what = "base + tau gives these weights"
    found = {
        name: shard
        for file in weight_files(folder)
        for shard in [Shard(folder / file)]
        for name in shard.entries
    }
    wanted = {name: shard for shard in job.checkpoint.shards.values() for name in shard.entries}
    if odd := sorted(set(found) ^ set(wanted)):
        return Finding(what, "differs", f"'{odd[0]}' is in one only ({len(odd)} such tensors)")
    exact = True
    for name, shard in progress.over("comparing tensors", list(wanted.items())):
        if found[name].entries[name].shape != shard.entries[name].shape:
            return Finding(what, "differs", f"'{name}' has another shape")
        first = 0
        for rows, dense in job.checkpoint.blocks(shard, name, job.edit, job.dtype):
            others = found[name].rows(name, first, first + len(rows))
            first += len(rows)
            if others.dtype == rows.dtype and torch.equal(others, rows):
                continue
            exact = False
            if dense is None or others.dtype != rows.dtype or not _near(rows, others, dense):
                return Finding(what, "differs", f"'{name}' is not base + tau")
    return Finding(what, "ok", "bit for bit" if exact else "up to rounding")


def _near(rows: torch.Tensor, others: torch.Tensor, dense: torch.Tensor) -> bool:
    room = 2 * torch.finfo(rows.dtype).eps * rows.float().abs() + ROUNDING * dense.abs().max()
    return bool(((rows.float() - others.float()).abs() <= room).all())
