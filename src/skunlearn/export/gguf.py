"""theta_o + edit as one GGUF file, for llama.cpp and programs that are built on it.

A GGUF file has metadata (the architecture's sizes, the tokenizer), a table of tensors with their
types and shapes, and then the tensors' values. Values are written one tensor at a time: the edited
rows are made in fp32 block by block (`out_of_core.py`) and each block is quantised. Llama, Mistral,
Qwen2 and Qwen3 can be written.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch

from skunlearn.export.base import Finding, Job
from skunlearn.export.gguf_architecture import (
    ARCHITECTURES,
    add_shape,
    check_architecture,
    reordered_heads,
    rotary_scaling,
)
from skunlearn.export.gguf_tokenizer import add_tokenizer
from skunlearn.export.safetensors_io import Shard
from skunlearn.models.gguf import NAME
from skunlearn.utils.errors import ModelError
from skunlearn.utils.progress import Progress

Array = np.ndarray[Any, Any]

WHAT = "base + tau gives these weights"  # what `check` checks
# --dtype -> GGUF's name of the type of a tensor, and that -> of the type of a file
TYPES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16", "q8_0": "Q8_0"}
FILE_TYPES = {"F32": "ALL_F32", "BF16": "MOSTLY_BF16", "F16": "MOSTLY_F16", "Q8_0": "MOSTLY_Q8_0"}
BLOCK = 32  # values in a block of Q8_0, which share one scale


@dataclass(frozen=True)
class Tensor:
    """One tensor of the GGUF file.

    Attributes:
        name: in the GGUF file.
        source: name in the base's checkpoint.
        shard: the base's file that it is in.
        type: of its values, a `gguf.GGMLQuantizationType`.
        heads: number of attention heads whose rows must be reordered for GGUF's rotary embedding; 0
            for tensors that stay in order.
    """

    name: str
    source: str
    shard: Shard
    type: Any
    heads: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor, as in the checkpoint."""
        return self.shard.entries[self.source].shape


def file_name(job: Job) -> str:
    """Name of the file: the base's name, and the type."""
    base = job.name.rpartition("/")[2]
    return f"{base}-unlearned-{_type_name(job).lower()}.gguf"


