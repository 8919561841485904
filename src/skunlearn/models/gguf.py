"""Llama 3's rotary scaling in GGUF: a tensor of factors in the file, parameters in the config.

llama.cpp divides each frequency by its factor. transformers reads no such tensor, so that a model
converted from a file would turn its heads by other angles than the one that was written.
"""

from pathlib import Path
from typing import Any

import torch

from skunlearn.utils.errors import ModelError
from skunlearn.utils.files import cache_folder, whole_folder
from skunlearn.utils.hashing import file_sha256
from skunlearn.utils.progress import Progress

NAME = "rope_freqs.weight"
USUAL = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


def factors(config: Any) -> torch.Tensor:
    """Plain frequencies over scaled ones, (head_dim / 2,), of a config with rotary scaling
    "llama3"."""
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    scaled = LlamaRotaryEmbedding(config).inv_freq
    steps = torch.arange(len(scaled), dtype=torch.float32) / len(scaled)
    return config.rope_parameters["rope_theta"] ** -steps / scaled


def restore(config: Any, path: Path) -> None:
    """Put the scaling that a file's factors stand for into a config that transformers made of it.

    Raises:
        ModelError: when they are not those of Llama 3's scaling with its usual parameters.
    """
    import gguf

    found = next(
        (tensor.data for tensor in gguf.GGUFReader(path).tensors if tensor.name == NAME), None
    )
    if found is None:
        return
    given = torch.tensor(found, dtype=torch.float32)
    scaling = {"rope_type": "llama3", "factor": float(given.max()), **USUAL}
    config.rope_parameters = {**config.rope_parameters, **scaling}
    if given.shape != (wanted := factors(config)).shape or not torch.allclose(
        wanted, given, rtol=1e-3
    ):
        raise ModelError(
            f"{path}: its rotary scaling is not that of Llama 3: give the model as a folder or hub id"
        )


def convert_gguf(path: Path, folder: Path) -> None:
    """Dequantise a GGUF file into an ordinary fp32 safetensors folder with tokenizer and chat
    template.

    Raises:
        ModelError: when transformers cannot read it.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    try:
        tokenizer = AutoTokenizer.from_pretrained(**where)
        model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    except Exception as error:  # gguf, tokenizers and transformers each raise their own
        raise ModelError(
            f"{path}: transformers cannot dequantise this GGUF file: {error}"
        ) from error
    restore(model.config, path)
    model.config.__dict__.pop(
        "quantization_config", None
    )  # else the folder would claim to be quantised
    model.hf_quantizer = None
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def gguf_folder(path: Path, progress: Progress) -> Path:
    """The converted form of any GGUF file, in the cache under the file's hash."""
    folder = cache_folder() / f"gguf-{file_sha256(path)[:16]}"
    if not folder.is_dir():
        progress.note(f"converting {path.name} (once) into {folder}")
        with whole_folder(folder) as partial:
            convert_gguf(path, partial)
    return folder
