"""theta_o + edit as one GGUF file for llama.cpp and what is built on it: Llama, Mistral, Qwen2 and
Qwen3."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch

from skunlearn.export.base import Finding, Job
from skunlearn.export.gguf_tokenizer import add_tokenizer
from skunlearn.export.safetensors_io import Shard
from skunlearn.models.gguf import NAME, factors
from skunlearn.utils.errors import ModelError
from skunlearn.utils.progress import Progress

ARCHITECTURES = {
    "llama": "llama",
    "mistral": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
}  # model_type -> GGUF's name
TYPES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16", "q8_0": "Q8_0"}
FILE_TYPES = {"F32": "ALL_F32", "BF16": "MOSTLY_BF16", "F16": "MOSTLY_F16", "Q8_0": "MOSTLY_Q8_0"}
BLOCK = 32  # values of a Q8_0 block


@dataclass(frozen=True)
class Tensor:
    """One tensor of the file.

    Attributes:
        name: in the file.
        source: name in the base's checkpoint.
        shard: where it is there.
        type: of its values, as the gguf package names it.
        heads: heads whose rows are interleaved for GGUF's rotary embedding; 0 where none are.
    """

    name: str
    source: str
    shard: Shard
    type: Any
    heads: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor."""
        return self.shard.entries[self.source].shape


def file_name(job: Job) -> str:
    """Name of the file."""
    return f"{job.name.rpartition('/')[2]}-unlearned-{TYPES[job.options.dtype or 'float16'].lower()}.gguf"


def write(job: Job, folder: Path, progress: Progress) -> dict[str, Any]:
    """Write the file; matrices in the type asked for (rows that Q8_0 cannot hold in F16), vectors
    in F32.

    Returns:
        The file's name.

    Raises:
        ModelError: when the architecture, its rotary scaling or the tokenizer has no form in GGUF
            known here.
    """
    import gguf

    job.checkpoint.check_fits(job.edit)
    config = job.checkpoint.model.config
    found = tensors(job)
    writer = gguf.GGUFWriter(folder / file_name(job), ARCHITECTURES[config.model_type])
    writer.add_name(f"{job.name} unlearned")
    kind = TYPES[job.options.dtype or "float16"]
    writer.add_file_type(gguf.LlamaFileType[FILE_TYPES[kind]])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    _add_shape(writer, config)
    add_tokenizer(writer, job.base, config.vocab_size)
    scaling = _scaling(config)
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
    if scaling is not None:
        writer.write_tensor_data(scaling)
    for tensor in progress.over("writing tensors", found):
        writer.write_tensor_data(values(job, tensor))
    writer.close()
    return {"file": file_name(job)}


def check(job: Job, folder: Path, _: dict[str, Any], progress: Progress) -> Finding:
    """Whether the file's tensors are base + edit, up to one step of their type."""
    import gguf

    what = "base + tau gives these weights"
    file = {tensor.name: tensor for tensor in gguf.GGUFReader(folder / file_name(job)).tensors}
    wanted = tensors(job)
    if not _same(_scaling(job.checkpoint.model.config), file.pop(NAME, None)):
        return Finding(what, "differs", f"'{NAME}' is not the base's")
    if odd := sorted(set(file) ^ {tensor.name for tensor in wanted}):
        return Finding(what, "differs", f"'{odd[0]}' is in one only ({len(odd)} such tensors)")
    exact = True
    for tensor in progress.over("comparing tensors", wanted):
        ours, other = values(job, tensor), file[tensor.name]
        if other.tensor_type == tensor.type and np.array_equal(
            ours.view(np.uint8).ravel(), other.data.view(np.uint8).ravel()
        ):
            continue
        exact = False
        if other.tensor_type != tensor.type or not _near(ours, other.data, tensor.type):
            return Finding(what, "differs", f"'{tensor.name}' is not base + tau")
    return Finding(what, "ok", "bit for bit" if exact else "up to rounding")