def write(job: Job, folder: Path, progress: Progress) -> dict[str, Any]:
    """Write the file.

    Matrices have the type in the options. Matrices whose rows are no whole number of Q8_0 blocks
    have F16, vectors have F32.

    Returns:
        Facts for the manifest: `file`, its name.

    Raises:
        ModelError: when the architecture, its rotary scaling or the tokenizer cannot be written.
    """
    import gguf

    job.checkpoint.check_fits(job.edit)
    config = job.checkpoint.model.config
    found = tensors(job)
    # Metadata.
    writer = gguf.GGUFWriter(folder / file_name(job), ARCHITECTURES[config.model_type])
    writer.add_name(f"{job.name} unlearned")
    writer.add_file_type(gguf.LlamaFileType[FILE_TYPES[_type_name(job)]])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    add_shape(writer, config)
    add_tokenizer(writer, job.base, config.vocab_size)
    # The table of tensors.
    scaling = rotary_scaling(config)
    if scaling is not None:
        writer.add_tensor_info(NAME, scaling.shape, scaling.dtype, scaling.nbytes)
    for tensor in found:
        size = prod(gguf.quants.quant_shape_to_byte_shape(tensor.shape, tensor.type))
        writer.add_tensor_info(
            tensor.name, tensor.shape, np.dtype(np.float32), size, raw_dtype=tensor.type
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    # The values, in the order of the table.
    if scaling is not None:
        writer.write_tensor_data(scaling)
    for tensor in progress.over("writing tensors", found):
        writer.write_tensor_data(values(job, tensor))
    writer.close()
    return {"file": file_name(job)}


def check(job: Job, folder: Path, _: dict[str, Any], progress: Progress) -> Finding:
    """Check that the file's tensors are base + edit, up to one step of their type."""
    import gguf

    reader = gguf.GGUFReader(folder / file_name(job))
    file = {tensor.name: tensor for tensor in reader.tensors}
    if not _same_scaling(rotary_scaling(job.checkpoint.model.config), file.pop(NAME, None)):
        return Finding(WHAT, "differs", f"'{NAME}' is not the base's")
    expected = {tensor.name: tensor for tensor in tensors(job)}
    unpaired = sorted(set(file) ^ set(expected))
    if unpaired:
        return Finding(
            WHAT, "differs", f"'{unpaired[0]}' is in one only ({len(unpaired)} such tensors)"
        )
    exact = True
    for tensor in progress.over("comparing tensors", list(expected.values())):
        ours = values(job, tensor)
        found = file[tensor.name]
        is_same_type = found.tensor_type == tensor.type
        if is_same_type and np.array_equal(_bytes(ours), _bytes(found.data)):
            continue
        exact = False
        if not is_same_type or not _near(ours, found.data, tensor.type):
            return Finding(WHAT, "differs", f"'{tensor.name}' is not base + tau")
    return Finding(WHAT, "ok", "bit for bit" if exact else "up to rounding")


def tensors(job: Job) -> list[Tensor]:
    """The tensors of the file, in the order of the base's checkpoint.

    Raises:
        ModelError: when GGUF has no name for one of them.
    """
    import gguf

    config = job.checkpoint.model.config
    check_architecture(config)
    architecture = gguf.MODEL_ARCH[ARCHITECTURES[config.model_type].upper()]
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    found: dict[str, Tensor] = {}
    for shard in job.checkpoint.shards.values():
        for source, entry in shard.entries.items():
            if source.endswith("rotary_emb.inv_freq"):
                continue  # older checkpoints have it; it follows from the config
            parameter = job.checkpoint.parameters.get(source, source)
            name = names.get_name(parameter, try_suffixes=(".weight", ".bias"))
            if name is None:
                raise ModelError(
                    f"{shard.path}: GGUF has no name for '{source}': use --format merged"
                )
            kind = gguf.GGMLQuantizationType[_type_name(job)]
            if len(entry.shape) < 2:
                kind = gguf.GGMLQuantizationType.F32
            elif kind == gguf.GGMLQuantizationType.Q8_0 and entry.columns % BLOCK:
                kind = gguf.GGMLQuantizationType.F16
            # A tensor that is tied to another one is written once.
            found.setdefault(name, Tensor(name, source, shard, kind, reordered_heads(config, name)))
    return list(found.values())


def values(job: Job, tensor: Tensor) -> Array:
    """One tensor's edited values in its type.

    A quantised tensor comes as bytes, as the gguf package has it.
    """
    import gguf

    quantised = []
    for rows, _ in job.checkpoint.blocks(tensor.shard, tensor.source, job.edit, torch.float32):
        quantised.append(gguf.quants.quantize(rows.numpy(), tensor.type))
    whole = np.concatenate(quantised) if len(tensor.shape) > 1 else quantised[0].reshape(-1)
    if tensor.heads:
        # The rotary embedding turns pairs of dimensions of a head. Hugging Face pairs dimension i
        # of the first half with dimension i of the second one; GGUF has pairs side by side.
        order = np.arange(len(whole)).reshape(tensor.heads, 2, -1).swapaxes(1, 2).reshape(-1)
        whole = whole[order]
    return np.ascontiguousarray(whole)


def _type_name(job: Job) -> str:
    """GGUF's name of the type in the options."""
    return TYPES[job.options.dtype or "float16"]


def _same_scaling(ours: Array | None, tensor: Any) -> bool:
    """Whether a file's tensor holds these factors; None stands for no tensor and no factors."""
    if ours is None or tensor is None:
        return ours is tensor
    return ours.shape == tensor.data.shape and bool(np.allclose(ours, tensor.data))


def _bytes(array: Array) -> Array:
    """An array's memory as one row of bytes."""
    return array.view(np.uint8).ravel()


def _near(ours: Array, theirs: Array, kind: Any) -> bool:
    """Whether two tensors of a type differ by rounding alone, as between two machines.

    A value of Q8_0 may differ by one step: 1/127 of the largest value of its block. A value of a
    float type may differ by two steps of the type, and by 1e-5 of the largest value of the tensor.
    """
    import gguf

    a = gguf.quants.dequantize(ours, kind).astype(np.float64).ravel()
    b = gguf.quants.dequantize(theirs, kind).astype(np.float64).ravel()
    if a.shape != b.shape:
        return False
    if kind == gguf.GGMLQuantizationType.Q8_0:
        largest = np.abs(a).reshape(-1, BLOCK).max(1).repeat(BLOCK)
        room = 1.01 / 127 * largest
    else:
        step = {"F32": 2.0**-23, "F16": 2.0**-10, "BF16": 2.0**-7}[kind.name]
        room = 2 * step * np.abs(a) + 1e-5 * np.abs(a).max()
    return bool((np.abs(a - b) <= room).all())
