"""The file of a task vector.

It is a safetensors file. A dense change of the weight NAME is the tensor
"NAME"; factors are the two tensors "NAME::left" (O, R) and "NAME::right" (R, I). The header has one
entry, "skunlearn", with a JSON object of

    format    "skunlearn-task-vector-1"
    safety    `TaskVector.safety`
    lineage   facts about where the vector comes from: base model, method, seed
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from skunlearn.task_vectors.delta import Delta, LowRank
from skunlearn.utils.errors import ModelError

FORMAT = "skunlearn-task-vector-1"
HEADER = "skunlearn"
NOT_FINITE = "{where}: the change of '{name}' has infinite or NaN entries: train it again"
LEFT, RIGHT = "::left", "::right"  # what a factor's tensor has behind the name of its weight


def write_vector(
    path: Path, deltas: Mapping[str, Delta], safety: float, lineage: Mapping[str, Any]
) -> None:
    """Write a vector to one file, which is whole or not there at all; see `TaskVector.save`.

    Args:
        path: the file.
        deltas: parameter name -> change.
        safety: of the vector.
        lineage: facts that JSON can hold.
    """
    tensors: dict[str, torch.Tensor] = {}
    for name, delta in deltas.items():
        if isinstance(delta, LowRank):
            tensors[name + LEFT] = delta.left_OR.contiguous()
            tensors[name + RIGHT] = delta.right_RI.contiguous()
        else:
            tensors[name] = delta.contiguous()
    facts = {"format": FORMAT, "safety": safety, "lineage": lineage}
    # All facts in one entry: safetensors keeps no order of several, and the bytes would differ.
    header = {HEADER: json.dumps(facts, sort_keys=True)}
    partial = path.with_suffix(".partial")
    try:
        partial.touch(mode=0o600)
        save_file(tensors, partial, metadata=header)
        partial.chmod(0o600)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def read_vector(path: Path) -> tuple[dict[str, Delta], float]:
    """Read the changes and the safety of a vector from its file.

    Raises:
        ModelError: when the file is missing, broken or not a task vector, or holds a number that is
            infinite or NaN.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            safety = check_header(file.metadata() or {}, path)
            tensors = {name: file.get_tensor(name) for name in list(file.keys())}
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: not a readable task vector: {error}") from error
    deltas: dict[str, Delta] = {}
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ModelError(NOT_FINITE.format(where=path, name=name))
        if name.endswith(RIGHT):
            continue  # it is read with its left factor
        if name.endswith(LEFT):
            weight = name.removesuffix(LEFT)
            deltas[weight] = LowRank(tensor, tensors[weight + RIGHT])
        else:
            deltas[name] = tensor
    return deltas, safety


def check_header(metadata: Mapping[str, str], path: Path) -> float:
    """Read the safety that the header of a task vector's file states.

    Args:
        metadata: the header's texts by name.
        path: the file, for the message.

    Raises:
        ModelError: when the file is no task vector of this version.
    """
    header = json.loads(metadata.get(HEADER, "{}"))
    if header.get("format") != FORMAT:
        raise ModelError(
            f"{path}: not a task vector of this version (format {header.get('format')!r})"
        )
    safety = float(header["safety"])
    if not math.isfinite(safety):
        raise ModelError(f"{path}: the task vector's safety is {safety}: train it again")
    return safety