def tensors(job: Job) -> list[Tensor]:
    """The tensors of the file, in the base's order.

    Raises:
        ModelError: when GGUF has no name for one.
    """
    import gguf

    config = job.checkpoint.model.config
    if config.model_type not in ARCHITECTURES:
        raise ModelError(
            f"no GGUF of a {config.model_type} is made here ({', '.join(ARCHITECTURES)} are): use merged"
        )
    if (rope := config.rope_parameters.get("rope_type", "default")) not in ("default", "llama3"):
        raise ModelError(
            f"no GGUF is made of rotary scaling '{rope}' here: export merged, and convert with llama.cpp"
        )
    architecture = gguf.MODEL_ARCH[ARCHITECTURES[config.model_type].upper()]
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    wanted = gguf.GGMLQuantizationType[TYPES[job.options.dtype or "float16"]]
    found: dict[str, Tensor] = {}
    for shard in job.checkpoint.shards.values():
        for source, entry in shard.entries.items():
            if source.endswith("rotary_emb.inv_freq"):
                continue  # old checkpoints keep it; it follows from the config
            name = names.get_name(
                job.checkpoint.parameters.get(source, source), try_suffixes=(".weight", ".bias")
            )
            if name is None:
                raise ModelError(
                    f"{shard.path}: GGUF has no name for '{source}': use --format merged"
                )
            kind = wanted if len(entry.shape) > 1 else gguf.GGMLQuantizationType.F32
            if kind == gguf.GGMLQuantizationType.Q8_0 and entry.columns % BLOCK:
                kind = gguf.GGMLQuantizationType.F16
            found.setdefault(name, Tensor(name, source, shard, kind, _heads(config, name)))
    return list(found.values())


def values(job: Job, tensor: Tensor) -> np.ndarray[Any, Any]:
    """One tensor's values in its type, made from the fp32 sum a block at a time."""
    import gguf

    blocks = [
        gguf.quants.quantize(rows.numpy(), tensor.type)
        for rows, _ in job.checkpoint.blocks(tensor.shard, tensor.source, job.edit, torch.float32)
    ]
    whole = np.concatenate(blocks) if len(tensor.shape) > 1 else blocks[0].reshape(-1)
    if tensor.heads:  # halves (Hugging Face) -> pairs (GGUF)
        whole = whole[np.arange(len(whole)).reshape(tensor.heads, 2, -1).swapaxes(1, 2).reshape(-1)]
    return np.ascontiguousarray(whole)


def _scaling(config: Any) -> np.ndarray[Any, Any] | None:
    """What Llama 3 divides its rotary frequencies by; None where they are plain."""
    return factors(config).numpy() if config.rope_parameters.get("rope_type") == "llama3" else None


def _same(ours: np.ndarray[Any, Any] | None, theirs: Any) -> bool:
    """Whether the file's factors are these; None stands for none."""
    if ours is None or theirs is None:
        return ours is theirs
    return ours.shape == theirs.data.shape and bool(np.allclose(ours, theirs.data))


def _heads(config: Any, name: str) -> int:
    if ARCHITECTURES[config.model_type] != "llama":
        return 0
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    return next((number for part, number in heads.items() if f".{part}." in name), 0)


def _add_shape(writer: Any, config: Any) -> None:
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)


def _near(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any], kind: Any) -> bool:
    import gguf

    a, b = (
        gguf.quants.dequantize(values, kind).astype(np.float64).ravel() for values in (ours, theirs)
    )
    if kind == gguf.GGMLQuantizationType.Q8_0:
        room = 1.01 / 127 * np.abs(a).reshape(-1, BLOCK).max(1).repeat(BLOCK)
    else:
        eps = {"F32": 2.0**-23, "F16": 2.0**-10, "BF16": 2.0**-7}[kind.name]
        room = 2 * eps * np.abs(a) + 1e-5 * np.abs(a).max()
    return a.shape == b.shape and bool((np.abs(a - b) <= room).all())
