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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from skunlearn.task_vectors.delta import Delta, LowRank
from skunlearn.utils.errors import ModelError
from skunlearn.utils.files import whole_file
from skunlearn.utils.strict_json import parse_json

FORMAT = "skunlearn-task-vector-1"
HEADER = "skunlearn"
NOT_FINITE = "{where}: the change of '{name}' has infinite or NaN entries: train it again"
ANY_FORMAT = b"skunlearn-task-vector"  # of every version
LONGEST_HEADER = 100_000_000  # bytes, as safetensors has it
LARGEST_SAFETY = 1e6  # of a sum of vectors it is about 1
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
    with whole_file(path) as partial:
        save_file(tensors, partial, metadata=header)


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
            deltas[weight] = _factors(tensor, tensors.get(weight + RIGHT), weight, path)
        else:
            deltas[name] = tensor
    return deltas, safety


def _factors(left: torch.Tensor, right: torch.Tensor | None, weight: str, path: Path) -> LowRank:
    """Two factors as a change.

    Raises:
        ModelError: when they do not fit each other.
    """
    if right is not None and left.ndim == right.ndim == 2 and left.shape[1] == right.shape[0]:
        return LowRank(left, right)
    raise ModelError(f"{path}: the two factors of '{weight}' do not fit: copy the file again")


def is_vector_file(path: Path) -> bool:
    """Whether a file is a task vector, whatever its name; also one that is cut short."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return length <= LONGEST_HEADER and ANY_FORMAT in file.read(length)


def check_header(metadata: Mapping[str, str], path: Path) -> float:
    """Read the safety that the header of a task vector's file states.

    Args:
        metadata: the header's texts by name.
        path: the file, for the message.

    Raises:
        ModelError: when the file is no task vector of this version.
    """
    text = metadata.get(HEADER, "{}")
    header = parse_json(text, f"{path}: the header", ModelError, expected=dict)
    if header.get("format") != FORMAT:
        raise ModelError(
            f"{path}: not a task vector of this version (format {header.get('format')!r:.60})"
        )
    safety = header.get("safety")
    is_number = isinstance(safety, int | float) and not isinstance(safety, bool)
    if not is_number or abs(safety) > LARGEST_SAFETY:
        raise ModelError(f"{path}: the task vector's safety is {safety!r:.60}: train it again")
    return float(safety)
